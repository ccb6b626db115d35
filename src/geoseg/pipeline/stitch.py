"""The step that puts the blocks together into the rasters of the map."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from geoseg import __version__
from geoseg.config.products import LAYERS
from geoseg.engine.block import part_path, read_receipt
from geoseg.engine.job import Job, open_job
from geoseg.errors import BlockError, ProductError
from geoseg.io import files
from geoseg.pipeline.run import Record, Run
from geoseg.product.raster import RasterOptions, mosaic


def finish_map(run: Run) -> Record:
    """Stitch the blocks into the class and the confidence raster, and the layers that are wanted.

    Raises ``BlockError`` where a block is missing: a map with holes is not published.
    """
    with run.step("stitch") as record:
        job = predicted_job(run)
        _require_blocks(job)
        parts = [(block.core, part_path(job.folder, block)) for block in job.plan]
        folder = run.folder
        files.remove_torn(folder.root)
        files.remove_torn(folder.work)
        paths = [folder.layer(name) for name in job.slices]
        for name in set(LAYERS).difference(job.layers):
            folder.layer(name).unlink(missing_ok=True)  # an earlier map's
        options = RasterOptions(job.layers, run.config.products.compression, _tags(run, job))
        mosaic(parts, run.scenes[0].grid, run.legend, paths, run.progress, options)
        record["outputs"] = [path.name for path in paths]
        record["run_id"] = job.run_id
    return record


def predicted_job(run: Run) -> Job:
    """The job that the predict step left; ``ProductError`` where it has not run."""
    file = run.recorded("predict").get("job")
    if not file:
        raise ProductError(f"{run.folder.work}: nothing is predicted there yet; run predict first")
    return open_job(Path(file))[0]


def _require_blocks(job: Job) -> None:
    """Raise ``BlockError`` unless every block is there as its receipt says."""
    blocks = list(job.plan)
    with ThreadPoolExecutor() as pool:
        receipts = list(pool.map(lambda block: read_receipt(job, block), blocks))
    missing = [block.id for block, receipt in zip(blocks, receipts, strict=True) if not receipt]
    if missing:
        raise BlockError(
            f"{job.folder}: {len(missing)} of {len(blocks)} blocks are not predicted "
            f"({missing[0]}, ...); run predict again, it resumes"
        )


def _tags(run: Run, job: Job) -> tuple[tuple[str, str], ...]:
    """What every raster says of its origin: nothing that another run of the same would not say."""
    tags = {
        "TIFFTAG_SOFTWARE": f"geoseg {__version__}",
        "GEOSEG_VERSION": __version__,
        "GEOSEG_RUN": job.run_id,
        "GEOSEG_MODEL": ",".join(checksum for _, checksum in job.bundles),
    }
    dates = sorted(scene.date for scene in run.scenes if scene.date)
    if dates:
        tags["GEOSEG_DATES"] = f"{dates[0]}/{dates[-1]}"
    return tuple(tags.items())
