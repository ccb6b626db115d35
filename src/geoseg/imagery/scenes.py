"""The season's scenes: which file holds which band of which date. Metadata only, no pixels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.config import ImageryConfig, SceneEntry
from geoseg.errors import RasterError, SceneError
from geoseg.grid import Grid
from geoseg.imagery.listing import list_season
from geoseg.io.raster import rasters


@dataclass(frozen=True, slots=True)
class Asset:
    """One band of one date: where its pixels are."""

    band: str
    path: Path
    number: int
    """Band number in the file, from 1."""
    scaling: tuple[float, float] = (1.0, 0.0)
    """Scale and offset the file gives it: not applied, but the same on every date."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Where the unusable pixels of a date are named."""

    path: Path
    invalid: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """One acquisition."""

    id: str
    date: dt.date | None
    grid: Grid
    assets: tuple[Asset, ...]
    """In band order, the same in every scene of a season."""
    mask: Mask | None = None
    nodata: float | None = None
    """For files that do not name a nodata value themselves."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names in channel order."""
        return tuple(asset.band for asset in self.assets)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the scene, each once, its mask last."""
        paths = dict.fromkeys(asset.path for asset in self.assets)
        return (*paths, *([self.mask.path] if self.mask else []))


def select(config: ImageryConfig) -> tuple[Scene, ...]:
    """The scenes that the config names, in time order, all on one grid with the same bands.

    Opens each file once for its metadata. Raises ``SceneError`` for a missing date or band,
    ``EmptySelectionError`` where nothing matches, ``GridMismatchError`` and ``RasterError``.
    """
    scenes = tuple(_scene(entry, config) for entry in list_season(config))
    first = scenes[0]
    for scene in scenes:
        first.grid.require(scene.grid, str(first.files[0]), str(scene.files[0]))
        _require_same_bands(first, scene)
        if scene.mask:
            _require_mask(first, scene.mask.path)
    return scenes


def _scene(entry: SceneEntry, config: ImageryConfig) -> Scene:
    """Open the entry's files and find the wanted bands in them."""
    if entry.file:
        grid, assets = _bands_of_file(entry.file, config)
    else:
        grid, assets = _file_per_band(entry.files)
    label = entry.id or (str(entry.date) if entry.date else assets[0].path.stem)
    mask = None
    if entry.mask:
        mask = Mask(entry.mask, config.masks.invalid if config.masks else config.mask_invalid)
    wanted = tuple(_chosen(assets, config.bands)) if config.bands else assets
    return Scene(label, entry.date, grid, wanted, mask, config.nodata)


def _chosen(assets: tuple[Asset, ...], bands: tuple[str, ...]) -> Iterable[Asset]:
    """The assets of ``imagery.bands``, in that order."""
    for band in bands:
        found = [asset for asset in assets if asset.band == band]
        if bands.count(band) > 1:
            raise SceneError(f"imagery.bands: {band!r} is there twice; name each band once")
        if not found:
            have = _listed([asset.band for asset in assets])
            raise SceneError(
                f"{assets[0].path}: no band {band!r}; it has {have}. Correct 'imagery.bands', or "
                "name the file's bands in order with 'imagery.band_names'."
            )
        if len(found) > 1:
            raise SceneError(
                f"{found[0].path}: bands {found[0].number} and {found[1].number} are both called "
                f"{band!r}; tell them apart with 'imagery.band_names', one name per band in order"
            )
        yield found[0]


def _listed(bands: Sequence[str]) -> str:
    """Names for a message, the first twenty of them."""
    more = f" and {len(bands) - 20} more" if len(bands) > 20 else ""
    return ", ".join(bands[:20]) + more


