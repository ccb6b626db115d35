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

from geoseg.grid import Grid
from geoseg.io import files
from geoseg.legend import NODATA, Legend
from geoseg.product.extent import extent

_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
EXTENSIONS = tuple(
    _EXTENSION.format(name)
    for name in (
        "projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0",
        "processing/v1.1.0", "file/v2.1.0", "mlm/v1.4.0",
    )
)  # fmt: skip
"""The extensions an item uses."""

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


def write_item(path: Path, said: Description, products: Sequence[Product]) -> None:
    """Write the item beside its products; links to files are relative to it.

    Without a CRS the geometry is null. Raises ``OutputError`` where there is no room.
    """
    item = make_item(said, path.parent)
    for product in products:
        item.add_asset(product.key, _asset(product, said, path.parent))
    files.write_json(path, item.to_dict(include_self_link=False, transform_hrefs=False))


def make_item(said: Description, folder: Path) -> pystac.Item:
    """The item without assets."""
    geometry, box = extent(said.grid) or (None, None)
    item = pystac.Item(
        id=said.id,
        geometry=geometry,
        bbox=box,
        datetime=None,
        start_datetime=said.period[0],
        end_datetime=said.period[1],
        stac_extensions=list(EXTENSIONS),
        properties={"title": said.title, **_projection(said.grid), **_origin(said)},
    )
    for path in said.inputs:
        item.add_link(pystac.Link(pystac.RelType.DERIVED_FROM, _href(path, folder)))
    return item


def _href(path: Path, folder: Path) -> str:
    """A file's address from the item's folder."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _projection(grid: Grid) -> dict[str, Any]:
    """``proj:`` fields; the code is null where the CRS has none, or is none."""
    found: dict[str, Any] = {
        "proj:code": None,
        "proj:shape": list(grid.window.shape),
        "proj:transform": list(grid.transform)[:6],
    }
    if grid.crs is not None:
        crs = pyproj.CRS.from_user_input(grid.crs)
        authority = crs.to_authority(min_confidence=100)
        if authority:
            found["proj:code"] = ":".join(authority)
        else:
            found["proj:wkt2"] = crs.to_wkt()
        found["proj:bbox"] = list(grid.bounds)
    return found


def _origin(said: Description) -> dict[str, Any]:
    """Where the map is from: software, run and model."""
    network, classes = said.network, _classes(said.legend)
    return {
        "processing:software": dict(said.software),
        "processing:lineage": (
            f"Semantic segmentation of {len(said.inputs)} files by {network.architecture}, "
            f"run {said.run_id}"
        ),
        "geoseg:run": said.run_id,
        **({"geoseg:released": dict(said.released)} if said.released else {}),
        "mlm:name": network.name,
        "mlm:architecture": network.architecture,
        "mlm:framework": "PyTorch",
        **_version(network.framework_version),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:input": [
            {
                "name": "season",
                "description": network.description,
                # Channels are dates times bands: "bands" would name each twice or more.
                "bands": [],
                "input": {
                    "shape": [-1, network.channels, -1, -1],
                    "dim_order": ["batch", "channel", "height", "width"],
                    "data_type": "float32",
                },
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, len(classes), -1, -1],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    # MLM takes classes as the first version of their extension has them.
                    {key: value for key, value in entry.items() if key != "title"}
                    for entry in classes
                ],
            }
        ],
    }


def _version(text: str) -> dict[str, str]:
    """The framework's version, where it is one that MLM takes (semver.org)."""
    known = re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", text)
    return {"mlm:framework_version": text} if known else {}


def _classes(legend: Legend) -> list[dict[str, Any]]:
    """``classification:classes``: there a name is ASCII without blanks, a title is for people."""
    return [
        {
            "value": c.code,
            "name": f"class_{c.code}",
            "title": c.name,
            "description": c.name,
            "color_hint": c.color[1:].upper(),
        }
        for c in legend
    ]


def _asset(product: Product, said: Description, folder: Path) -> pystac.Asset:
    media, roles = _KINDS[product.path.suffix]
    fields: dict[str, Any] = {
        "file:checksum": _SHA256 + files.sha256(product.path),
        "file:size": product.path.stat().st_size,
    }
    if product.path.suffix == ".tif":
        fields |= _raster(product, said)
    if product.path.suffix == ".safetensors":
        fields["mlm:artifact_type"] = "safetensors"
    href = _href(product.path, folder)
    return pystac.Asset(href, product.title, None, str(media), list(roles), fields)


def _raster(product: Product, said: Description) -> dict[str, Any]:
    """Bands and values of a raster."""
    common = {"data_type": "uint8", "nodata": NODATA, "raster:sampling": "area"}
    if product.bands:
        return {**common, "unit": "%", "bands": [{"name": name} for name in product.bands]}
    nodata = {
        "value": NODATA,
        "name": "nodata",
        "title": "no data",
        "description": "no data",
        "nodata": True,
    }
    return {**common, "classification:classes": [*_classes(said.legend), nodata]}
