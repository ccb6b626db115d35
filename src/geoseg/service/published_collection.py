"""What is published of one area: its versions, as a STAC Collection that readers follow.

A collection is the one thing that changes when a version comes or goes, in one write; what it names
never changes. It also remembers what has left it, and when the files of that may go.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pystac

from geoseg.errors import ConfigError, OutputError

CATALOG, COLLECTION = "catalog.json", "collection.json"

FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_RETIRED = "geoseg:retired"
_WORLD = [-180.0, -90.0, 180.0, 90.0]


@dataclass(frozen=True, slots=True)
class VersionId:
    """Where a map goes: which area and season, and its place in their order."""

    area: str
    season: str
    sequence: int
    """Later maps of an area and season have larger ones, from 1."""
    fingerprint: str
    """Of what the map is made from, hex.

    Raises ``ConfigError`` for names that cannot be part of a URL.
    """

    def __post_init__(self) -> None:
        for what, name in (("area", self.area), ("season", self.season)):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{what} {name!r} becomes part of folder names and URLs: small letters, digits, "
                    "'-' and '_' (60 at most), a letter or digit first"
                )

    @property
    def version(self) -> str:
        """``<season>-<sequence 4 digits>-<fingerprint 8>``."""
        return f"{self.season}-{self.sequence:04d}-{self.fingerprint[:8]}"


@dataclass(frozen=True, slots=True)
class Version:
    """A published map, as the collection links it."""

    name: str
    folder: str
    """In the area's folder; the name, unless something else had taken that."""
    item: str
    """File name of its item there."""
    season: str
    sequence: int
    published: str
    """When it came into the collection, UTC."""
    size: int
    """Bytes of its item."""
    sha256: str
    """Of its item, which has those of its files."""
    bbox: tuple[float, ...] | None
    period: tuple[str, str]
    """First and last moment of its images."""
    released: Mapping[str, Any] | None = None
    """Of a map that fails gates: which (``gates``), and when (``at``) and by which command (``by``)
    it was released all the same."""

    @property
    def key(self) -> str:
        """Of its item, from the area's folder."""
        return f"{self.folder}/{self.item}"

    @property
    def order(self) -> tuple[str, int, str]:
        """Newer versions have larger ones."""
        return self.season, self.sequence, self.name


@dataclass(frozen=True, slots=True)
class Retired:
    """A folder that no version of the collection lies in."""

    folder: str
    until: str
    """When its files may go, UTC."""


@dataclass(frozen=True)
class PublishedCollection:
    """The versions of an area, newest first, and what has left."""

    area: str
    versions: tuple[Version, ...] = ()
    retired: tuple[Retired, ...] = ()
    summaries: Mapping[str, Any] | None = None
    """Of the newest version."""

    def find(self, version: str) -> Version | None:
        """The version of that name."""
        return next((v for v in self.versions if v.name == version), None)

    def newest(self, season: str) -> Version | None:
        """The latest version of a season."""
        return next((v for v in self.versions if v.season == season), None)

    @property
    def folders(self) -> set[str]:
        """Every folder that it knows of."""
        return {v.folder for v in self.versions} | {r.folder for r in self.retired}

    def with_version(self, new: Version, summaries: Mapping[str, Any]) -> PublishedCollection:
        """The collection with one more; its summaries are those of the newest."""
        versions = tuple(sorted((*self.versions, new), key=lambda v: v.order, reverse=True))
        retired = tuple(r for r in self.retired if r.folder != new.folder)
        shown = summaries if versions[0] == new else self.summaries
        return replace(self, versions=versions, retired=retired, summaries=shown)

    def pruned(self, keep: int | None, until: str) -> PublishedCollection:
        """Without all but the newest ``keep`` of each season, whose files stay till then."""
        kept = [v for v in self.versions if keep is None or self._rank(v) < keep]
        left = tuple(Retired(v.folder, until) for v in self.versions if v not in kept)
        return replace(self, versions=tuple(kept), retired=(*self.retired, *left))

    def _rank(self, version: Version) -> int:
        """How many newer versions its season has."""
        return sum(v.season == version.season and v.order > version.order for v in self.versions)

    def with_orphans(self, folders: Iterable[str], until: str) -> PublishedCollection:
        """Folders of tries that never came to an end, to be removed then."""
        lost = tuple(Retired(name, until) for name in folders if name not in self.folders)
        return replace(self, retired=(*self.retired, *lost))

    def without(self, folders: Iterable[str]) -> PublishedCollection:
        """Without the memory of retired folders that are gone."""
        gone = set(folders)
        return replace(self, retired=tuple(r for r in self.retired if r.folder not in gone))


