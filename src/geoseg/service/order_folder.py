"""Where an order's files lie, and what a run of it starts from: its config, its files to fetch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geoseg.config.service import AreaConfig, ServiceConfig
from geoseg.imagery.catalogs.found import ALL_BANDS, MASK, CatalogFile, CatalogItem
from geoseg.io import files
from geoseg.service.template import Template, mask_values, write_config

FETCH = "fetch.json"
"""Beside an order's config: the files to fetch, and those that were there already."""


@dataclass(frozen=True, slots=True)
class OrderFolder:
    """Folder of an order."""

    folder: Path

    @classmethod
    def of(cls, service: ServiceConfig, area: str, fingerprint: str) -> OrderFolder:
        """Of the order with that fingerprint."""
        season = service.areas[area].season.name
        return cls(service.work / area / season / fingerprint[:12])

    @property
    def config(self) -> Path:
        """The run config."""
        return self.folder / "config.yaml"

    @property
    def output(self) -> Path:
        """Folder of the run's results."""
        return self.folder / "out"

    @property
    def imagery(self) -> Path:
        """What was fetched, for all orders of the season: a folder for each version of an item."""
        return self.folder.parent / "imagery"


def write_order(
    place: OrderFolder,
    name: str,
    area: AreaConfig,
    template: Template,
    chosen: Sequence[CatalogItem],
) -> None:
    """Write what a run of these images starts from. Done again, it writes the same.

    A template may serve many areas: where it has no title, the map's is area and season.
    """
    targets = {one.item: _targets(place, one) for one in chosen}
    scenes = [_scene(one, targets[one.item]) for one in chosen]
    config = template.with_scenes(scenes, mask_values(area))
    title = config.title or f"{name} {area.season.name}"
    write_config(place.config, config.model_copy(update={"title": title}))
    to_fetch, given = [], []
    for one in chosen:
        for file in one.files:
            target = targets[one.item][file.role]
            if _remote(file):
                to_fetch.append(_listed(file, target))
            else:
                given.append({**_listed(file, target), "state": file.state})
    files.write_json(place.folder / FETCH, {"fetch": to_fetch, "given": given})


def _listed(file: CatalogFile, target: Path) -> dict[str, Any]:
    return {
        "href": file.href,
        "target": str(target),
        "size": file.size,
        "checksum": file.checksum,
    }


def _scene(one: CatalogItem, targets: Mapping[str, Path]) -> dict[str, Any]:
    """The item as an entry of ``imagery.scenes``."""
    paths = {role: str(path) for role, path in targets.items()}
    entry: dict[str, Any] = {"id": one.item, "date": one.date.isoformat()}
    if MASK in paths:
        entry["mask"] = paths.pop(MASK)
    if ALL_BANDS in paths:
        return {**entry, "file": paths[ALL_BANDS]}
    return {**entry, "files": paths}


def _targets(place: OrderFolder, one: CatalogItem) -> dict[str, Path]:
    """Where each file of an item is, or will be; names that others gave are not trusted."""
    folder = place.imagery / f"{re.sub(r'[^A-Za-z0-9_-]', '_', one.item)[:80]}-{one.version}"
    return {
        file.role: folder / f"{number:02d}{_kind(file)}" if _remote(file) else Path(file.href)
        for number, file in enumerate(one.files)
    }


def _remote(file: CatalogFile) -> bool:
    return "://" in file.href


def _kind(file: CatalogFile) -> str:
    suffix = re.search(r"\.(tiff?|jp2)$", urlsplit(file.href).path, re.I)
    return suffix.group().lower() if suffix else ".tif"
