"""One item of a STAC API, as it was found: written by others, so nothing in it is taken for granted."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from geoseg.config.service import Slot
from geoseg.errors import SceneError
from geoseg.imagery.catalogs.found import CatalogFile, CatalogItem
from geoseg.io import files

LARGEST = 2**50
"""Bytes of a file that a catalogue may speak of."""

Json = Mapping[str, Any]


def found(content: object, assets: Mapping[str, str], slots: Sequence[Slot]) -> CatalogItem:
    """An item with the files of these assets (by their roles), or refused with the reason."""
    one = CatalogItem(_name(content), dt.date.min, files.digest(content)[:16])
    try:
        item = _Item.of(content)
        one = replace(one, version=_version(item, []), made=item.made, date=item.day)
        one = replace(one, acquisition=f"{item.moment} {item.place}".strip())
        used = tuple(item.file(role, key) for role, key in assets.items())
        one = replace(one, clear=item.clear)
    except SceneError as error:
        return replace(one, verdict="refused", reason=_shown(str(error), 300))
    grid, version = item.grid(next(iter(assets.values()))), _version(item, used)
    one = replace(one, version=version, stamp=version, grid=grid, files=used)
    if not any(one.date in slot for slot in slots):
        return replace(one, verdict="outside", reason="of no slot of the season")
    return one


def _name(content: object) -> str:
    """The item's id; where it has none that can be used, a name for it that stays the same."""
    try:
        return _text(content.get("id") if isinstance(content, dict) else None, "id")
    except SceneError:
        return f"an item without an id ({files.digest(content)[:8]})"


@dataclass(frozen=True, slots=True)
class _Item:
    """The parts of an item that matter here. Each raises ``SceneError`` where it is no STAC."""

    properties: Json
    assets: Json
    base: str
    """What relative addresses start from."""
    box: str

    @classmethod
    def of(cls, content: object) -> _Item:
        if not isinstance(content, dict):
            raise SceneError(f"it is no STAC item but {_shown(content)}")
        _text(content.get("id"), "id")
        properties, assets = (_mapping(content.get(k), k) for k in ("properties", "assets"))
        return cls(properties, assets, _base(content.get("links")), _box(content.get("bbox")))

    def file(self, role: str, key: str) -> CatalogFile:
        """The file of an asset."""
        if self.assets.get(key) is None:
            have = ", ".join(sorted(self.assets)) or "none"
            raise SceneError(f"asset {key} is missing (it has {have})")
        asset = _mapping(self.assets[key], f"asset {key}")
        try:
            href = urljoin(self.base, _text(asset.get("href"), f"address of asset {key}"))
            parts = urlsplit(href)
        except ValueError:  # such as brackets that do not close
            raise SceneError(f"asset {key} has no address: {_shown(asset['href'])}") from None
        if parts.scheme not in ("http", "https"):
            raise SceneError(f"asset {key} is no http address: {href[:120]}")
        checksum = asset.get("file:checksum")
        if checksum:
            _text(checksum, f"file:checksum of asset {key}")
        return CatalogFile(role, href, _size(asset.get("file:size"), key), checksum or "")

    @property
    def moment(self) -> str:
        """When it was taken."""
        moment = self.properties.get("datetime") or self.properties.get("start_datetime")
        if moment is None:
            raise SceneError("it has no datetime")
        return _text(moment, "datetime")

    @property
    def day(self) -> dt.date:
        """Of ``moment``, in UTC."""
        try:
            moment = dt.datetime.fromisoformat(self.moment)
            return (moment.astimezone(dt.UTC) if moment.tzinfo else moment).date()
        except (ValueError, OverflowError):  # the latter: before the year 1 or after 9999 in UTC
            raise SceneError(f"its datetime is none: {_shown(self.moment)}") from None

    @property
    def place(self) -> str:
        """Name of its tile, or its outline."""
        named = (_word(self.properties, name) for name in ("grid:code", "s2:mgrs_tile"))
        return next(filter(None, named), self.box)

    def grid(self, key: str) -> str:
        """Digest of the projection's fields, an asset's or the item's; empty where there are none."""
        own = {**self.properties, **self.assets[key]}
        names = ("proj:code", "proj:epsg", "proj:transform", "proj:shape")
        fields = [_rounded(own.get(name)) for name in names]
        return files.digest(fields)[:16] if any(fields) else ""

    @property
    def made(self) -> str:
        """When, and by which processing, this version was made; the later the greater as text."""
        names = ("s2:processing_baseline", "updated", "created")
        return " ".join(_word(self.properties, name) or "-" for name in names)

    @property
    def clear(self) -> float | None:
        """By the catalogue's word, with what lies outside the swath; None where it says nothing."""
        cloud = _percent(self.properties, "eo:cloud_cover")
        outside = _percent(self.properties, "s2:nodata_pixel_percentage")
        if cloud is None:
            return None
        return round((100 - cloud) * (100 - (outside or 0)) / 10_000, 6)


