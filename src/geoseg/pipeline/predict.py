"""The steps that make the map: predict every block, then put the blocks together."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from geoseg import __version__
from geoseg.config.products import LAYERS
from geoseg.engine.accelerator import memory_limit
from geoseg.engine.block import part_path, read_receipt
from geoseg.engine.executors import executor as crews
from geoseg.engine.executors.cluster import ClusterSettings, connect
from geoseg.engine.executors.executor import Crew
from geoseg.engine.job import Job, open_job
from geoseg.engine.planning import Planned, Request, plan_job
from geoseg.engine.predict import Outcome, predict
from geoseg.errors import BlockError, EmptySelectionError, ProductError
from geoseg.io import files
from geoseg.pipeline.run import Record, Run
from geoseg.product.raster import Making, mosaic


def predict_blocks(run: Run, workers: int | None = None, scheduler: str = "") -> Record:
    """Plan the blocks and predict those that have no receipt yet.

    ``scheduler`` (an address) and ``workers`` (processes; 0: threads of this one) win over the config.
    """
    settings = ClusterSettings.of(run.config.cluster, workers, scheduler)
    with run.step("predict") as record:
        with _crew(settings) as crew:
            planned = plan_job(_request(run), run.scenes, run.folder.work, crew)
            _announce(run, planned, crew)
            if crew.dashboard:
                run.progress.note({"dashboard": crew.dashboard})
            outcome = predict(planned.job, crew, run.config.predict.tries, run.progress)
        if not outcome.pixels:
            raise EmptySelectionError(
                f"{run.scenes[0].files[0]} and the other dates: no pixel has data on any date, so "
                "there is nothing to map; check 'imagery.nodata' and the masks with 'geoseg inspect'"
            )
        record.update(_recorded(planned, outcome), workers=settings.address or settings.workers)
    return record


@contextmanager
def _crew(settings: ClusterSettings) -> Iterator[Crew]:
    """Threads of this process, or the workers that the settings name."""
    if not settings.dask:
        with crews.here(settings.lanes) as crew:
            yield crew
        return
    local = not settings.address and not settings.class_path
    limit = memory_limit() if local else None
    share = limit // max(1, settings.workers or 1) if limit else None
    absent = settings.absent_seconds
    with connect(settings) as client, crews.on(client, settings.resources, share, absent) as crew:
        yield crew


def _request(run: Run) -> Request:
    config = run.config
    return Request(config.imagery, run.bundles, config.predict, config.products.layers)


def _announce(run: Run, planned: Planned, crew: Crew) -> None:
    """What was decided, in one line, before the long part."""
    job, choice = planned.job, planned.choice
    same = (
        "" if choice.agreement is None else f" ({choice.agreement:.3%} of the classes as in fp32)"
    )
    run.progress.say(
        f"predict: {choice.precision}{same} on {choice.device}, {len(job.plan)} blocks of {job.block} "
        f"px, cores of {job.pixels.core} px, margin {job.pixels.margin} px, {crew.threads} at once, "
        f"at most {planned.size.needs / 2**30:.1f} GiB a process"
    )


def _recorded(planned: Planned, outcome: Outcome) -> Record:
    job, choice, pixels = planned.job, planned.choice, planned.job.pixels
    return {
        "blocks": outcome.blocks,
        "resumed": outcome.resumed,
        "pixels": outcome.pixels,
        "core": pixels.core,
        "margin": pixels.margin,
        "blend": pixels.blend,
        "block": job.block,
        "precision": pixels.precision,
        "agreement": choice.agreement,
        "backend": f"torch, {pixels.device}",
        "networks": len(job.bundles),
        "flips": pixels.flips,
        "memory": planned.size.needs,
        "job": str(job.file),
        "fingerprint": job.fingerprint,
    }


def predicted_job(run: Run) -> Job:
    """The job that the predict step left; ``ProductError`` where it has not run."""
    file = run.recorded("predict").get("job")
    if not file:
        raise ProductError(f"{run.folder.work}: nothing is predicted there yet; run predict first")
    return open_job(Path(file))[0]


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
        making = Making(job.layers, run.config.products.compression, _tags(run, job))
        mosaic(parts, run.scenes[0].grid, run.legend, paths, run.progress, making)
        record["outputs"] = [path.name for path in paths]
        record["run_id"] = job.run_id
    return record


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
