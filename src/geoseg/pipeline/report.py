"""The last step: quicklook and report, put together from what the steps before left behind."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from geoseg import __version__
from geoseg.errors import OutputError
from geoseg.imagery.survey import Clear, clear_shares
from geoseg.io import files
from geoseg.model.bundle import identify, load_card
from geoseg.pipeline.quality import map_quality, recorded_gates, recorded_release
from geoseg.pipeline.run import Record, Run
from geoseg.product.areas import area_table
from geoseg.product.confidence_stats import ConfidenceStats, confidence_stats
from geoseg.product.pictures import map_pictures, write_quicklook
from geoseg.product.report.findings import quality_summary as soundness_of
from geoseg.product.report.products import purpose
from geoseg.product.report.scores import headline
from geoseg.product.report.write import JSON, write_report

STEPS = ("select", "train", "predict", "stitch", "vectorize", "evaluate", "parcels", "change")
PLAN = (
    "blocks",
    "resumed",
    "core",
    "margin",
    "block",
    "workers",
    "precision",
    "backend",
    "agreement",
)
LIBRARIES = ("torch", "segmentation-models-pytorch", "rasterio", "dask", "prefect", "numpy")


def write_reports(run: Run) -> Record:
    """Write quicklook, ``report.html``, ``report.md`` and ``report.json``.

    The record holds the table of areas and the quality of the map.
    """
    with run.step("report") as record:
        folder = run.folder
        title = run.config.title or run.config.name
        write_quicklook(folder.class_map, run.legend, folder.quicklook, title)
        sure = confidence_stats(folder.class_map, folder.confidence, run.legend)
        record["areas"] = _areas(run, sure)
        record["quality"] = map_quality(run, sum(row["pixels"] for row in record["areas"]))
        pictures = map_pictures(folder.class_map, folder.confidence, run.legend)
        write_report(_content(run, record, sure), folder.root, pictures)
    return record


def quality_summary(run: Run) -> str:
    """The report in half a page of Markdown; ``OutputError`` where it is not written."""
    path = run.folder.root / JSON
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise OutputError(f"{path} is not there; run the report step first")
    return soundness_of(content)


def _areas(run: Run, sure: ConfidenceStats) -> list[Record]:
    """Areas with the confidence of each class."""
    rows = area_table(run.folder.class_map, run.folder.confidence, run.legend)
    return [
        {**asdict(row), "p10_confidence": own.p10, "low_share": own.low_share}
        for row, own in zip(rows, sure.classes, strict=True)
    ]


def _content(run: Run, found: Record, sure: ConfidenceStats) -> Record:
    """Everything the report tells, in the order of ``report.json``; ``found``: areas, quality."""
    card = load_card(run.bundle).model_dump(mode="json")
    history = card.pop("history")
    evaluation, predicted = run.recorded("evaluate"), run.recorded("predict")
    vectors = run.recorded("vectorize")
    grid, clear = run.scenes[0].grid, clear_shares(run.scenes)
    return {
        "name": run.config.name,
        "title": run.config.title or run.config.name,
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "geoseg": __version__,
        "run": {"fingerprint": run.recorded("stitch").get("run_id")},
        "grid": _grid(run),
        "outputs": _outputs(run),
        "inputs": _inputs(run, clear),
        "clear_read": clear.read,
        "labels": run.recorded("select").get("labels"),
        "areas": found["areas"],
        "nodata_pixels": grid.window.size - sum(row["pixels"] for row in found["areas"]),
        "confidence": asdict(sure),
        "quality": found["quality"],
        "gates": recorded_gates(run),
        "released": recorded_release(run),
        "polygons": vectors.get("polygons"),
        "vectors": vectors.get("classes") or [],
        "parcels": run.recorded("parcels").get("parcels"),
        "change": run.recorded("change"),
        "scores": {"test_scores": evaluation["test_scores"]} if "test_scores" in evaluation else {},
        "baselines": _baselines(evaluation),
        "model": {"id": identify(run.bundle), "card": card, "history": history},
        "plan": {key: predicted[key] for key in PLAN if key in predicted},
        "seconds": _seconds(run),
        "versions": {"python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
        # Where it was computed moves no pixel, and may name what is nobody's business.
        "config": run.config.model_dump(mode="json", exclude_defaults=True, exclude={"cluster"}),
    }


def _inputs(run: Run, clear: Clear) -> list[Record]:
    """The images as the first step found them, with the share of each that can be used."""
    recorded = run.recorded("select").get("inputs") or []
    return [
        {**item, "clear_share": share} for item, share in zip(recorded, clear.shares, strict=False)
    ]


def _grid(run: Run) -> Record:
    grid = run.scenes[0].grid
    return {
        "crs": grid.crs,
        "width": grid.width,
        "height": grid.height,
        "transform": list(grid.transform)[:6],
        "bounds": list(grid.bounds),
    }


def _outputs(run: Run) -> Record:
    """Products as paths relative to the report: the main ones by name, others by their file names."""
    folder = run.folder
    known = {
        "class": folder.class_map,
        "confidence": folder.confidence,
        "polygons": run.polygon_files[0],
        "quicklook": folder.quicklook,
        "report": folder.report,
        "item": folder.item,
    }
    named = {key: path.name for key, path in known.items()}
    written = {folder.report.with_suffix(end).name for end in (".md", ".json")}
    there = {path.name for path in folder.root.iterdir() if path.is_file()} | written
    others = sorted(n for n in there - set(named.values()) if not n.startswith(".") and purpose(n))
    model = folder.model.name if run.bundle == folder.model else str(run.bundle)
    return named | {name: name for name in others} | {"model": model}


def _baselines(evaluation: Record) -> Record:
    forest = evaluation.get("random_forest")
    if not forest:
        return {}
    keys = ("overall_accuracy", "mean_iou", "pixels", "trees")
    return {"random_forest": {k: forest[k] for k in keys} | {"trained_on": forest["train_pixels"]}}


def _seconds(run: Run) -> dict[str, float]:
    recorded = ((name, run.recorded(name).get("seconds")) for name in STEPS)
    return {name: seconds for name, seconds in recorded if seconds is not None}


def summary(run: Run) -> Iterator[str]:
    """What was produced and how good it is, for the end of a run."""
    folder = run.folder
    products = {
        "map": folder.class_map,
        "confidence": folder.confidence,
        "polygons": run.polygon_files[0],
        "quicklook": folder.quicklook,
        "report": folder.report,
        "item": folder.item,
    }
    for name, path in products.items():
        yield f"{name:<11} {_shown(path)}"
    evaluation = run.recorded("evaluate")
    if "test_scores" in evaluation:
        yield f"on {evaluation['test_scores']['pixels']} pixels whose labels training never saw:"
        for line in headline(evaluation):
            yield f"  {line}"


def _shown(path: Path) -> Path:
    """Relative to the working folder where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
