"""Files inside and outside the folders that may be opened, and a host that nobody may be led to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from geoseg.errors import ConfinedError
from geoseg.grid import Window
from geoseg.io.access import confine
from geoseg.io.raster import rasters
from geoseg.io.raster.open_rasters import OpenRasters
from geoseg.io.vector.parcel_layers import describe_layer
from tests.support.common import Raster, Site

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[1], "a") as log:
            log.write(self.path + "\\n")
        self.send_error(404)
    do_HEAD = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def logging_host(log: Path) -> Iterator[Site]:
    """A host that answers 404 and writes down what was asked of it.

    A process of its own: GDAL may keep this one's threads waiting while it asks.
    """
    log.touch()
    command = [sys.executable, "-c", SERVER, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = f"127.0.0.1:{server.stdout.readline().strip()}"
        yield lambda: (address, log.read_text().split())
        server.kill()


def square(path: Path, raster: Raster) -> Path:
    return raster(path, np.full((1, 64, 64), 7, np.uint8))


def square_unconfined(path: Path, raster: Raster) -> Path:
    """A file that lay there before anything was confined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(confine.ROOTS, raising=False)
        return square(path, raster)


def polygons(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    table = geopandas.GeoDataFrame({"crop": ["a"]}, geometry=[shapely.box(0, 0, 9, 9)], crs=32633)
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_file(path, layer="p")
    return path


def refused(path: Path, message: str) -> None:
    """Both doors to rasters refuse a file."""
    with pytest.raises(ConfinedError, match=message):
        rasters.read(path, [1], Window(0, 0, 8, 8))
    with pytest.raises(ConfinedError, match=message):
        OpenRasters().read(path, [1], Window(0, 0, 8, 8))


def describe_parcels(path: Path) -> object:
    return describe_layer(path, None)
