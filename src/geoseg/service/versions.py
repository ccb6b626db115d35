"""Reading back what is published: the versions there are, whether they are whole, the last map."""

from __future__ import annotations

import difflib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.config.service import PublishConfig
from geoseg.errors import OutputError
from geoseg.feedback import Progress
from geoseg.io import configs, files
from geoseg.io.store.folders import FolderStore
from geoseg.io.store.objects import FileDigest, Store, check_key
from geoseg.io.store.opening import open_store
from geoseg.pipeline.run import Record
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from geoseg.service.packing import known_sum
from geoseg.service.publish import read_areas, read_collection
from geoseg.service.published_collection import CATALOG, COLLECTION, PublishedCollection, Version


def survey(
    destination: str,
    endpoint: str | None,
    area: str | None,
    check: bool,
    service: Path | None,
    progress: Progress,
) -> tuple[list[Record], dict[str, str]]:
    """What is published, as ``table`` has it, and what is lost of it: address to trouble.

    ``service``: a file whose ledger is asked what it has published there. Raises ``OutputError``
    where nothing is there, or not the area; ``ConfigError``, ``LedgerError``, ``RemoteError``.
    """
    store = open_store(destination, endpoint)
    orders, keep = _ordered(service, area) if service else ((), None)
    require_known(store, area or "", orders)
    found = published(store, area)
    lost = {**found.lost, **missing(found, store, orders, keep)}
    return table(store, found.collections, check, progress), lost


def _ordered(service: Path, area: str | None) -> tuple[tuple[Order, ...], int | None]:
    """The published orders of a service, and how many versions of a season it keeps."""
    config = configs.load_service(service)
    with Ledger.open(config) as ledger:
        return ledger.orders(area, ["published"]), config.publish.keep


@dataclass(frozen=True)
class Published:
    """What there is of what was published."""

    collections: tuple[PublishedCollection, ...]
    lost: Mapping[str, str]
    """Address of what cannot be read of the rest to what is wrong with it."""


def published(store: Store, area: str | None = None) -> Published:
    """What is published: of one area, or of all that the catalog names.

    Raises ``OutputError`` where nothing is, or not that area.
    """
    if store.read(CATALOG) is None:
        raise OutputError(f"{store.url(CATALOG)}: there is no catalog, so nothing is published")
    found = read_areas(store)
    if area is not None and area not in found:
        near = difflib.get_close_matches(area, found)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise OutputError(
            f"{store.address}: no area {area!r} is published there; {hint}there are: "
            f"{', '.join(found) or 'none'}"
        )
    collections, lost = [], {}
    for name in [area] if area else found:
        try:
            collections.append(read_collection(store, name))
        except OutputError as error:
            where = store.url(f"{name}/{COLLECTION}")
            lost[where] = str(error).removeprefix(f"{where}: ")
    return Published(tuple(collections), lost)


def missing(
    found: Published, store: Store, orders: Sequence[Order], keep: int | None
) -> dict[str, str]:
    """Which of the maps that a ledger has as published there are in no collection.

    ``keep``: versions of a season that stay; older ones have left on purpose.
    """
    there = {(s.area, v.name) for s in found.collections for v in s.versions}
    seasons: dict[tuple[str, str], list[Order]] = {}
    for order in orders:
        if order.state == "published" and order.destination in ("", store.address):
            seasons.setdefault((order.area, order.season), []).append(order)
    kept = [
        order
        for of_one in seasons.values()
        for order in sorted(of_one, key=lambda o: o.sequence, reverse=True)[:keep]
    ]
    return {
        store.url(
            f"{order.area}/{order.version}"
        ): f"order {order.id} is published as this version, but the collection does not name it"
        for order in kept
        if (order.area, order.version) not in there
    }


def table(
    store: Store, collections: Sequence[PublishedCollection], check: bool, progress: Progress
) -> list[Record]:
    """What is published, as rows: ``area``, ``version``, ``season``, ``sequence``, ``published``,
    ``latest`` (of its season), ``item`` (its address) and ``damaged`` (file to trouble; empty unless
    ``check``)."""
    listed = [
        (collection, version) for collection in collections for version in collection.versions
    ]
    with progress.start("versions", len(listed), "versions") as step:
        rows = []
        for collection, version in listed:
            found = verify(store, collection.area, version) if check else ()
            rows.append(
                _row(store, collection, version, {key: what for key, what in found if what})
            )
            step.advance(note=version.name)
    return rows


