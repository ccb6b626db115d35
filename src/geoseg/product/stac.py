"""The products of a run as one STAC item: what a catalogue needs to find and check them."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyproj
import pystac
from pystac.extensions.classification import Classification, ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from geoseg.grid import Grid
from geoseg.io import files
from geoseg.legend import NODATA, Legend, LegendClass
from geoseg.product.map_frame import extent

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0",
        "processing/v1.1.0", "file/v2.1.0", "mlm/v1.4.0",
    )
)  # fmt: skip
"""The extensions an item uses. The fields of three are written as they are: pystac has no class for
processing, none for the raster extension from version 2 on, and its MLM writes nulls for all that is
not said."""

_SHA256 = "1220"
"""What a multihash of SHA-256 begins with: the function's code and the digest's length."""

_COG = pystac.MediaType.COG
_KINDS = {
    ".tif": (_COG, ["data"]),
    ".gpkg": (pystac.MediaType.GEOPACKAGE, ["data"]),
    ".parquet": (pystac.MediaType.PARQUET, ["data"]),
    ".fgb": (pystac.MediaType.FLATGEOBUF, ["data"]),
    ".qml": (pystac.MediaType.XML, ["style"]),
    ".sld": ("application/vnd.ogc.sld+xml", ["style"]),
    ".xml": (pystac.MediaType.XML, ["metadata"]),
    ".dbf": ("application/dbase", ["metadata"]),
    ".cpg": (pystac.MediaType.TEXT, ["metadata"]),
    ".png": (pystac.MediaType.PNG, ["thumbnail", "overview"]),
    ".html": (pystac.MediaType.HTML, ["metadata"]),
    ".md": ("text/markdown", ["metadata"]),
    ".json": (pystac.MediaType.JSON, ["metadata"]),
    ".safetensors": ("application/octet-stream", ["mlm:model", "mlm:weights"]),
}
"""Media type and roles of a product by its suffix."""


@dataclass(frozen=True, slots=True)
class Product:
    """One file of the item."""

    key: str
    path: Path
    title: str
    bands: tuple[str, ...] = ()
    """Of a raster other than that of classes: the names of its bands, percents."""


@dataclass(frozen=True, slots=True)
class Network:
    """The model behind the map, as MLM fields tell it."""

    name: str
    architecture: str
    framework_version: str
    channels: int
    description: str
    """What the channels are."""


@dataclass(frozen=True, slots=True)
class Description:
    """What an item says besides its files."""

    id: str
    title: str
    grid: Grid
    legend: Legend
    period: tuple[dt.datetime, dt.datetime]
    """First and last moment of the season, in UTC."""
    run_id: str
    software: Mapping[str, str]
    """Program to version."""
    inputs: Sequence[Path]
    network: Network
    released: Mapping[str, Any] | None = None
    """Of a map that fails gates and goes out all the same: ``gates``, ``at``, ``by``."""


def write_item(path: Path, description: Description, products: Sequence[Product]) -> None:
    """Write the item beside its products; links to files are relative to it.

    Without a CRS the geometry is null. Raises ``OutputError`` where there is no room.
    """
    item = make_item(description, path.parent)
    for product in products:
        _add_asset(item, product, description.legend, path.parent)
    files.write_json(path, item.to_dict(include_self_link=False, transform_hrefs=False))


def make_item(description: Description, folder: Path) -> pystac.Item:
    """The item without assets."""
    geometry, box = extent(description.grid) or (None, None)
    item = pystac.Item(
        id=description.id,
        geometry=geometry,
        bbox=box,
        datetime=None,
        start_datetime=description.period[0],
        end_datetime=description.period[1],
        stac_extensions=list(EXTENSIONS),
        properties={"title": description.title},
    )
    _set_projection(ProjectionExtension.ext(item), description.grid)
    item.properties |= _processing(description) | _model(description.network, description.legend)
    for path in description.inputs:
        item.add_link(pystac.Link(pystac.RelType.DERIVED_FROM, _href(path, folder)))
    return item


def _href(path: Path, folder: Path) -> str:
    """A file's address from the item's folder."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _set_projection(projection: ProjectionExtension[pystac.Item], grid: Grid) -> None:
    """The code is null where the CRS has none, or is none."""
    crs = pyproj.CRS.from_user_input(grid.crs) if grid.crs else None
    authority = crs.to_authority(min_confidence=100) if crs else None
    projection.apply(
        code=":".join(authority) if authority else None,
        wkt2=crs.to_wkt() if crs and not authority else None,
        bbox=list(grid.bounds) if crs else None,
        shape=list(grid.window.shape),
        transform=list(grid.transform)[:6],
    )


