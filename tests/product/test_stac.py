"""The STAC item: valid by the specification's own schemas, and true to the files it names."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pystac
import pystac.validation
import pytest
import shapely
from affine import Affine
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio import CRS

from geoseg.grid import Grid
from geoseg.legend import Legend, LegendClass
from geoseg.product.map_frame import extent
from geoseg.product.stac import Description, Network, Product, write_item

LEGEND = Legend(
    (
        LegendClass(3, "озимая пшеница", "#e69f00"),
        LegendClass(1, '冬小麦 "A" & <B>', "#56b4e9"),
    )
)
NETWORK = Network("U-Net-resnet18", "U-Net, encoder resnet18", "2.5.0+cpu", 6, "2 dates of 3 bands")


def grid(crs: str | None, *transform: float, height: int = 200, width: int = 100) -> Grid:
    wkt = str(CRS.from_user_input(crs).to_wkt()) if crs else None
    return Grid(wkt, Affine(*transform), height, width)


GRIDS = {
    "utm": grid("EPSG:32633", 10, 0, 5e5, 0, -10, 5e6),
    "degrees": grid("EPSG:4326", 0.01, 0, 8, 0, -0.01, 47),
    "rotated": grid("EPSG:3035", 7, 2, 4e6, 2, -8, 3e6),
    "none": grid(None, 1, 0, 0, 0, 1, 0),
    "own": grid("+proj=laea +lat_0=12 +lon_0=7 +datum=WGS84", 100, 0, 0, 0, -100, 0),
    "meridian": grid("EPSG:32601", 5000, 0, 1e5, 0, -5000, 5e6),
    "pole": grid("EPSG:3995", 10_000, 0, -5e5, 0, -10_000, 1e6),
    "local": grid('LOCAL_CS["site",UNIT["metre",1]]', 1, 0, 0, 0, -1, 0),
}


def write(folder: Path, where: Grid) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = ["m_class.tif", "m_confidence.tif", "m_class.qml", "model.safetensors"]
    for name in names:
        (folder / name).write_bytes(name.encode())
    said = Description(
        id="m",
        title='Map "7" & <more>',
        grid=where,
        legend=LEGEND,
        period=(
            dt.datetime(2025, 3, 1, tzinfo=dt.UTC),
            dt.datetime(2025, 9, 30, 23, 59, 59, tzinfo=dt.UTC),
        ),
        run_id="ab12",
        software={"geoseg": "1.0"},
        inputs=[folder / "in" / "2025-03-01.tif", folder / "in" / "2025-09-30.tif"],
        network=NETWORK,
    )
    products = [
        Product("class", folder / names[0], "Classes"),
        Product("confidence", folder / names[1], "Confidence", ("confidence",)),
        Product("style", folder / names[2], "Style"),
        Product("model", folder / names[3], "Model"),
    ]
    write_item(folder / "m.json", said, products)
    return folder / "m.json"


def validate(path: Path) -> dict[str, Any]:
    """By the core schemas that pystac brings along; by those of the extensions where a folder has
    them (``GEOSEG_STAC_SCHEMAS``: projection-v2.0.0.json and so on): they are on the web alone."""
    content = json.loads(path.read_text())
    core = {**content, "stac_extensions": []}
    assert pystac.validation.validate_dict(core, stac_object_type=pystac.STACObjectType.ITEM)
    folder = os.environ.get("GEOSEG_STAC_SCHEMAS")
    for uri in content["stac_extensions"] if folder else ():
        name, version = uri.split("/")[-3:-1]
        schema = json.loads((Path(str(folder)) / f"{name}-{version}.json").read_text())
        jsonschema.validate(content, schema)
    return content


@pytest.mark.parametrize("name", GRIDS)
def test_the_item_is_valid(tmp_path: Path, name: str) -> None:
    content = validate(write(tmp_path, GRIDS[name]))
    assert (content["geometry"] is None) == (name in {"none", "local"})
    assert ("bbox" in content) == (name not in {"none", "local"})
    properties = content["properties"]
    assert properties["proj:shape"] == [200, 100]
    codes = {"utm": "EPSG:32633", "degrees": "EPSG:4326", "rotated": "EPSG:3035"}
    if name in codes:
        assert properties["proj:code"] == codes[name]
    assert ("proj:wkt2" in properties) == (name in {"own", "local"})
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2025-03-01T00:00:00Z"
    assert properties["end_datetime"] == "2025-09-30T23:59:59Z"


def test_a_broken_item_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path, GRIDS["utm"])
    content = json.loads(path.read_text())
    for change in ({"geometry": {"type": "Polygon"}}, {"properties": {"datetime": None}}):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(pystac.STACValidationError):
            validate(path)


def test_files_and_their_checksums(tmp_path: Path) -> None:
    item = pystac.Item.from_file(str(write(tmp_path, GRIDS["utm"])))
    assert set(item.assets) == {"class", "confidence", "style", "model"}
    for asset in item.assets.values():
        content = (tmp_path / asset.href).read_bytes()
        told = FileExtension.ext(asset)
        assert told.size == len(content)
        assert told.checksum == "1220" + hashlib.sha256(content).hexdigest()
    derived = [link.href for link in item.links if link.rel == "derived_from"]
    assert [Path(tmp_path / href).name for href in derived] == ["2025-03-01.tif", "2025-09-30.tif"]
    assert not any(str(tmp_path) in href for href in derived), "an item can be moved with its files"


def test_pystac_reads_the_extensions(tmp_path: Path) -> None:
    item = pystac.Item.from_file(str(write(tmp_path, GRIDS["utm"])))
    place = ProjectionExtension.ext(item)
    assert (place.code, place.shape) == ("EPSG:32633", [200, 100])
    assert place.transform == list(GRIDS["utm"].transform)[:6]
    classes = ClassificationExtension.ext(item.assets["class"]).classes or []
    assert [(c.value, c.title, c.color_hint) for c in classes[:-1]] == [
        (c.code, c.name, c.color[1:].upper()) for c in LEGEND
    ]
    assert (classes[-1].value, classes[-1].nodata) == (255, True)
    assert item.assets["class"].extra_fields["data_type"] == "uint8"
    model = MLMExtension.ext(item)
    assert model.architecture == NETWORK.architecture
    assert model.input[0].input.shape == [-1, 6, -1, -1]
    assert [c.value for c in model.output[0].classes] == [3, 1]
    assert model.framework_version == "2.5.0+cpu"
    assert item.assets["model"].roles is not None
    assert "mlm:model" in item.assets["model"].roles


def test_the_outline_follows_curves() -> None:
    """A square of UTM is no square in degrees: its middle of the south side is off the chord."""
    where = grid("EPSG:32633", 1000, 0, 2e5, 0, -1000, 6.2e6, height=600, width=600)
    found = extent(where)
    assert found is not None
    outline = shapely.geometry.shape(found[0])
    assert outline.is_valid
    assert 20 < len(outline.exterior.coords) <= 129
    assert outline.exterior.is_ccw
    assert outline.area / outline.convex_hull.area < 0.999


def test_across_the_180th_meridian() -> None:
    found = extent(GRIDS["meridian"])
    assert found is not None
    shape, (west, south, east, north) = shapely.geometry.shape(found[0]), found[1]
    assert shape.geom_type == "MultiPolygon"
    assert len(shape.geoms) == 2
    assert -180 <= shape.bounds[0] < shape.bounds[2] <= 180
    assert west > east
    assert south < north
    assert shape.is_valid
    assert all(part.exterior.is_ccw for part in shape.geoms)


def test_around_a_pole() -> None:
    found = extent(GRIDS["pole"])
    assert found is not None
    assert found[1][0::2] == [-180, 180]
    assert found[1][3] == 90
    assert 75 < found[1][1] < 85