def _bands_of_file(path: Path, config: ImageryConfig) -> tuple[Grid, tuple[Asset, ...]]:
    """The bands of one file, under the names given or its own.

    An alpha band is left out, unless ``bands`` asks for it or ``band_names`` names it too: then it
    is data. Some programs mark the fourth of four 8-bit bands as alpha whatever it is.
    """
    info, names = _mappable(path), config.band_names
    numbers = list(range(1, info.count + 1))
    if info.alpha:
        alpha = info.bands[info.alpha - 1]
        asked = len(names) == info.count if names else alpha in config.bands
        if not asked:
            numbers.remove(info.alpha)
    if names and len(names) != len(numbers):
        raise SceneError(
            f"{path} has {len(numbers)} bands, 'imagery.band_names' has {len(names)} names; they "
            "are matched in order, so give one per band"
        )
    bands = names or tuple(info.bands[number - 1] for number in numbers)
    return info.grid, tuple(
        Asset(band, path, number, info.scaling[number - 1])
        for band, number in zip(bands, numbers, strict=True)
    )


def _file_per_band(files: dict[str, Path]) -> tuple[Grid, tuple[Asset, ...]]:
    """One single-band file per band, all on one grid."""
    infos = {band: _mappable(path) for band, path in files.items()}
    first = next(iter(infos.values()))
    for info in infos.values():
        first.grid.require(info.grid, str(first.path), str(info.path))
        if info.count != 1:
            raise SceneError(
                f"{info.path} has {info.count} bands where one per file is wanted; take {{band}} "
                "out of 'imagery.pattern', or name it as a 'file', not under 'files'"
            )
    return first.grid, tuple(
        Asset(band, info.path, 1, info.scaling[0]) for band, info in infos.items()
    )


def _mappable(path: Path) -> rasters.RasterInfo:
    """What a raster says of itself; ``RasterError`` where it cannot be mapped as it is."""
    info = rasters.describe(path)
    if info.subdatasets or info.count == 0:
        raise RasterError(
            f"{path} is a container of {len(info.subdatasets)} subdatasets, not one raster; convert "
            "each date to a GeoTIFF first (gdal_translate)"
        )
    if info.gcps:
        raise RasterError(
            f"{path} has {info.gcps} ground control points and no grid; warp it onto one first "
            "(gdalwarp -t_srs EPSG:CODE)"
        )
    if info.rpcs:
        raise RasterError(
            f"{path} has rational polynomial coefficients (RPC) and no grid; orthorectify it first "
            "(gdalwarp -rpc -t_srs EPSG:CODE, with -to RPC_DEM=FILE for a terrain model)"
        )
    if info.complex:
        raise RasterError(
            f"{path} holds complex numbers ({info.dtype}), which no network is fed; give intensity "
            "or real parts (gdal_translate with DERIVED_SUBDATASET:INTENSITY:FILE)"
        )
    return info


def _require_same_bands(first: Scene, scene: Scene) -> None:
    """The same bands in the same order, and numbers that mean the same."""
    if scene.bands != first.bands:
        raise SceneError(
            f"{scene.files[0]} has the bands {_listed(scene.bands)}, but {first.files[0]} has "
            f"{_listed(first.bands)}; choose those that all dates share with 'imagery.bands', or "
            "name the bands of every file in order with 'imagery.band_names'"
        )
    for mine, theirs in zip(first.assets, scene.assets, strict=True):
        # Some programs write 0.0001 in single precision.
        if not np.allclose(mine.scaling, theirs.scaling, rtol=1e-6, atol=1e-12):
            raise SceneError(
                f"{theirs.path}: band {theirs.band} has scale and offset {theirs.scaling}, in "
                f"{mine.path} they are {mine.scaling}, so equal numbers mean different things; "
                "bring all dates to one scale first (gdal_translate -unscale -ot Float32)"
            )


def _require_mask(first: Scene, path: Path) -> None:
    """A mask is one band on the grid of the imagery."""
    info = _mappable(path)
    first.grid.require(info.grid, str(first.files[0]), str(path))
    if info.count != 1:
        raise SceneError(
            f"{path} has {info.count} bands, a mask has one; take out the one that is meant "
            "(gdal_translate -b 1)"
        )
