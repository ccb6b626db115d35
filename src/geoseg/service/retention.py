"""When published files go: some time after the collection has ceased to name them, and only those
that geoseg put there.

A version leaves the collection with the write that brings a newer one, and the collection remembers
till when its files stay, for readers that are under way. The first publishing after that removes
them: the files that the folder's own manifest lists, and nothing else.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from geoseg.config.service import ServiceConfig
from geoseg.io import files, locks
from geoseg.io.store.objects import Store
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_folder import FETCH
from geoseg.service.orders import Order
from geoseg.service.published_collection import PublishedCollection, moment

MANIFEST = ".manifest.json"
"""Lists the files of a version's folder. First to come, last to go."""

UNFINISHED = dt.timedelta(hours=24)
"""How long at least a folder stays that no collection names: its publisher may be at work."""


def remove_due(store: Store, collection: PublishedCollection, now: dt.datetime) -> list[str]:
    """Remove the files of retired folders whose time is over; returns the folders.

    Raises ``OutputError``, ``RemoteError``; what was not removed is, next time.
    """
    due = [retired.folder for retired in collection.retired if retired.until <= moment(now)]
    named = {version.folder for version in collection.versions}
    return [
        name for name in due if name not in named and _remove(store, f"{collection.area}/{name}")
    ]


def _remove(store: Store, folder: str) -> bool:
    """Remove what the manifest lists, then the manifest; False where there is none any more."""
    manifest = store.read(f"{folder}/{MANIFEST}")
    for name in json.loads(manifest.content)["files"] if manifest else ():
        store.delete(f"{folder}/{name}")
    store.delete(f"{folder}/{MANIFEST}")  # and with it the folder, which may have outlived a kill
    return manifest is not None


def gone(store: Store, collection: PublishedCollection) -> list[str]:
    """Retired folders that nothing of ours is left in."""
    return [
        retired.folder
        for retired in collection.retired
        if store.read(f"{collection.area}/{retired.folder}/{MANIFEST}") is None
    ]


def orphans(store: Store, collection: PublishedCollection, own: str) -> list[str]:
    """Folders of tries that came to no end; ``own`` is the one that is about to be named."""
    return [
        name
        for name in store.folders(collection.area)
        if name not in {own, *collection.folders}
        and store.read(f"{collection.area}/{name}/{MANIFEST}") is not None
    ]


DONE = ("published", "superseded")


def clean_up(service: ServiceConfig, ledger: Ledger, newest: Order) -> int:
    """Remove the blocks of the order that was just published, the folders of older ones of its area
    and season, and the images fetched for none that is left; returns how many were removed.

    A folder in which a run still works is left for the next time.
    """
    same = [order for order in ledger.orders(newest.area) if order.season == newest.season]
    done = [order for order in same if order.state in DONE and order.id < newest.id]
    old = [order for order in done if not _to_be_looked_at(ledger, order)]
    removed = sum(_remove_run(service, order) for order in old)
    for blocks in newest.output.glob("work/blocks-*"):
        shutil.rmtree(blocks, ignore_errors=True)
    kept = [order for order in same if order not in old]
    return removed + sum(map(_delete, _unused(service, newest, kept)))


def _to_be_looked_at(ledger: Ledger, order: Order) -> bool:
    """Whether it was superseded only after it had ended badly."""
    told = [what.partition(":")[0] for _, what in ledger.history(order.id)]
    return order.state == "superseded" and not {"failed", "quarantined"}.isdisjoint(told)


def _remove_run(service: ServiceConfig, order: Order) -> bool:
    folder = order.config.parent
    # What the ledger says is only followed below the folder that is the service's own.
    if not folder.is_dir() or not folder.is_relative_to(service.work / order.area / order.season):
        return False
    return not locks.is_held(order.output) and _delete(folder)


def _delete(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _unused(service: ServiceConfig, newest: Order, kept: list[Order]) -> Iterator[Path]:
    """Folders of fetched images that no order names."""
    wanted = {
        Path(entry["target"]).parent
        for order in kept
        for entry in (files.read_json(order.config.parent / FETCH) or {}).get("fetch", ())
    }
    folders = (service.work / newest.area / newest.season / "imagery").glob("*")
    return (folder for folder in folders if folder.is_dir() and folder not in wanted)
