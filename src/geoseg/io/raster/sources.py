"""Opening rasters: any format GDAL reads, or in confinement only formats that lead nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

from geoseg.errors import ConfinedError
from geoseg.io.access import confine

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