def _row(
    store: Store, collection: PublishedCollection, version: Version, damaged: dict[str, str]
) -> Record:
    return {
        "area": collection.area,
        "version": version.name,
        "season": version.season,
        "sequence": version.sequence,
        "published": version.published,
        "latest": version == collection.newest(version.season),
        "item": store.url(f"{collection.area}/{version.key}"),
        "damaged": damaged,
    }


def verify(store: Store, area: str, version: Version) -> Iterator[tuple[str, str]]:
    """Read every file of a version; yields the key and the trouble of each that is not as its
    checksum says, an empty trouble for the others."""
    item = f"{area}/{version.key}"
    trouble = _trouble(store.sum(item), FileDigest(version.size, version.sha256))
    yield item, trouble
    if trouble:
        return
    for asset in _item(store, area, version)["assets"].values():
        key = _key(item, asset["href"])
        yield key, _trouble(store.sum(key), known_sum(asset))


def highest_sequence(store: Store, area: str, season: str) -> int:
    """The highest number of a version of an area and season that the destination knows of: one that
    has left the collection, or never came to be in it, keeps its own; 0 where there is none.

    Raises ``OutputError``, ``RemoteError``.
    """
    collection = read_collection(store, area)
    names = {*(v.name for v in collection.versions), *collection.folders, *store.folders(area)}
    numbered = (re.fullmatch(rf"{re.escape(season)}-(\d+)-[0-9a-f]{{8}}(\.\d+)?", n) for n in names)
    return max((int(found[1]) for found in numbered if found), default=0)


def require_known(store: Store, area: str, orders: Sequence[Order]) -> None:
    """Raise ``OutputError`` where maps were published there, and nothing is there any more.

    A folder that is not mounted looks as one that was never used: another history would begin in it.
    """
    known = [o for o in orders if o.state == "published" and o.destination == store.address]
    own = [order for order in known if order.area == area]
    for those, key in ((known, CATALOG), (own, f"{area}/{COLLECTION}")):
        if those and store.read(key) is None:
            raise OutputError(
                f"{store.url(key)}: not there, though {len(those)} of the ledger's maps were published "
                "there; bring the destination back (is its disk mounted?), publish what is lost again "
                f"('geoseg ledger SERVICE --republish {those[-1].id}'), or name another destination"
            )


def last_published(config: PublishConfig, area: str, season: str, work: Path) -> Path | None:
    """The class raster of the newest version of an area and season as a file of this machine; None
    where none is published.

    In a folder it is the published file itself; from a bucket it is fetched into ``work``, unless it
    is there. Raises ``OutputError``, ``RemoteError``.
    """
    store = open_store(config.destination, config.endpoint)
    newest = read_collection(store, area).newest(season)
    if newest is None:
        return None
    item = f"{area}/{newest.key}"
    asset = _item(store, area, newest)["assets"]["class"]
    key = _key(item, asset["href"])
    if isinstance(store, FolderStore):
        return store.path(key)
    known = known_sum(asset)
    target = files.make_folder(work / "previous") / f"{newest.name}_class.tif"
    if not target.is_file() or files.sha256(target) != known.sha256:
        store.fetch(key, target)
    return target


def _item(store: Store, area: str, version: Version) -> dict[str, Any]:
    key = f"{area}/{version.key}"
    found = store.read(key)
    if found is None:
        raise OutputError(f"{store.url(key)} is named by the collection, but it is not there")
    item: dict[str, Any] = json.loads(found.content)
    return item


def _key(item: str, href: str) -> str:
    """The key of a file that an item names by a relative address."""
    try:
        return check_key(posixpath.normpath(posixpath.join(posixpath.dirname(item), href)))
    except ValueError:
        raise OutputError(f"{item}: the address {href!r} leads out of what is published") from None


def _trouble(found: FileDigest | None, known: FileDigest) -> str:
    if found is None:
        return "missing"
    if found.size != known.size:
        return f"{found.size} bytes in place of {known.size}"
    return "" if found == known else "other bytes than the checksum says"
