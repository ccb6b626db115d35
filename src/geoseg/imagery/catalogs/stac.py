"""A STAC API: which items there are for a season, and which version of each. No pixel is fetched."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from geoseg.config.service import Slot, StacConfig
from geoseg.errors import ConfigError, RemoteError, SceneError
from geoseg.imagery.catalogs.found import MASK, Found, FoundFile
from geoseg.io import files
from geoseg.io.hosts import Hosts
from geoseg.io.web import Confined

MOST = 20_000
"""Items that are looked at for one area and season."""

Json = Mapping[str, Any]


def look(config: StacConfig, bands: Sequence[str], slots: Sequence[Slot]) -> tuple[Found, ...]:
    """The items of the season, in time order, with the files of these bands.

    Raises ``ConfigError`` where no asset is named for a band, ``RemoteError`` where the API does
    not serve.
    """
    assets = _assets(config, bands)
    found = [_found(item, assets, slots) for item in _search(config, slots)]
    return tuple(sorted(_newest(found), key=lambda one: (one.date, one.item)))


def _assets(config: StacConfig, bands: Sequence[str]) -> dict[str, str]:
    """Role of each file that is wanted to the key of its asset."""
    missing = [band for band in bands if band not in config.bands]
    if missing:
        raise ConfigError(
            f"stac.bands names no asset for {missing[0]}, which the model takes; it has "
            f"{', '.join(config.bands)}"
        )
    wanted = {band: config.bands[band] for band in bands}
    return {**wanted, MASK: config.mask.asset} if config.mask else wanted


def _search(config: StacConfig, slots: Sequence[Slot]) -> list[Json]:
    """The API's items as JSON."""
    # Half a second of imports that a drop folder does without.
    from pystac import STACError  # noqa: PLC0415
    from pystac_client.exceptions import APIError  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    first, last = min(slot.first for slot in slots), max(slot.last for slot in slots)
    try:
        search = _client(config).search(
            collections=list(config.collections),
            bbox=config.bbox,
            datetime=f"{first}T00:00:00Z/{last}T23:59:59Z",
            query=dict(config.query) or None,
            limit=100,
            max_items=MOST,
        )
        items = list(search.items_as_dicts())
    except (APIError, RequestException, STACError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:300]
        raise RemoteError(f"{config.url}: the STAC API does not serve: {text}") from None
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # what pystac says of JSON that is no STAC
        raise RemoteError(
            f"{config.url}: answers with something that is no STAC: {error}"
        ) from None
    for item in items:
        parts = (item.get("id"), item.get("properties"), item.get("assets"))
        if not all(isinstance(p, k) for p, k in zip(parts, (str, dict, dict), strict=True)):
            raise RemoteError(f"{config.url}: answers with an item that is no STAC: {parts[0]}")
    return items


def _client(config: StacConfig) -> Any:
    from pystac_client import Client  # noqa: PLC0415
    from pystac_client.stac_api_io import StacApiIO  # noqa: PLC0415

    door = StacApiIO()
    hosts = Hosts.of(config.url, *config.hosts)  # pages may be links to anywhere
    for scheme in ("http://", "https://"):
        door.session.mount(scheme, Confined(hosts))
    return Client.open(config.url, stac_io=door)


