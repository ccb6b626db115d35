"""One pixel from bands to polygon: why is this field maize?

What was read, what the networks make of it now, and whether the files of the run say the same.
It reads, and writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.config import RunConfig
from geoseg.diagnose.file_checks import check_polygon, check_rasters
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
    polygons, attributes = check_polygon(run.folder, grid, place, layers if plain else None)
    checks = [*check_rasters(job, run.folder, place, layers), polygons]
    return {
        "place": asdict(place) | {"crs": grid.crs_name},
        "patches": list(_patches(job, place)),
        "block": _block(job, place),
        "networks": [str(bundle) for bundle, _ in job.bundles],
        "dates": [_date(sight) for sight in sights(job, scenes, cards, place.row, place.col)],
        "decision": _decision(prediction, cards[0].legend),
        "probabilities": _probabilities(prediction, cards[0].legend),
        "files": [asdict(check) for check in checks],
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


def lines(found: Record) -> Iterator[str]:
    """What is known of the pixel, a line each, in the order in which it comes about."""
    yield from _place(found["place"])
    yield from _work(found)
    yield from _dates(found)
    yield from _decision_lines(found)
    yield from _files(found)
    for polygon in found["polygons"]:
        yield "polygon"
        for name, value in polygon.items():
            yield f"  {name:<17} {'none' if value is None else value}"


def _place(place: Record) -> Iterator[str]:
    yield "place"
    if place["lon"] is not None:
        yield f"  {'lon, lat':<17} {place['lon']:.7f}, {place['lat']:.7f}"
    yield f"  {'x, y':<17} {place['x']:.10g}, {place['y']:.10g} (CRS {place['crs']})"
    yield f"  {'column, row':<17} {place['col']}, {place['row']} (from 0)"


def _work(found: Record) -> Iterator[str]:
    """Patches, block and networks."""
    for patch in found["patches"]:
        yield "patch"
        yield from (f"  {name:<17} {_span(patch[name])}" for name in ("core", "extent"))
    block = found["block"]
    yield "block"
    yield f"  {'id':<17} {block['id']}"
    yield f"  {'file':<17} {block['file']}"
    yield f"  {'receipt':<17} {'yes' if block['receipt'] else 'no: not finished, or changed since'}"
    yield f"  {'fingerprint':<17} {block['fingerprint']}"


def _span(window: Record) -> str:
    row, col = window["row"], window["col"]
    return (
        f"columns {col} to {col + window['width'] - 1}, rows {row} to {row + window['height'] - 1}"
    )


def _dates(found: Record) -> Iterator[str]:
    """A line per date and band; normalized values are those that each network is given."""
    longest = max(len(b["band"]) for date in found["dates"] for b in date["bands"])
    width = min(max(longest, 4), 30)
    several = len(found["networks"]) > 1
    for number, network in enumerate(found["networks"], 1):
        yield f"network{f' {number}' if several else '':<12} {network}"
    yield f"dates{'':<14} {'band':<{width}} {'raw':>12} {'normalized':>12}"
    for date in found["dates"]:
        for number, band in enumerate(date["bands"]):
            head = date["id"][:17] if number == 0 else ""
            inputs = " ".join(f"{value:>12.5g}" for value in band["normalized"])
            yield f"  {head:<17} {band['band'][:width]:<{width}} {_raw(band['raw']):>12} {inputs}"
        if not date["valid"]:
            reasons = "; ".join(date["reasons"]) or "no data"
            yield f"  {'':<17} not valid, so 0 for the network: {reasons}"


def _raw(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _decision_lines(found: Record) -> Iterator[str]:
    decision = found["decision"]
    yield f"classes{'':<17} probability, as the networks give it now"
    if decision is None:
        yield "  not computed: the run had a GPU and there is none here; run trace where one is"
        return
    for entry in found["probabilities"]:
        yield f"  {entry['code']:>3} {entry['name'][:24]:<24} {entry['probability']:>10.6f}"
    if decision["name"] is None:
        yield "  none: no date is valid here, so no network is asked"
        yield f"{'decision':<19} {NODATA}, no class"
    else:
        text = f"{decision['code']} {decision['name']}, confidence {decision['confidence']} %"
        yield f"{'decision':<19} {text}"


VERDICTS = {True: "agrees", False: "differs", None: ""}


CLASSED = ("block file", "class raster", "polygons")
"""Files whose first value is a class code; the others are percents."""


def _files(found: Record) -> Iterator[str]:
    """What each file says of the decision."""
    yield "files"
    width = max(15, *(min(len(_shown(entry)), 40) for entry in found["files"]))
    for entry in found["files"]:
        line = f"  {entry['file']:<17} {_shown(entry):<{width}}  {VERDICTS[entry['agrees']]}"
        yield line.rstrip()
    if any(entry["agrees"] is False for entry in found["files"]):
        yield (
            "  note: a file that differs was changed, was made from other blocks, or was computed on "
            "another kind of processor"
        )


def _shown(entry: Record) -> str:
    """What the file holds, or why that cannot be told."""
    if entry["note"]:
        return str(entry["note"])
    words = ["nodata" if value == NODATA else f"{value} %" for value in entry["values"]]
    if entry["file"] in CLASSED and entry["values"][0] != NODATA:
        words[0] = f"class {entry['values'][0]}"
    return ", ".join(words)


DEGREES = "EPSG:4326"
"""Longitude and latitude as maps and phones give them."""