def to_collection(collection: PublishedCollection, license: str) -> dict[str, Any]:
    """The STAC Collection."""
    return {
        "type": "Collection",
        "stac_version": pystac.get_stac_version(),
        "stac_extensions": [FILE],
        "id": collection.area,
        "title": collection.area,
        "description": f"Crop-type maps of {collection.area}: an item for each version, newest first.",
        "license": license,
        "extent": {
            "spatial": {"bbox": [_box([v.bbox for v in collection.versions])]},
            "temporal": {"interval": [_interval(collection.versions)]},
        },
        "summaries": dict(collection.summaries or {}),
        _RETIRED: [{"folder": r.folder, "until": r.until} for r in collection.retired],
        "links": [
            _link("root", f"../{CATALOG}"),
            _link("parent", f"../{CATALOG}"),
            *(
                [_item_link("latest", collection, collection.versions[0])]
                if collection.versions
                else []
            ),
            *(_item_link("item", collection, version) for version in collection.versions),
        ],
    }


def from_collection(content: Mapping[str, Any], where: str) -> PublishedCollection:
    """The collection that ``to_collection`` wrote; ``OutputError`` for another collection."""
    try:
        retired = [Retired(entry["folder"], entry["until"]) for entry in content[_RETIRED]]
        items = [_version(link) for link in content["links"] if link["rel"] == "item"]
        return PublishedCollection(
            content["id"], tuple(items), tuple(retired), content.get("summaries")
        )
    except (KeyError, TypeError) as error:
        raise OutputError(
            f"{where} is no collection that geoseg published (no {error}); choose another "
            "destination or another name for the area"
        ) from None


def new_catalog() -> dict[str, Any]:
    """The STAC Catalog of a destination, without areas."""
    return {
        "type": "Catalog",
        "stac_version": pystac.get_stac_version(),
        "id": "crop-maps",
        "title": "Crop-type maps",
        "description": "Crop-type maps made with geoseg: a collection for each area.",
        "links": [_link("root", f"./{CATALOG}")],
    }


def areas(catalog: Mapping[str, Any]) -> list[str]:
    """The areas that a catalog names."""
    found = [link["href"] for link in catalog.get("links", []) if link.get("rel") == "child"]
    return sorted(href.removeprefix("./").removesuffix(f"/{COLLECTION}") for href in found)


def with_area(catalog: Mapping[str, Any], area: str) -> dict[str, Any]:
    """The catalog with a link to the area's collection, if it had none."""
    if area in areas(catalog):
        return dict(catalog)
    link = {**_link("child", f"./{area}/{COLLECTION}"), "title": area}
    return {**catalog, "links": [*catalog.get("links", []), link]}


def _link(rel: str, href: str) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": "application/json"}


def _item_link(rel: str, collection: PublishedCollection, version: Version) -> dict[str, Any]:
    """All that is known of a version, so that no item is read to change a collection."""
    newest = collection.newest(version.season)
    return {
        "rel": rel,
        "href": f"./{version.folder}/{version.item}",
        "type": "application/geo+json",
        "title": f"{collection.area} {version.name}",
        "version": version.name,
        "deprecated": version != newest,
        "file:size": version.size,
        "file:checksum": f"1220{version.sha256}",
        "geoseg:season": version.season,
        "geoseg:sequence": version.sequence,
        "geoseg:published": version.published,
        "geoseg:bbox": version.bbox and list(version.bbox),
        "geoseg:period": list(version.period),
        **({"geoseg:released": dict(version.released)} if version.released else {}),
    }


def _version(link: Mapping[str, Any]) -> Version:
    bbox, period = link["geoseg:bbox"], link["geoseg:period"]
    folder, _, item = link["href"].removeprefix("./").partition("/")
    return Version(
        name=link["version"],
        folder=folder,
        item=item,
        season=link["geoseg:season"],
        sequence=int(link["geoseg:sequence"]),
        published=link["geoseg:published"],
        size=int(link["file:size"]),
        sha256=link["file:checksum"].removeprefix("1220"),
        bbox=bbox and tuple(bbox),
        period=(period[0], period[1]),
        released=link.get("geoseg:released"),
    )


def _box(boxes: Sequence[tuple[float, ...] | None]) -> list[float]:
    """Around all boxes; the world where none is known, all longitudes where one crosses the 180th
    meridian."""
    known = [box for box in boxes if box]
    if not known:
        return _WORLD
    west, south, east, north = zip(*known, strict=True)
    around = any(box[0] > box[2] for box in known)
    return [
        -180.0 if around else min(west), min(south), 180.0 if around else max(east), max(north)
    ]  # fmt: skip


def _interval(versions: Sequence[Version]) -> list[str | None]:
    periods = [version.period for version in versions]
    return [min(p[0] for p in periods), max(p[1] for p in periods)] if periods else [None, None]


def moment(when: dt.datetime) -> str:
    """A time as STAC writes it, in UTC: to the microsecond, for a second less is a broken promise.

    As text, earlier times are less.
    """
    return when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
