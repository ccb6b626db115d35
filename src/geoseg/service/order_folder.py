"""Where an order's files lie, and what a run of it starts from: its config, its files to fetch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geoseg.config import RunConfig
from geoseg.config.service import AreaConfig, ServiceConfig
from geoseg.errors import ConfigError, ModelError
from geoseg.imagery.catalogs.found import ALL_BANDS, MASK, CatalogFile, CatalogItem
from geoseg.io import configs, files, plain_yaml
from geoseg.model import bundle

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


OF_FILES = frozenset(
    {"folder", "pattern", "date_format", "scenes", "dates", "masks", "mask_invalid"}
)
"""Keys of ``imagery`` that name files: an order has its own."""

WITHOUT_EFFECT = frozenset({"cluster", "title"})
"""Keys that move no pixel of a map: a change of them is no reason to make it again."""

OF_PIXELS = frozenset({"network", "bands", "dates", "normalization", "classes", "weights_sha256"})
"""Fields of a model card that move pixels; a model that was only scored anew is the same model."""


@dataclass(frozen=True)
class Template:
    """The run config of an area, but for its images."""

    file: Path
    content: Mapping[str, Any]
    """As in the file, without what it says of images."""
    bands: tuple[str, ...]
    """What each image must have, in the model's order."""
    fingerprint: str
    """Hash of what a map is made with besides its images."""

    @property
    def names(self) -> Mapping[str, Any]:
        """The keys of ``imagery`` that say which bands are in a file, and which to use."""
        names: Mapping[str, Any] = self.content["imagery"]
        return names

    def with_scenes(
        self, scenes: Sequence[Mapping[str, Any]], mask_invalid: Sequence[int] = ()
    ) -> RunConfig:
        """The config of a run over these scenes. Raises ``ConfigError``."""
        imagery = {**self.names, "scenes": scenes, "mask_invalid": mask_invalid}
        content = {**self.content, "imagery": imagery}
        return configs.parse(content, self.file.resolve().parent, str(self.file))


def load_template(area: AreaConfig) -> Template:
    """Read an area's run config. Raises ``ConfigError`` and ``ModelError``.

    It must name a model, and the model must take as many images as the season has slots.
    """
    raw = configs.mapping(area.run)
    imagery = raw.get("imagery") or {}
    if not isinstance(imagery, dict):
        raise ConfigError(f"{area.run}: imagery: a mapping of keys is wanted (got {imagery!r})")
    content = {**raw, "imagery": {k: v for k, v in imagery.items() if k not in OF_FILES}}
    template = Template(area.run, content, (), "")
    config = template.with_scenes([{"file": "any.tif"}])
    if not config.model.named:
        raise ConfigError(
            f"{area.run}: model.bundle is missing; an area is mapped with a trained model, so name "
            "the folder of one (geoseg train)"
        )
    cards = [bundle.load_card(folder) for folder in config.model.named]
    slots = len(area.season.windows())
    if slots != len(cards[0].dates):
        raise ModelError(
            f"{config.model.named[0]} takes {len(cards[0].dates)} images, season.slots of the area "
            f"has {slots}; give as many slots as the model takes"
        )
    made_with = {key: value for key, value in content.items() if key not in WITHOUT_EFFECT}
    models = [card.model_dump(mode="json", include=set(OF_PIXELS)) for card in cards]
    fingerprint = files.digest([made_with, models, mask_values(area)])
    return Template(area.run, content, cards[0].bands, fingerprint)


def mask_values(area: AreaConfig) -> tuple[int, ...]:
    """The masks' values of pixels not to be used."""
    masks = area.drop.masks if area.drop else area.stac and area.stac.mask
    return masks.invalid if masks else ()


def write_config(path: Path, config: RunConfig) -> None:
    """Write a run config whole, every path absolute."""
    content = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if config.cluster.options:  # left out of dumps, lest they get into reports
        content["cluster"]["options"] = dict(config.cluster.options)
    files.write_text(path, plain_yaml.dump(content))
