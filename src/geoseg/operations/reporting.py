"""The last step: quicklook and report, put together from what the steps before left behind."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from geoseg import __version__
from geoseg.model.bundle import load_card
from geoseg.operations.preview import headline
from geoseg.operations.quality import map_quality
from geoseg.operations.run import Record, Run
from geoseg.product.areas import area_table
from geoseg.product.quicklook import write_quicklook
from geoseg.product.report import write_report

STEPS = ("select", "train", "predict", "stitch", "vectorize", "evaluate", "report")
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
    """Write quicklook, ``report.html`` and ``report.json``.

    The record holds the table of areas and the quality of the map.
    """
    with run.step("report") as record:
        folder = run.folder
        title = run.config.title or run.config.name
        write_quicklook(folder.class_map, run.legend, folder.quicklook, title)
        areas = area_table(folder.class_map, folder.confidence, run.legend)
        record["areas"] = [asdict(row) for row in areas]
        record["quality"] = map_quality(run, sum(row.pixels for row in areas))
        write_report(_content(run, record), folder.root, folder.quicklook)
    return record


def _content(run: Run, found: Record) -> Record:
    """Everything the report tells, in the order of ``report.json``; ``found``: areas, quality."""
    card = load_card(run.bundle).model_dump(mode="json")
    history = card.pop("history")
    evaluation, predicted = run.recorded("evaluate"), run.recorded("predict")
    grid = run.scenes[0].grid
    return {
        "name": run.config.name,
        "title": run.config.title or run.config.name,
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "geoseg": __version__,
        "grid": _grid(run),
        "outputs": _outputs(run),
        "inputs": run.recorded("select")["inputs"],
        "areas": found["areas"],
        "nodata_pixels": grid.window.size - sum(row["pixels"] for row in found["areas"]),
        "quality": found["quality"],
        "polygons": run.recorded("vectorize").get("polygons"),
        "scores": {"unseen": evaluation["unseen"]} if "unseen" in evaluation else {},
        "baselines": _baselines(evaluation),
        "model": {"card": card, "history": history},
        "plan": {key: predicted[key] for key in PLAN if key in predicted},
        "seconds": _seconds(run),
        "versions": {"python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
        "config": run.config.model_dump(mode="json", exclude_defaults=True),
    }


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
    """Products as paths relative to the report."""
    folder = run.folder
    model = folder.model.name if run.bundle == folder.model else str(run.bundle)
    return {
        "class": folder.class_map.name,
        "confidence": folder.confidence.name,
        "polygons": folder.polygons.name,
        "quicklook": folder.quicklook.name,
        "report": folder.report.name,
        "model": model,
    }


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
        "polygons": folder.polygons,
        "quicklook": folder.quicklook,
        "report": folder.report,
    }
    for name, path in products.items():
        yield f"{name:<11} {_shown(path)}"
    evaluation = run.recorded("evaluate")
    if "unseen" in evaluation:
        yield f"on {evaluation['unseen']['pixels']} pixels whose labels training never saw:"
        for line in headline(evaluation):
            yield f"  {line}"


def _shown(path: Path) -> Path:
    """Relative to the working folder where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