def _processing(description: Description) -> dict[str, Any]:
    """Where the map is from: software and run."""
    inputs, network = len(description.inputs), description.network
    released = description.released
    return {
        "processing:software": dict(description.software),
        "processing:lineage": (
            f"Semantic segmentation of {inputs} files by {network.architecture}, "
            f"run {description.run_id}"
        ),
        "geoseg:run": description.run_id,
        **({"geoseg:released": dict(released)} if released else {}),
    }


def _model(network: Network, legend: Legend) -> dict[str, Any]:
    """``mlm:`` fields."""
    tasks = ["semantic-segmentation"]
    season = {
        "name": "season",
        "description": network.description,
        # Channels are dates times bands: "bands" would name each twice or more.
        "bands": [],
        "input": _tensor(network.channels, "channel"),
    }
    probabilities = {
        "name": "probabilities",
        "tasks": tasks,
        "result": _tensor(len(legend), "class"),
        # MLM takes classes as the first version of their extension has them: without a title.
        "classification:classes": [_classification(c, None).to_dict() for c in legend],
    }
    return {
        "mlm:name": network.name,
        "mlm:architecture": network.architecture,
        "mlm:framework": "PyTorch",
        **_version(network.framework_version),
        "mlm:tasks": tasks,
        "mlm:input": [season],
        "mlm:output": [probabilities],
    }


def _tensor(size: int, axis: str) -> dict[str, Any]:
    """Float tensors of any batch and any height and width."""
    order = ["batch", axis, "height", "width"]
    return {"shape": [-1, size, -1, -1], "dim_order": order, "data_type": "float32"}


def _version(text: str) -> dict[str, str]:
    """The framework's version, where it is one that MLM takes (semver.org)."""
    known = re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", text)
    return {"mlm:framework_version": text} if known else {}


def _classification(entry: LegendClass, title: str | None) -> Classification:
    """A name is ASCII without blanks there, a title is for people."""
    return Classification.create(
        value=entry.code,
        name=f"class_{entry.code}",
        title=title,
        description=entry.name,
        color_hint=entry.color[1:].upper(),
    )


def _add_asset(item: pystac.Item, product: Product, legend: Legend, folder: Path) -> None:
    media, roles = _KINDS[product.path.suffix]
    href = _href(product.path, folder)
    asset = pystac.Asset(href, product.title, None, str(media), list(roles))
    item.add_asset(product.key, asset)
    FileExtension.ext(asset).apply(
        checksum=_SHA256 + files.sha256(product.path), size=product.path.stat().st_size
    )
    if product.path.suffix == ".tif":
        _set_bands(asset, product.bands, legend)
    if product.path.suffix == ".safetensors":
        asset.extra_fields["mlm:artifact_type"] = "safetensors"


def _set_bands(asset: pystac.Asset, bands: Sequence[str], legend: Legend) -> None:
    """Bands and values of a raster."""
    fields = {"data_type": "uint8", "nodata": NODATA, "raster:sampling": "area"}
    asset.extra_fields |= fields
    if bands:
        asset.extra_fields |= {"unit": "%", "bands": [{"name": name} for name in bands]}
        return
    nodata = Classification.create(NODATA, "no data", "nodata", "no data", nodata=True)
    classes = [_classification(entry, title=entry.name) for entry in legend]
    ClassificationExtension.ext(asset).apply([*classes, nodata])
