"""A service with a published map, for tests that lose or replace it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.config.service import ServiceConfig
from geoseg.feedback import Silent
from geoseg.io.store.opening import open_store
from geoseg.pipeline.run import Run, RunFolder
from geoseg.service.acts import republish
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_run import OrderRun, judge, publish
from geoseg.service.publish import read_collection
from geoseg.service.versions import survey
from tests.support.service_season import load

AREA, SEASON = "valley", "20250401-20250531"


@dataclass(frozen=True)
class Served:
    """A service, whose orders are done with results that are there already."""

    file: Path
    folder: Path
    made: Run
    endpoint: str | None = None

    @property
    def config(self) -> ServiceConfig:
        return load(self.file)

    @property
    def maps(self) -> Path:
        return self.folder / "maps"

    def order(self, letter: str, area: str = AREA) -> int:
        """Claimed and begun; its results lie in a folder of its own."""
        home = self.folder / "work" / area / SEASON / letter
        shutil.copytree(self.made.folder.root, home / "out")
        shutil.copy(self.made.folder.root.parent / "small.yaml", home / "config.yaml")
        with Ledger.open(self.config) as ledger:
            order = ledger.claim(area, SEASON, letter * 64, (), home / "config.yaml", home / "out")
            assert order is not None
            ledger.begin(order.id, "run")
            return order.id

    def run(self, number: int) -> Run:
        with Ledger.open(self.config) as ledger:
            order = ledger.order(number)
        return Run(self.made.config, RunFolder(order.output, "small"))

    def publish(self, letter: str, area: str = AREA) -> int:
        number = self.order(letter, area)
        self.judge_and_publish(number)
        return number

    def judge_and_publish(self, number: int) -> dict[str, Any]:
        run = self.run(number)
        judge(run, OrderRun(self.file, number, "run"))
        return publish(run, OrderRun(self.file, number, "run"))

    def again(self, number: int) -> dict[str, Any]:
        with Ledger.open(self.config) as ledger:
            return republish(self.config, ledger, number, Silent())

    def survey(self, service: bool = False, area: str | None = None) -> dict[str, str]:
        """What is lost or damaged, by ``--verify``."""
        to, end = self.config.publish.destination, self.config.publish.endpoint
        rows, lost = survey(to, end, area, True, self.file if service else None, Silent())
        return lost | {key: what for row in rows for key, what in row["damaged"].items()}

    def files(self) -> dict[str, bytes]:
        """All that is published but collections, which tell when."""
        found = {p for p in self.maps.rglob("*") if p.is_file() and p.name != ".lock"}
        return {
            p.relative_to(self.maps).as_posix(): p.read_bytes()
            for p in found
            if p.name != "collection.json"
        }

    def versions(self, area: str = AREA) -> list[str]:
        config = self.config.publish
        store = open_store(config.destination, config.endpoint)
        return [version.name for version in read_collection(store, area).versions]