def _version(item: _Item, used: Sequence[CatalogFile]) -> str:
    """By the checksums of its files where they are all given, else by all that tells versions apart.

    A signature in an address, which is another at each poll, is left out.
    """
    if used and all(file.checksum for file in used):
        return files.digest([[file.role, file.checksum] for file in used])[:16]
    addresses = [
        [f.role, urlunsplit((*urlsplit(f.href)[:3], "", "")), f.size, f.checksum] for f in used
    ]
    return files.digest([item.made, addresses])[:16]


def _base(links: Any) -> str:
    """The item's own address; empty where it has none."""
    if not isinstance(links or [], list) or not all(isinstance(k, dict) for k in links or []):
        raise SceneError(f"its links are no links: {_shown(links)}")
    own = (k.get("href") for k in links or [] if k.get("rel") == "self")
    return next((href for href in own if href and isinstance(href, str)), "")


def _box(sides: object) -> str:
    """West, south, east and north as text (with heights where it has them); empty for none."""
    if sides is None:
        return ""
    if not isinstance(sides, list) or len(sides) not in (4, 6) or not all(map(_is_number, sides)):
        raise SceneError(f"its bbox is not four or six numbers: {_shown(sides)}")
    return ",".join(f"{float(side):.3f}" for side in sides)


def _size(size: object, key: str) -> int | None:
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST:
        raise SceneError(f"the file:size of asset {key} is no number of bytes: {_shown(size)}")
    return size


def _percent(properties: Json, name: str) -> float | None:
    """A percentage; one a little over the edge is at it."""
    value = properties.get(name)
    if value is None:
        return None
    if not _is_number(value):
        raise SceneError(f"its {name} is no percentage: {_shown(value)}")
    return float(min(max(value, 0), 100))


def _is_number(value: object) -> bool:
    """Not so for true, NaN, and what is too large to be a coordinate or a percentage."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**62


def _word(properties: Json, name: str) -> str:
    """Text or a number, as text; empty for none."""
    value = properties.get(name)
    if _is_number(value):
        return str(value)
    return _text(value, name) if value else ""


def _text(value: object, what: str) -> str:
    """Text that every ledger can keep."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise SceneError(f"its {what} is no text: {_shown(value)}")
    return value


def _rounded(value: object) -> object:
    """A number, or a list of some, to 12 digits: programs compute one transform in several ways."""
    if isinstance(value, list):
        return [f"{float(one):.12g}" if _is_number(one) else one for one in value]
    return f"{float(value):.12g}" if isinstance(value, int | float) and _is_number(value) else value


def _mapping(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise SceneError(f"its {what} has no fields: {_shown(value)}")
    return value


def _shown(value: object, most: int = 80) -> str:
    """A foreign value as messages and ledgers can have it."""
    text = value if isinstance(value, str) and value.isprintable() else ascii(value)
    return text if len(text) <= most else f"{text[:most]}..."
