"""The season's scenes: which file holds which band of which date. Metadata only, no pixels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.config import ImageryConfig, SceneEntry
from geoseg.errors import EmptySelectionError, RasterError, SceneError
from geoseg.grid import Grid
from geoseg.imagery.patterns import find
from geoseg.io import rasters


@dataclass(frozen=True, slots=True)
class Asset:
    """One band of one date: where its pixels are."""

    band: str
    path: Path
    number: int
    """Band number in the file, from 1."""


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
    entries = config.scenes or _entries_in_folder(config)
    entries = _wanted_dates(tuple(entries), config)
    scenes = tuple(_scene(entry, config) for entry in entries)
    first = scenes[0]
    for scene in scenes:
        first.grid.require(scene.grid, str(first.files[0]), str(scene.files[0]))
        _require_same_bands(first, scene)
        if scene.mask:
            grid = rasters.describe(scene.mask.path).grid
            first.grid.require(grid, str(first.files[0]), str(scene.mask.path))
    return scenes


def _entries_in_folder(config: ImageryConfig) -> Iterable[SceneEntry]:
    """List the folder: the files of one date are one entry."""
    assert config.folder is not None
    found = find(config.folder, config.pattern, config.date_format)
    masks = (
        {
            match.key: match.path
            for match in find(config.masks.folder, config.masks.pattern, config.date_format)
        }
        if config.masks
        else {}
    )
    for key in sorted({match.key for match in found}):
        same = [match for match in found if match.key == key]
        if config.masks and key not in masks:
            raise SceneError(
                f"{config.masks.folder}: no mask {config.masks.pattern!r} for {same[0].label} "
                f"({same[0].path.name}); add it, or leave that date out with 'imagery.dates'"
            )
        yield _entry([(m.band, m.path) for m in same], same[0].label, same[0].date, masks.get(key))


def _entry(
    files: list[tuple[str | None, Path]], label: str, date: dt.date | None, mask: Path | None
) -> SceneEntry:
    """Files of one date as a list entry: several are one per band, a single one holds all bands."""
    if files[0][0] is None and len(files) > 1:
        raise SceneError(
            f"{label}: {len(files)} files match 'imagery.pattern' ({files[0][1].name}, "
            f"{files[1][1].name}, ...); one per date is wanted, or a {{band}} in the pattern"
        )
    if files[0][0] is None:
        return SceneEntry(id=label, date=date, file=files[0][1], mask=mask)
    return SceneEntry(id=label, date=date, files={b or "": p for b, p in files}, mask=mask)


def _wanted_dates(entries: tuple[SceneEntry, ...], config: ImageryConfig) -> tuple[SceneEntry, ...]:
    """Only the days under ``dates``, all of them; every entry where none are named."""
    if not config.dates:
        if not entries:
            raise EmptySelectionError(f"{config.folder}: no file matches {config.pattern!r}")
        return entries
    by_date = {entry.date: entry for entry in entries}
    missing = [str(date) for date in config.dates if date not in by_date]
    if missing:
        have = ", ".join(sorted(str(date) for date in by_date)) or "none"
        raise SceneError(
            f"imagery.dates: no image of {', '.join(missing)} (there are: {have}); add the file or "
            "take the date out of the list"
        )
    return tuple(by_date[date] for date in sorted(config.dates))


def _scene(entry: SceneEntry, config: ImageryConfig) -> Scene:
    """Open the entry's files and find the wanted bands in them."""
    label = entry.id or (str(entry.date) if entry.date else Path(entry.file or "scene").stem)
    if entry.file:
        grid, assets = _bands_of_file(entry.file, config.band_names)
    else:
        grid, assets = _file_per_band(entry.files)
    if config.bands:
        have = {asset.band: asset for asset in assets}
        missing = [band for band in config.bands if band not in have]
        if missing:
            raise SceneError(
                f"{assets[0].path}: no band {missing[0]!r}; it has {', '.join(have)}. Correct "
                "'imagery.bands', or name the file's bands in order with 'imagery.band_names'."
            )
        assets = tuple(have[band] for band in config.bands)
    scene = Scene(label, entry.date, grid, assets, nodata=config.nodata)
    if entry.mask:
        invalid = config.masks.invalid if config.masks else config.mask_invalid
        scene = replace(scene, mask=Mask(entry.mask, invalid))
    return scene


def _bands_of_file(path: Path, names: tuple[str, ...]) -> tuple[Grid, tuple[Asset, ...]]:
    """All bands of one file, under the names given or its own."""
    info = _mappable(path)
    if names and len(names) != info.count:
        raise SceneError(
            f"{path} has {info.count} bands, 'imagery.band_names' has {len(names)} names; they are "
            "matched in order, so give one per band"
        )
    bands = names or info.bands
    return info.grid, tuple(Asset(band, path, i) for i, band in enumerate(bands, 1))


def _file_per_band(files: dict[str, Path]) -> tuple[Grid, tuple[Asset, ...]]:
    """One single-band file per band, all on one grid."""
    infos = {band: _mappable(path) for band, path in files.items()}
    first = next(iter(infos.values()))
    for info in infos.values():
        first.grid.require(info.grid, str(first.path), str(info.path))
        if info.count != 1:
            raise SceneError(f"{info.path} has {info.count} bands; one per file is wanted here")
    return first.grid, tuple(Asset(band, path, 1) for band, path in files.items())


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
    if info.dtype.startswith("complex"):
        raise RasterError(f"{path} holds {info.dtype} numbers; give intensity or real parts")
    return info


def _require_same_bands(first: Scene, scene: Scene) -> None:
    if scene.bands != first.bands:
        raise SceneError(
            f"{scene.files[0]} has the bands {', '.join(scene.bands)}, but {first.files[0]} has "
            f"{', '.join(first.bands)}; choose those that all dates share with 'imagery.bands'"
        )
