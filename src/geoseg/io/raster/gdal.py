"""What reading and writing rasters share: GDAL's settings and how its failures are told."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError  # GDAL's own errors: some calls let them through
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import ConfinedError
from geoseg.grid import Window
from geoseg.io.access import confine

FAILURES = (RasterioError, CPLE_BaseError)

# Block files and some imagery have no place on Earth; geoseg maps them in pixels, and says so once.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


_OFFLINE = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}
"""Lets GDAL's network file systems open nothing: nothing of geoseg's should lead there, should it."""

# Bytes of GDAL's cache of decoded tiles; GDAL's own default is 5 % of the machine's memory, in each
# process. The cache is the process's, so its size is too.
_cache = 256 * 2**20

SMALL = 64 * 2**20
"""Bytes of the cache for a single pass."""


def use_cache(size: int) -> None:
    """Let GDAL keep ``size`` bytes of decoded tiles, unless GDAL_CACHEMAX is set."""
    global _cache  # noqa: PLW0603
    _cache = size


@contextmanager
def small_cache() -> Iterator[None]:
    """In the body GDAL keeps little: for work that passes over pixels once and gains nothing by more."""
    before = _cache
    use_cache(min(_cache, SMALL))
    try:
        yield
    finally:
        use_cache(before)


def environment() -> rasterio.Env:
    """GDAL's settings while a file is open."""
    settings = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": _cache}
    return rasterio.Env(**settings, **(_OFFLINE if confine.confined() else {}))


def to_rasterio(window: Window) -> RasterioWindow:
    """A window as rasterio takes it."""
    return RasterioWindow(window.col, window.row, window.width, window.height)


def cores() -> int:
    """Cores that this process may use."""
    mine = getattr(os, "sched_getaffinity", None)  # Linux has it alone
    return len(mine(0)) if mine else os.cpu_count() or 1


def cause(error: Exception) -> str:
    """What GDAL said, without rasterio's "see previous exception"."""
    return str(error.__cause__ or error).rstrip(".")


DRIVERS = ["GTiff", "JP2OpenJPEG", "PNG", "JPEG", "HFA", "ENVI", "AAIGrid"]
"""Formats whose files hold their own pixels. Not VRT, WMS, STACTA and the like, which are lists of
other files or hosts; not netCDF and HDF5, whose variables may lie in other files."""

_SIDECARS = (".ovr", ".OVR", ".msk", ".MSK", ".aux")
"""Rasters that GDAL opens with whichever driver knows them, when it finds them beside another."""


def open_raster(path: Path) -> Any:
    """A rasterio dataset to read from, which the caller closes.

    Raises ``ConfinedError`` for what may not be opened, besides what rasterio raises.
    """
    name = confine.local(path)
    return _open_confined(name, path) if confine.confined() else rasterio.open(name)


def _open_confined(name: str, told: Path) -> Any:
    for sidecar in (name + suffix for suffix in _SIDECARS):
        if os.path.exists(sidecar):
            _open_confined(confine.require(Path(sidecar)), Path(sidecar)).close()
    try:
        source = DatasetReader(name, driver=DRIVERS)
    except RasterioIOError as error:
        if "not recognized as being in a supported file format" not in str(error):
            raise
        raise ConfinedError(
            f"{told} is of no format that may be opened while {confine.ROOTS} is set "
            f"({', '.join(DRIVERS)}): others can lead to other files and hosts. Convert it with "
            "'gdal_translate -of COG' where it is trusted."
        ) from None
    try:
        _require_whole(source, told)
    except ConfinedError:
        source.close()
        raise
    return source


def _require_whole(source: Any, told: Path) -> None:
    """All that belongs to an open raster lies below the roots, too.

    Its metadata, inside or in ``.aux.xml``, can name any file or URL as the one with its overviews.
    Asking for its files would open that, so it is looked for first.
    """
    elsewhere = source.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if elsewhere:
        raise ConfinedError(
            f"{told} names another file for its overviews ({elsewhere}); remove that from its "
            f"metadata, or from {told}.aux.xml"
        )
    for name in source.files:
        confine.require(Path(name))
