"""One pixel from bands to polygon: why is this field maize?

What was read, what the networks make of it now, and whether the files of the run say the same.
It reads, and writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from geoseg.config import RunConfig
from geoseg.diagnose.file_checks import polygon_witness, raster_witnesses
from geoseg.diagnose.location import PixelLocation, pixel_at, pixel_named
from geoseg.engine import accelerator
from geoseg.engine.block import part_path, read_receipt
from geoseg.engine.ensemble import load_cards
from geoseg.engine.job import Job, open_job
from geoseg.engine.probe import Prediction, Sight, block_at, patches_at, predict_pixel, sights
from geoseg.errors import ChangedInputError, OutputError
from geoseg.grid import Grid
from geoseg.imagery.scenes import Scene
from geoseg.io import configs
from geoseg.legend import NODATA, Legend
from geoseg.pipeline.run import Record, Run, RunFolder


@dataclass(frozen=True, slots=True)
class Point:
    """The pixel asked for: longitude and latitude in degrees or, ``by_pixel``, column and row."""

    first: float
    second: float
    by_pixel: bool = False

    def on(self, grid: Grid) -> PixelLocation:
        """Where that is; ``ConfigError`` outside the grid."""
        find = pixel_named if self.by_pixel else pixel_at
        return find(grid, self.first, self.second)


def trace(config: Path, output: Path | None, point: Point) -> Record:
    """All that is known of a pixel, as JSON values; ``trace_text`` tells it to people.

    Follows the run in ``output`` (``out/NAME`` where none is given) as it was predicted, whatever
    the config says of imagery and model by now. Raises ``OutputError`` where nothing is predicted
    there, ``ConfigError`` outside the grid, ``ChangedInputError``, ``ModelError``, ``RasterError``.
    """
    run = _run(configs.load(config), output)
    job, scenes = _open(run, config)
    grid = scenes[0].grid
    place = point.on(grid)
    cards = load_cards([bundle for bundle, _ in job.bundles])
    prediction = _predict(job, place)
    layers = prediction.layers.tolist() if prediction else None
    plain = run.config.vectors.exact
    polygons, attributes = polygon_witness(run.folder, grid, place, layers if plain else None)
    witnesses = [*raster_witnesses(job, run.folder, place, layers), polygons]
    return {
        "place": asdict(place) | {"crs": grid.crs_name},
        "patches": list(_patches(job, place)),
        "block": _block(job, place),
        "networks": [str(bundle) for bundle, _ in job.bundles],
        "dates": [_date(sight) for sight in sights(job, scenes, cards, place.row, place.col)],
        "decision": _decision(prediction, cards[0].legend),
        "probabilities": _probabilities(prediction, cards[0].legend),
        "files": [asdict(witness) for witness in witnesses],
        "polygons": attributes,
    }


def _run(config: RunConfig, output: Path | None) -> Run:
    """The run as ``Run.open`` finds it, but no folder is made."""
    root = output or Path("out") / config.name
    return Run(config, RunFolder(root.resolve(), config.name))


def _open(run: Run, config: Path) -> tuple[Job, tuple[Scene, ...]]:
    """The job of the last finished prediction, else the newest that was begun, and its scenes."""
    begun = run.folder.work.glob("blocks-*/job.json")
    newest = max(begun, key=lambda path: path.stat().st_mtime_ns, default=None)
    file = run.recorded("predict").get("job") or newest
    if file is None:
        raise OutputError(
            f"{run.folder.root}: nothing is predicted there, so there is nothing to trace; run "
            f"'geoseg predict {config}' first, or name the folder of the results with --output"
        )
    try:
        return open_job(Path(file))
    except ChangedInputError as error:
        raise ChangedInputError(
            f"{run.folder.root}: the imagery is not what it was when this was predicted, so no "
            f"pixel can be followed; predict it again ({error})"
        ) from None


def _predict(job: Job, place: PixelLocation) -> Prediction | None:
    """None where the networks cannot be asked here: the run had another kind of device."""
    if job.pixels.device == "cuda" and accelerator.device() != "cuda":
        return None
    return predict_pixel(str(job.file), place.row, place.col)


def _patches(job: Job, place: PixelLocation) -> Iterator[Record]:
    for patch in patches_at(job.plan.lattice, place.row, place.col):
        yield {"core": asdict(patch.core), "extent": asdict(patch.extent)}


def _block(job: Job, place: PixelLocation) -> Record:
    block = block_at(job, place.row, place.col)
    return {
        "id": block.id,
        "file": str(part_path(job.folder, block)),
        "receipt": read_receipt(job, block) is not None,
        "fingerprint": job.fingerprint,
    }


def _date(sight: Sight) -> Record:
    bands = zip(sight.scene.bands, sight.values.tolist(), sight.inputs.T.tolist(), strict=True)
    return {
        "id": sight.scene.id,
        "date": str(sight.scene.date) if sight.scene.date else None,
        "valid": sight.valid,
        "reasons": list(sight.reasons),
        "bands": [
            {"band": band, "raw": _number(raw), "normalized": inputs} for band, raw, inputs in bands
        ],
    }


def _number(value: float) -> float | str:
    """A number as JSON can hold it: there ``nan`` and ``inf`` are words."""
    return value if math.isfinite(value) else str(value)


def _decision(prediction: Prediction | None, legend: Legend) -> Record | None:
    """Code, name and confidence, without the last two for a pixel without a class."""
    if prediction is None:
        return None
    code, confidence, *_ = prediction.layers.tolist()
    if code == NODATA:
        return {"code": code, "name": None, "confidence": None}
    return {"code": code, "name": legend.by_code(code).name, "confidence": confidence}


def _probabilities(prediction: Prediction | None, legend: Legend) -> list[Record]:
    """One entry per class; empty where the networks were not asked."""
    if prediction is None or prediction.probabilities is None:
        return []
    shares = prediction.probabilities.tolist()
    return [
        {"code": entry.code, "name": entry.name, "probability": share}
        for entry, share in zip(legend, shares, strict=True)
    ]
