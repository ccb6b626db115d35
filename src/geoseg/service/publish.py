"""A finished map goes out: its files first, then one write of the area's collection names them.

Readers go from the collection to an item to its files, and meet nothing that is not whole:

1. the files of the version, each checked against the run's item, into a folder that nothing names;
   its ``.manifest.json`` lists them, so that a later try goes on with them, and retention knows
   what was published;
2. the collection, exchanged as a whole if nobody else has exchanged it meanwhile, else once more;
3. the catalog, where the area is new;
4. what has been out of the collection long enough is removed.

Killed anywhere, the same call comes to the same end.
"""

from __future__ import annotations

import datetime as dt
import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count

from tenacity import (
    RetryError,
    Retrying,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from geoseg.config.service import PublishConfig
from geoseg.errors import BusyError, OutputError
from geoseg.feedback import Progress
from geoseg.io.store.objects import FileDigest, Store
from geoseg.io.store.opening import open_store
from geoseg.pipeline.run import Record, Run
from geoseg.service import published_collection, retention
from geoseg.service.packing import Package, pack
from geoseg.service.published_collection import (
    CATALOG,
    COLLECTION,
    PublishedCollection,
    Version,
    VersionId,
    moment,
)

MANIFEST = retention.MANIFEST
TRIES = 60
"""Exchanges of one file that others may win."""


@dataclass(frozen=True)
class Outlet:
    """Where the maps of one area go."""

    store: Store
    area: str
    config: PublishConfig

    @property
    def collection(self) -> str:
        """Key of the area's collection."""
        return f"{self.area}/{COLLECTION}"

    def published(self) -> PublishedCollection:
        """What is published now."""
        return find_shelf(self.store, self.area) or PublishedCollection(self.area)


def find_shelf(store: Store, area: str) -> PublishedCollection | None:
    """The versions of an area as its collection names them; None where there is no collection."""
    key = f"{area}/{COLLECTION}"
    found = store.read(key)
    return _parsed(found.content, store.url(key)) if found else None


def read_collection(store: Store, area: str) -> PublishedCollection:
    """The same; no versions where the area has never been published to.

    Raises ``OutputError`` where it has, as the catalog says, and its collection is not there: it is
    away or lost, and its versions would be counted anew.
    """
    found = find_shelf(store, area)
    if found is None and area in read_areas(store):
        raise OutputError(
            f"{store.url(f'{area}/{COLLECTION}')}: not there, though the catalog names the area; bring "
            "its folder back, publish its last map again ('geoseg ledger SERVICE --republish ID'), "
            f"or take its link out of {store.url(CATALOG)}"
        )
    return found or PublishedCollection(area)


def read_areas(store: Store) -> list[str]:
    """The areas that the catalog names; none where there is no catalog."""
    found = store.read(CATALOG)
    return published_collection.areas(_json(found.content, store.url(CATALOG))) if found else []


def publish_map(run: Run, place: VersionId, config: PublishConfig, progress: Progress) -> Record:
    """Publish the run's products as a version; returns ``version``, ``collection`` and ``item``
    (addresses), ``published`` (False where the version would not be kept: newer ones are there),
    ``files`` and ``bytes`` that were sent.

    A version that the collection names is left as it is. Raises ``OutputError``, ``RemoteError``,
    ``BusyError``, ``ConfigError``.
    """
    outlet = Outlet(open_store(config.destination, config.endpoint), place.area, config)
    with run.step("publish") as record, outlet.store.lock(place.area):
        published = read_collection(outlet.store, place.area)
        record.update(version=place.version, published=True, files=0, bytes=0)
        if published.find(place.version) is None and wanted(outlet, published, place):
            record.update(add(outlet, pack(run, place), place, progress))
        listed = outlet.published().find(place.version)
        record["published"] = listed is not None
        record["collection"] = outlet.store.url(outlet.collection)
        if listed:
            record["item"] = outlet.store.url(f"{place.area}/{listed.key}")
        name_area(outlet)
        record["removed"] = retention.remove_due(outlet.store, outlet.published(), _now())
    return record


def wanted(outlet: Outlet, published: PublishedCollection, place: VersionId) -> bool:
    """Whether the version would be among those that are kept."""
    trial = published.with_version(_version(place, place.version, None), {})
    return trial.pruned(outlet.config.keep, "").find(place.version) is not None


def add(outlet: Outlet, package: Package, place: VersionId, progress: Progress) -> Record:
    """Files, then the collection; says what was sent."""
    folder, sent = _upload(outlet, package, place, progress)
    new = _version(place, folder, package)
    _list(outlet, new, _summaries(package))
    return {"files": len(sent), "bytes": sum(sent)}


def _upload(
    outlet: Outlet, package: Package, place: VersionId, progress: Progress
) -> tuple[str, list[int]]:
    """Put the files where they will stay; returns the folder and the sizes of those sent.

    Folders are never written over: another try, perhaps still at work, may own the bytes in them.
    """
    for folder in _names(outlet, place):
        with outlet.store.staged(f"{place.area}/{folder}") as stage:
            if _own(outlet.store, stage, package.manifest):
                return folder, list(_send(outlet.store, stage, package, progress))
    raise AssertionError("names do not end")


def _names(outlet: Outlet, place: VersionId) -> Iterator[str]:
    """Names of folders that may be used: new ones, and those of tries that came to no end."""
    taken, there = outlet.published().folders, outlet.store.folders(place.area)
    for name in chain([place.version], (f"{place.version}.{n}" for n in count(2))):
        ours = outlet.store.read(f"{place.area}/{name}/{MANIFEST}") is not None
        if name not in taken and (ours or name not in there):
            yield name


def _own(store: Store, folder: str, manifest: Record) -> bool:
    """Put the manifest there; False where there is one of other bytes."""
    if store.write(f"{folder}/{MANIFEST}", as_text(manifest), None):
        return True
    found = store.read(f"{folder}/{MANIFEST}")
    return found is not None and json.loads(found.content)["digest"] == manifest["digest"]


def _send(store: Store, folder: str, package: Package, progress: Progress) -> Iterator[int]:
    """Put what is not there yet; yields sizes."""
    with progress.start("publish", len(package.files), "files") as step:
        for file in package.files:
            if not store.matches(f"{folder}/{file.name}", file.sum):
                store.put(file.source, f"{folder}/{file.name}", file.sum, file.media)
                yield file.sum.size
            step.advance(note=file.name)


def _list(outlet: Outlet, new: Version, summaries: Record) -> None:
    """Exchange the collection for one that has the version, and leaves out what is not kept."""
    config = outlet.config

    def change(text: str | None) -> str:
        published = _parsed(text, outlet.collection) if text else PublishedCollection(outlet.area)
        if published.find(new.name):
            return str(text)
        now, grace = _now(), dt.timedelta(hours=config.grace_hours)
        gone = retention.gone(outlet.store, published)
        lost = retention.orphans(outlet.store, published, new.folder)
        published = published.without(gone).with_version(new, summaries)
        published = published.pruned(config.keep, moment(now + grace))
        published = published.with_orphans(lost, moment(now + max(grace, retention.UNFINISHED)))
        return as_text(published_collection.to_collection(published, config.license))

    _exchange(outlet.store, outlet.collection, change)


def name_area(outlet: Outlet) -> None:
    """See that the catalog names the area."""

    def change(text: str | None) -> str:
        catalog = _json(text, CATALOG) if text else published_collection.new_catalog()
        known = outlet.area in published_collection.areas(catalog)
        return (
            str(text)
            if text and known
            else as_text(published_collection.with_area(catalog, outlet.area))
        )

    with outlet.store.lock(""):
        _exchange(outlet.store, CATALOG, change)


def _exchange(store: Store, key: str, change: Callable[[str | None], str]) -> None:
    """Read, change, write if nobody wrote in between; once more if somebody did."""

    def once() -> bool:
        now = store.read(key)
        text = change(now.content if now else None)
        return bool(now and text == now.content) or store.write(key, text, now.tag if now else None)

    tries = Retrying(
        retry=retry_if_result(operator.not_),
        wait=wait_random_exponential(0.05, max=2),
        stop=stop_after_attempt(TRIES),
    )
    try:
        tries(once)
    except RetryError:
        raise BusyError(
            f"{store.url(key)}: other publishers changed it {TRIES} times while this one tried to; "
            "run the same command again"
        ) from None


def _version(place: VersionId, folder: str, package: Package | None) -> Version:
    """As the collection will name it; without a package only its order counts."""
    item = package.item if package else {"properties": {}}
    told = package.files[-1].sum if package else FileDigest(0, "")
    period = [item["properties"].get(key) or "" for key in ("start_datetime", "end_datetime")]
    return Version(
        name=place.version,
        folder=folder,
        item=package.files[-1].name if package else "",
        season=place.season,
        sequence=place.sequence,
        published=moment(_now()),
        size=told.size,
        sha256=told.sha256,
        bbox=tuple(item["bbox"]) if item.get("bbox") else None,
        period=(period[0], period[1]),
        released=item["properties"].get("geoseg:released"),
    )


def _summaries(package: Package) -> Record:
    """What all maps of the area have in common, by the newest."""
    properties, assets = package.item["properties"], package.item["assets"]
    found = {
        "proj:code": [properties["proj:code"]] if properties.get("proj:code") else None,
        "processing:software": [properties.get("processing:software")],
        "classification:classes": assets["class"].get("classification:classes"),
    }
    return {key: value for key, value in found.items() if value}


def _parsed(text: str, where: str) -> PublishedCollection:
    return published_collection.from_collection(_json(text, where), where)


def _json(text: str, where: str) -> Record:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise OutputError(f"{where} is not JSON; restore it, or choose another place")
    return content


def as_text(content: Record) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
