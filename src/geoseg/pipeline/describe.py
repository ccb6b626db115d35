"""The step after the report: the products described for catalogues, as a STAC item."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from geoseg import __version__
from geoseg.model.bundle import CARD, WEIGHTS, ModelCard, load_card
from geoseg.pipeline.quality import recorded_gates, recorded_release
from geoseg.pipeline.run import Record, Run
from geoseg.product.stac import Description, Network, Product, write_item

TITLES = {
    "class": "Crop classes",
    "confidence": "Confidence of the class (percent)",
    "confidence_margin": "Best probability minus the second best (percent)",
    "entropy": "Entropy of the probabilities (percent of the largest)",
    "probabilities": "Probability of each class (percent)",
}
_OTHERS = {
    ".tif": "raster",
    ".gpkg": "GeoPackage",
    ".parquet": "GeoParquet",
    ".fgb": "FlatGeobuf",
    ".qml": "QGIS style",
    ".sld": "SLD style",
    ".xml": "names and statistics for GDAL",
    ".dbf": "attribute table for ArcGIS",
    ".cpg": "code page of the attribute table",
}
"""What else may carry the run's name, and what kind of file it is."""


def describe_products(run: Run) -> Record:
    """Write ``NAME.json``: every product there is, with its checksum.

    The record names the item. Raises ``OutputError`` where there is no room.
    """
    with run.step("describe") as record:
        products = list(_products(run))
        write_item(run.folder.item, _description(run), products)
        record["item"] = run.folder.item.name
        record["assets"] = [product.key for product in products]
    return record


def _products(run: Run) -> Iterator[Product]:
    """Rasters, then whatever else carries the run's name, then picture, report and model."""
    folder, known = run.folder, set()
    for layer, title in TITLES.items():
        path = folder.layer(layer)
        known.add(path)
        if path.is_file():
            yield Product(layer, path, title, _bands(layer, run))
    for path in sorted(folder.root.glob(f"{folder.name}_*")):
        if path.suffix in _OTHERS and path not in known:
            yield _other(path, path.name.removeprefix(f"{folder.name}_"))
    others = {
        "quicklook": folder.quicklook,
        "report": folder.report,
        "report_md": folder.report.with_suffix(".md"),
        "report_json": folder.report.with_suffix(".json"),
    }
    if recorded_gates(run):
        others["gates"] = folder.gates
    for number, bundle in enumerate(run.bundles, 1):
        key = "model" if number == 1 else f"model_{number}"
        others |= {key: bundle / WEIGHTS, f"{key}_card": bundle / CARD}
    for key, path in others.items():
        if path.is_file():
            yield Product(key, path, _title(key))


def _other(path: Path, name: str) -> Product:
    """A product that another step wrote, by what its name says after that of the run."""
    title = f"{_title(name.rpartition('.')[0])} ({_OTHERS[path.suffix]})"
    bands = ("value",) if path.suffix == ".tif" else ()
    return Product(name.replace(".", "_"), path, title, bands)


def _bands(layer: str, run: Run) -> tuple[str, ...]:
    if layer == "class":
        return ()
    return run.legend.names if layer == "probabilities" else (layer,)


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _description(run: Run) -> Description:
    card, config = load_card(run.bundle), run.config
    return Description(
        id=config.name,
        title=config.title or config.name,
        grid=run.scenes[0].grid,
        legend=run.legend,
        period=_period(run),
        run_id=str(run.recorded("stitch").get("run_id", "")),
        software={"geoseg": __version__, "torch": version("torch")},
        inputs=[path for scene in run.scenes for path in scene.files],
        network=_network(card),
        released=recorded_release(run),
    )


def _period(run: Run) -> tuple[dt.datetime, dt.datetime]:
    """The season's first and last moment; where no date is known, the day the map was made."""
    dates = sorted(scene.date for scene in run.scenes if scene.date)
    if not dates:
        dates = [dt.datetime.fromtimestamp(run.folder.class_map.stat().st_mtime, dt.UTC).date()]
    end = dt.datetime.combine(dates[-1], dt.time(23, 59, 59), dt.UTC)
    return dt.datetime.combine(dates[0], dt.time(), dt.UTC), end


def _network(card: ModelCard) -> Network:
    encoder = re.sub(r"[^A-Za-z0-9_.-]+", "-", card.network.encoder).strip("-._")
    dates = f"{len(card.dates)} dates ({', '.join(card.dates)})"
    return Network(
        name=f"U-Net-{encoder}",
        architecture=f"U-Net, encoder {card.network.encoder}",
        framework_version=version("torch"),
        channels=card.network.channels,
        description=f"{dates} of {len(card.bands)} bands ({', '.join(card.bands)}), normalized",
    )
