"""A STAC API: which items there are for a season, and which version of each. No pixel is fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from geoseg.config.service import Slot, StacConfig
from geoseg.errors import ConfigError, RemoteError
from geoseg.imagery.catalogs import stac_items
from geoseg.imagery.catalogs.found import MASK, CatalogItem
from geoseg.io import files
from geoseg.io.access.hosts import Hosts
from geoseg.io.access.web import Confined

MOST = 20_000
"""Items that are looked at for one area and season."""

PATIENCE = (10.0, 30.0)
"""Seconds to a connection, and to an answer: the next poll asks again."""

Json = Mapping[str, Any]


def poll(
    config: StacConfig, bands: Sequence[str], slots: Sequence[Slot]
) -> tuple[CatalogItem, ...]:
    """The items of the season, in time order, with the files of these bands.

    An item that cannot be used is refused and keeps no other back. Raises ``ConfigError`` where no
    asset is named for a band or there is no API that can be searched, ``RemoteError`` where the API
    does not serve.
    """
    assets = _assets(config, bands)
    found = [stac_items.found(item, assets, slots) for item in _search(config, slots)]
    return tuple(sorted(_newest(_once(found)), key=lambda one: (one.date, one.item)))


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


def _search(config: StacConfig, slots: Sequence[Slot]) -> list[object]:
    """The API's items, whatever it takes for one."""
    # Half a second of imports that a drop folder does without.
    from pystac import STACError, STACTypeError  # noqa: PLC0415
    from pystac_client.errors import ClientTypeError  # noqa: PLC0415
    from pystac_client.exceptions import APIError  # noqa: PLC0415
    from pystac_client.warnings import DoesNotConformTo  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    first, last = min(slot.first for slot in slots), max(slot.last for slot in slots)
    try:
        search = _client(config).search(
            collections=list(config.collections),
            bbox=config.bbox,
            datetime=f"{first}T00:00:00Z/{last}T23:59:59Z",
            query=dict(config.query) or None,
            limit=100,
        )
        return _items(config, search.pages_as_dicts())
    except (DoesNotConformTo, NotImplementedError):
        raise ConfigError(
            f"{config.url}: offers no item search, so it is no STAC API but, say, a static catalogue; "
            "static catalogues are not read: name the landing page of an API in 'stac.url'"
        ) from None
    except (APIError, RequestException, STACError, OSError) as error:
        raise RemoteError(f"{config.url}: the STAC API does not serve: {_told(error)}") from None
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ClientTypeError,
        LookupError,
        RecursionError,
        STACTypeError,
        TypeError,
        ValueError,
    ) as error:  # what pystac, json and requests say of what is no STAC
        raise RemoteError(
            f"{config.url}: answers with something that is no STAC: {_told(error)}"
        ) from None


def _items(config: StacConfig, pages: Iterable[Json]) -> list[object]:
    """What is in all the pages."""
    items: list[object] = []
    seen: set[str] = set()
    for page in pages:
        digest = files.digest(page)
        if digest in seen:
            raise RemoteError(f"{config.url}: its pages lead round in a circle")
        seen.add(digest)
        if not isinstance(page["features"], list):
            raise RemoteError(f"{config.url}: answers with something that is no STAC: its features")
        items += page["features"]
        if len(items) > MOST:
            raise ConfigError(
                f"{config.url}: more than {MOST} items for one area and season; say with 'stac.bbox' "
                "or 'stac.query' which of them are of the area"
            )
    return items


def _told(error: Exception) -> str:
    """In one line of bounded length."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return text if text.isprintable() else ascii(text)


def _client(config: StacConfig) -> Any:
    from pystac_client import Client  # noqa: PLC0415
    from pystac_client.stac_api_io import StacApiIO  # noqa: PLC0415

    class Door(StacApiIO):
        """Reads the same JSON whatever else is installed: orjson takes no page with a NaN in it."""

        def json_loads(self, txt: str, *_: Any, **__: Any) -> Any:
            return json.loads(txt)

    door = Door()
    hosts = Hosts.of(config.url, *config.hosts)  # pages may be links to anywhere
    for scheme in ("http://", "https://"):
        door.session.mount(scheme, Confined(hosts))
    return Client.open(config.url, stac_io=door, timeout=PATIENCE)


def _once(found: Sequence[CatalogItem]) -> list[CatalogItem]:
    """Each item once, whatever collections and pages it is in: its latest version that can be used."""
    best: dict[str, CatalogItem] = {}
    for one in found:
        best[one.item] = max(one, best.get(one.item, one), key=_rank)
    return list(best.values())


def _rank(one: CatalogItem) -> tuple[bool, str, str]:
    return one.verdict != "refused", one.made, repr(one)


def _newest(found: Sequence[CatalogItem]) -> Iterator[CatalogItem]:
    """Of several items of one acquisition the one made last is used, the others are refused."""
    best: dict[str, CatalogItem] = {}
    for one in found:
        if one.verdict == "usable":
            best[one.acquisition] = max(
                one, best.get(one.acquisition, one), key=lambda f: (f.made, f.item)
            )
    for one in found:
        if one.verdict == "usable" and best[one.acquisition] != one:
            reason = f"replaced by {best[one.acquisition].item}, processed later"
            yield replace(one, verdict="refused", reason=reason)
        else:
            yield one
