"""When published files go: some time after the collection has ceased to name them, and only those
that geoseg put there.

A version leaves the collection with the write that brings a newer one, and the collection remembers
till when its files stay, for readers that are under way. The first publishing after that removes
them: the files that the folder's own manifest lists, and nothing else.
"""

from __future__ import annotations

import datetime as dt
import json

from geoseg.io.store.objects import Store
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
