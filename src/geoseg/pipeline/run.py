"""A run: its config, its folder, and the record each step leaves there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from geoseg.config import RunConfig
from geoseg.errors import OutputError
from geoseg.feedback import Progress, Silent
from geoseg.imagery.scenes import Scene, select
from geoseg.io import configs, files, locks
from geoseg.legend import Legend
from geoseg.model.bundle import load_card
from geoseg.pipeline import progress_file
from geoseg.pipeline.progress_file import Watched

Record = dict[str, Any]
"""What a step found or made, as JSON values."""


@dataclass(frozen=True)
class RunFolder:
    """Where everything of a run lies."""

    root: Path
    name: str

    @classmethod
    def at(cls, output: Path | None, name: str) -> Self:
        """The folder named, or ``out/NAME``; ``OutputError`` where that is a file."""
        output = output or Path("out") / name
        if output.exists() and not output.is_dir():
            raise OutputError(f"{output} is a file; --output names the folder of the results")
        return cls(output.resolve(), name)

    @property
    def class_map(self) -> Path:
        """Class codes, a cloud-optimized GeoTIFF."""
        return self.layer("class")

    @property
    def confidence(self) -> Path:
        """Confidence in percent, a cloud-optimized GeoTIFF."""
        return self.layer("confidence")

    def layer(self, name: str) -> Path:
        """Any raster of the map: class, confidence, or one of ``products.layers``."""
        return self.root / f"{self.name}_{name}.tif"

    @property
    def item(self) -> Path:
        """The products as a STAC item."""
        return self.root / f"{self.name}.json"

    @property
    def polygons(self) -> Path:
        """Crop polygons, a GeoPackage."""
        return self.root / f"{self.name}_crops.gpkg"

    @property
    def parcels(self) -> Path:
        """Parcels with their crop by the map, a GeoPackage, where the config names a layer."""
        return self.root / f"{self.name}_parcels.gpkg"

    @property
    def quicklook(self) -> Path:
        """The map as a picture."""
        return self.root / "quicklook.png"

    @property
    def report(self) -> Path:
        """The report for people; ``report.json`` beside it is for programs."""
        return self.root / "report.html"

    @property
    def gates(self) -> Path:
        """What was checked before publishing, where it was."""
        return self.root / "gates.json"

    @property
    def model(self) -> Path:
        """The bundle the run trained."""
        return self.root / "model"

    @property
    def work(self) -> Path:
        """Blocks, receipts and step records: what makes the same command resume."""
        return self.root / "work"


@dataclass(frozen=True)
class Run:
    """One execution over one area and season."""

    config: RunConfig
    folder: RunFolder
    progress: Progress = field(default_factory=Silent)

    @classmethod
    def open(cls, config: Path, output: Path | None, progress: Progress | None = None) -> Run:
        """Read the config and make the run's folder, ``out/NAME`` where none is given.

        Raises ``ConfigError`` and ``OutputError``.
        """
        content = configs.load(config)
        folder = RunFolder.at(output, content.name)
        files.make_folder(folder.work)
        kept = progress_file.of(folder.work, folder.name)
        return cls(content, folder, Watched(progress or Silent(), kept))

    @contextmanager
    def alone(self) -> Iterator[Self]:
        """Keep other runs out of the folder while the body works; ``BusyError`` where one is in."""
        with locks.holding(self.folder.root):
            yield self

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """The season's scenes, opened once."""
        return select(self.config.imagery)

    @property
    def polygon_files(self) -> tuple[Path, ...]:
        """The files of polygons, one for each format that the config asks for."""
        formats = self.config.vectors.formats
        return tuple(self.folder.polygons.with_suffix(f".{suffix}") for suffix in formats)

    @property
    def bundles(self) -> tuple[Path, ...]:
        """The models the map is made with; their votes are averaged."""
        return self.config.model.named or (self.folder.model,)

    @property
    def bundle(self) -> Path:
        """The model, the first where several vote."""
        return self.bundles[0]

    @cached_property
    def legend(self) -> Legend:
        """The legend of the model where one is named, else of the config."""
        if self.config.model.named:
            return load_card(self.bundle).legend
        return self.config.make_legend()

    @contextmanager
    def step(self, name: str) -> Iterator[Record]:
        """Time a step and keep what it puts into the record, once it has ended well."""
        record: Record = {}
        began = time.perf_counter()
        with progress_file.of(self.folder.work, self.folder.name).stage(name):
            yield record
        record["seconds"] = round(time.perf_counter() - began, 2)
        files.write_json(self.folder.work / f"{name}.json", record)

    def recorded(self, name: str) -> Record:
        """The record of a step; empty where it has not run."""
        content = files.read_json(self.folder.work / f"{name}.json")
        return content if isinstance(content, dict) else {}
