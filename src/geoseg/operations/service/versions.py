"""Reading back what is published: the versions there are, whether they are whole, the last map."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.config.service import PublishConfig
from geoseg.errors import OutputError
from geoseg.feedback import Progress
from geoseg.io import files
from geoseg.io.objects import Store, Sum, check_key, open_store
from geoseg.io.stored_folders import FolderStore
from geoseg.operations.run import Record
from geoseg.operations.service.packing import known_sum
from geoseg.operations.service.publish import read_shelf
from geoseg.product.shelf import CATALOG, Shelf, Version, areas


def published(store: Store, area: str | None = None) -> list[Shelf]:
    """What is published: of one area, or of all that the catalog names.

    Raises ``OutputError`` where there is none.
    """
    catalog = store.read(CATALOG)
    if catalog is None:
        raise OutputError(f"{store.url(CATALOG)}: there is no catalog, so nothing is published")
    found = areas(json.loads(catalog.content))
    if area is not None and area not in found:
        raise OutputError(
            f"{store.address}: no area {area!r} is published there; there are: "
            f"{', '.join(found) or 'none'}"
        )
    return [read_shelf(store, name) for name in ([area] if area else found)]


def table(store: Store, area: str | None, check: bool, progress: Progress) -> list[Record]:
    """What is published, as rows: ``area``, ``version``, ``season``, ``sequence``, ``published``,
    ``latest`` (of its season), ``item`` (its address) and ``damaged`` (file to trouble; empty unless
    ``check``)."""
    listed = [(shelf, version) for shelf in published(store, area) for version in shelf.versions]
    with progress.start("versions", len(listed), "versions") as step:
        rows = []
        for shelf, version in listed:
            found = verify(store, shelf.area, version) if check else ()
            rows.append(_row(store, shelf, version, {key: what for key, what in found if what}))
            step.advance(note=version.name)
    return rows


def _row(store: Store, shelf: Shelf, version: Version, damaged: dict[str, str]) -> Record:
    return {
        "area": shelf.area,
        "version": version.name,
        "season": version.season,
        "sequence": version.sequence,
        "published": version.published,
        "latest": version == shelf.newest(version.season),
        "item": store.url(f"{shelf.area}/{version.key}"),
        "damaged": damaged,
    }


def verify(store: Store, area: str, version: Version) -> Iterator[tuple[str, str]]:
    """Read every file of a version; yields the key and the trouble of each that is not as its
    checksum says, an empty trouble for the others."""
    item = f"{area}/{version.key}"
    trouble = _trouble(store.sum(item), Sum(version.size, version.sha256))
    yield item, trouble
    if trouble:
        return
    for asset in _item(store, area, version)["assets"].values():
        key = _key(item, asset["href"])
        yield key, _trouble(store.sum(key), known_sum(asset))


def newest_sequence(config: PublishConfig, area: str, season: str) -> int:
    """Place of the newest version of an area and season; 0 where none is published.

    Raises ``OutputError``, ``RemoteError``.
    """
    newest = read_shelf(open_store(config.destination, config.endpoint), area).newest(season)
    return newest.sequence if newest else 0


def last_published(config: PublishConfig, area: str, season: str, work: Path) -> Path | None:
    """The class raster of the newest version of an area and season as a file of this machine; None
    where none is published.

    In a folder it is the published file itself; from a bucket it is fetched into ``work``, unless it
    is there. Raises ``OutputError``, ``RemoteError``.
    """
    store = open_store(config.destination, config.endpoint)
    newest = read_shelf(store, area).newest(season)
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


def _trouble(found: Sum | None, known: Sum) -> str:
    if found is None:
        return "missing"
    if found.size != known.size:
        return f"{found.size} bytes in place of {known.size}"
    return "" if found == known else "other bytes than the checksum says"
