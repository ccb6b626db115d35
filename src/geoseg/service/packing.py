"""A run's products made ready for publishing: which files, under which names, and their item."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geoseg.errors import ProductError
from geoseg.io import files
from geoseg.io.access import confine
from geoseg.io.store.objects import FileDigest
from geoseg.pipeline.run import Record, Run
from geoseg.service.published_collection import CATALOG, COLLECTION, VersionId

VERSION = "https://stac-extensions.github.io/version/v1.2.0/schema.json"

_JSON = "application/json"
_MULTIHASH = "1220"
"""What a SHA-256 begins with in ``file:checksum``: the function's code and the digest's length."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version."""

    name: str
    """Within the version's folder."""
    source: Path
    sum: FileDigest
    media: str


@dataclass(frozen=True)
class Package:
    """All that a version consists of."""

    files: tuple[File, ...]
    """The item is the last."""
    item: Record

    @property
    def manifest(self) -> Record:
        """What is in the folder, as its own list says it."""
        found = {f.name: {"size": f.sum.size, "sha256": f.sum.sha256} for f in self.files}
        return {"digest": files.digest(found), "files": found}


def pack(run: Run, place: VersionId) -> Package:
    """The products that the run's item names, its config and the item as it will be published.

    Names stay as they are in the run's folder; what lies elsewhere (a model that the config names)
    gets a folder by its key. The same run and placement make the same bytes. Raises ``ProductError``
    where the run has not described its products.
    """
    described = files.read_json(run.folder.item)
    if not isinstance(described, dict):
        raise ProductError(
            f"{run.folder.item}: the run's products are not described yet, so there is nothing to "
            "publish; finish the run first with 'geoseg run'"
        )
    scratch = files.make_folder(run.folder.work / "publish" / f"{place.area}-{place.version}")
    config = _config(run, scratch)
    products = [_file(key, asset, run.folder.root) for key, asset in described["assets"].items()]
    item = _item(described, place, [*products, config])
    path = scratch / run.folder.item.name
    files.write_json(path, item)
    written = File(path.name, path, sum_of(path), "application/geo+json")
    return Package((*products, config, written), item)


def sum_of(path: Path) -> FileDigest:
    """Size and SHA-256 of a file."""
    return FileDigest(path.stat().st_size, files.sha256(path))


def known_sum(fields: Mapping[str, Any]) -> FileDigest:
    """Of an asset or a link, as the file extension tells it."""
    return FileDigest(
        int(fields["file:size"]), str(fields["file:checksum"]).removeprefix(_MULTIHASH)
    )


def _file(key: str, asset: Mapping[str, Any], root: Path) -> File:
    source = Path(os.path.normpath(root / asset["href"]))
    confine.local(source)  # an item is untrusted
    inside = source.is_relative_to(root)
    folder = key.removesuffix("_card")
    name = source.relative_to(root).as_posix() if inside else f"{folder}/{source.name}"
    if not source.is_file():
        raise ProductError(
            f"{source}: the run's item names it, but it is not there any more; run "
            "'geoseg run' again with the same config and output"
        )
    return File(name, source, known_sum(asset), str(asset["type"]))


def _config(run: Run, folder: Path) -> File:
    """The run's settings. Where it was computed moves no pixel and may name what is secret."""
    content = run.config.model_dump(mode="json", exclude_defaults=True, exclude={"cluster"})
    path = folder / f"{run.config.name}_config.json"
    files.write_json(path, content)
    return File(path.name, path, sum_of(path), _JSON)


def _item(described: Record, place: VersionId, products: list[File]) -> Record:
    """The run's item at its new place: other addresses, a version, and no link into this machine."""
    keys = [*described["assets"], "config"]
    assets = {
        key: {**_asset(described, key), "href": f"./{file.name}", "type": file.media, **_sum(file)}
        for key, file in zip(keys, products, strict=True)
    }
    return {
        **described,
        "id": f"{place.area}-{place.version}",
        "collection": place.area,
        "stac_extensions": [*described["stac_extensions"], VERSION],
        "properties": {
            **described["properties"],
            "version": place.version,
            "geoseg:season": place.season,
            "geoseg:sequence": place.sequence,
            "geoseg:fingerprint": place.fingerprint,
            "geoseg:inputs": list(_inputs(described)),
        },
        "links": [
            {"rel": "root", "href": f"../../{CATALOG}", "type": _JSON},
            {"rel": "parent", "href": f"../{COLLECTION}", "type": _JSON},
            {"rel": "collection", "href": f"../{COLLECTION}", "type": _JSON},
        ],
        "assets": assets,
    }


def _asset(described: Record, key: str) -> Record:
    settings = {"title": "Settings of the run", "roles": ["metadata"]}
    found: Record = described["assets"].get(key, settings)
    return found


def _sum(file: File) -> Record:
    return {"file:size": file.sum.size, "file:checksum": _MULTIHASH + file.sum.sha256}


def _inputs(described: Record) -> Iterator[str]:
    """Names of the images: their folders are nobody's business."""
    for link in described["links"]:
        if link["rel"] == "derived_from":
            yield PurePosixPath(link["href"]).name
