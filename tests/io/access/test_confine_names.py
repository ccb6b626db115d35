"""Names that are no local file's: virtual paths, addresses, parts of files, archives."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from geoseg.errors import ConfigError, ConfinedError
from geoseg.io import configs, legends
from geoseg.io.raster import rasters
from geoseg.io.vector.label_polygons import read_polygons
from tests.support.common import Raster
from tests.support.confined import describe_parcels, square


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/vsizip/{}/a.zip/a.tif", "virtual path"),
        ("/vsicurl/http://127.0.0.1:9/x.tif", "virtual path"),
        ("/vsitar/{}/a.tar/a.tif", "virtual path"),
        ("zip://{}/a.zip!a.tif", "an address"),
        ("https://127.0.0.1:9/x.tif", "an address"),
        ("s3://bucket/x.tif", "an address"),
        ("file:///etc/passwd", "an address"),
        ('NETCDF:"{}/a.nc":band', "a part of a file"),
        ("GTIFF_DIR:1:{}/a.tif", "a part of a file"),
        ('ZARR:"/vsicurl/http://127.0.0.1:9/x.zarr"', "a part of a file"),
        ("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>", "a part of a file"),
        ('{{"type": "gdal_streamed_alg"}}', "a part of a file"),
        ("{}/a.zip", "an archive; unpack it first"),
        ("{}/a.tar.gz", "an archive"),
        ("{}/doc.kmz", "an archive"),
    ],
)
def test_a_name_is_a_local_file(
    name: str, message: str, tmp_path: Path, raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with or without roots, at every door, and as a value in a config."""
    tif = square(tmp_path / "a.tif", raster)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tif, "a.tif")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tif, "a.tif")
    monkeypatch.chdir(tmp_path)
    text = name.format(tmp_path)
    for door in (rasters.describe, legends.read, configs.load, describe_parcels):
        with pytest.raises(ConfinedError, match=message):
            door(Path(text))
    content = {"name": "x", "imagery": {"folder": text}, "model": {"bundle": "m"}}
    with pytest.raises(ConfigError, match=rf"imagery\.folder: .*{message}"):
        configs.parse(content, tmp_path, "x.yaml")


def test_pyogrio_takes_no_archive_out_of_a_name(tmp_path: Path) -> None:
    """It would read ``b.shp`` inside ``a.zip``."""
    inside = tmp_path / "a.zip!" / "b.shp"
    inside.parent.mkdir()
    inside.touch()
    for door in (describe_parcels, lambda path: read_polygons(path, None, ())):
        with pytest.raises(ConfinedError, match="no '!'"):
            door(inside)