@dataclass(frozen=True, slots=True)
class _Item:
    """The parts of an item that matter here. Raises ``SceneError`` for one without them."""

    id: str
    properties: Json
    assets: Json
    base: str
    """What relative addresses start from."""
    box: str

    @classmethod
    def of(cls, item: Json) -> _Item:
        links = item.get("links") or []
        own = next((k["href"] for k in links if k.get("rel") == "self" and k.get("href")), "")
        box = ",".join(f"{float(side):.3f}" for side in item.get("bbox") or ())
        return cls(item["id"], item["properties"], item["assets"], str(own), box)

    def file(self, role: str, key: str) -> FoundFile:
        """The file of an asset."""
        asset = self.assets.get(key)
        if not isinstance(asset, dict) or not asset.get("href"):
            have = ", ".join(sorted(self.assets)) or "none"
            raise SceneError(f"asset {key} is missing (it has {have})")
        href = urljoin(self.base, str(asset["href"]))
        if urlsplit(href).scheme not in ("http", "https"):
            raise SceneError(f"asset {key} is no http address: {href[:120]}")
        size = asset.get("file:size")
        checksum = str(asset.get("file:checksum") or "")
        return FoundFile(role, href, size if isinstance(size, int) else None, checksum)

    @property
    def moment(self) -> str:
        """When it was taken."""
        text = self.properties.get("datetime") or self.properties.get("start_datetime")
        if not isinstance(text, str):
            raise SceneError("it has no datetime")
        return text

    @property
    def day(self) -> dt.date:
        """Of ``moment``, in UTC."""
        try:
            moment = dt.datetime.fromisoformat(self.moment)
        except ValueError:
            raise SceneError(f"its datetime is none: {self.moment[:60]!r}") from None
        return (moment.astimezone(dt.UTC) if moment.tzinfo else moment).date()

    @property
    def place(self) -> str:
        """Name of its tile, or its outline."""
        names = ("grid:code", "s2:mgrs_tile")
        named = (str(self.properties[name]) for name in names if self.properties.get(name))
        return next(named, self.box)

    def grid(self, key: str) -> str:
        """Digest of the projection's fields, an asset's or the item's; empty where there are none."""
        own = {**self.properties, **(self.assets.get(key) or {})}
        names = ("proj:code", "proj:epsg", "proj:transform", "proj:shape")
        fields = [own.get(name) for name in names]
        return files.digest(fields)[:16] if any(fields) else ""

    @property
    def made(self) -> str:
        """When, and by which processing, this version was made; the later the greater as text."""
        p = self.properties
        names = ("s2:processing_baseline", "updated", "created")
        return " ".join(str(p.get(name) or "-") for name in names)

    @property
    def clear(self) -> float | None:
        """By the catalogue's word, with what lies outside the swath; None where it says nothing."""
        cloud, outside = (
            self.properties.get(name) for name in ("eo:cloud_cover", "s2:nodata_pixel_percentage")
        )
        if not isinstance(cloud, int | float):
            return None
        inside = 100 - outside if isinstance(outside, int | float) else 100
        return round(min(max((100 - cloud) * inside / 10_000, 0.0), 1.0), 6)


def _found(content: Json, assets: Mapping[str, str], slots: Sequence[Slot]) -> Found:
    item = _Item.of(content)
    found = Found(item.id, dt.date.min, made=item.made)
    try:
        found = replace(found, date=item.day, acquisition=f"{item.moment} {item.place}".strip())
        used = tuple(item.file(role, key) for role, key in assets.items())
    except SceneError as error:
        version = _version(item, [])
        return replace(found, version=version, verdict="refused", reason=str(error))
    grid = item.grid(next(iter(assets.values())))
    version = _version(item, used)
    found = replace(found, version=version, stamp=version, grid=grid, clear=item.clear, files=used)
    if not any(found.date in slot for slot in slots):
        return replace(found, verdict="outside", reason="of no slot of the season")
    return found


def _version(item: _Item, used: Sequence[FoundFile]) -> str:
    """By the checksums of its files where they are all given, else by all that tells versions apart.

    A signature in an address, which is another at each look, is left out.
    """
    if used and all(file.checksum for file in used):
        return files.digest([[file.role, file.checksum] for file in used])[:16]
    addresses = [
        [f.role, urlunsplit((*urlsplit(f.href)[:3], "", "")), f.size, f.checksum] for f in used
    ]
    return files.digest([item.made, addresses])[:16]


def _newest(found: Sequence[Found]) -> Iterator[Found]:
    """Of several items of one acquisition the one made last is used, the others are refused."""
    best: dict[str, Found] = {}
    for one in found:
        if one.verdict == "usable":
            best[one.acquisition] = max(
                one, best.get(one.acquisition, one), key=lambda f: (f.made, f.item)
            )
    for one in found:
        newest = best.get(one.acquisition)
        if one.verdict == "usable" and newest is not None and newest is not one:
            reason = f"replaced by {newest.item}, processed later"
            yield replace(one, verdict="refused", reason=reason)
        else:
            yield one
