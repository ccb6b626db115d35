"""What is in docker/, read for the tests: the stages of the Dockerfile, the services of compose.yaml."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest

from geoseg.io import plain_yaml
from tests.support.common import ROOT

DOCKER = ROOT / "docker"
COMPOSE = DOCKER / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = plain_yaml.load(COMPOSE.read_text())["services"]
OPEN_FILES = {
    "register", "prefect-worker", "watch", "dask-worker-cpu", "dask-worker-gpu", "metrics",
}  # fmt: skip
SCRIPTS = {path.name for path in (DOCKER / "bin").iterdir()}
SCHEDULER = "tls://dask-scheduler:8786"


@dataclass(frozen=True)
class Stage:
    """One ``FROM ... AS name`` and what follows it."""

    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def of(self, keyword: str) -> list[str]:
        return [rest for word, rest in self.instructions if word == keyword]


def dockerfile() -> dict[str, Stage]:
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    for line in lines:
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            stages[name] = Stage(name, Template(base).substitute(arguments), ())
        elif not stages:
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            name, stage = stages.popitem()
            stages[name] = Stage(name, stage.base, (*stage.instructions, (word, rest)))
    return stages


STAGES = dockerfile()


def chain(name: str) -> list[Stage]:
    """The stage and all it is built on, the base first."""
    stage = STAGES[name]
    return [*(chain(stage.base) if stage.base in STAGES else []), stage]


def copied(stage: Stage) -> list[str]:
    """What the stage takes from the build context."""
    copies = [rest.split() for rest in stage.of("COPY") if "--from=" not in rest]
    return [word for words in copies for word in words[:-1] if not word.startswith("--")]


def environment(target: str) -> dict[str, str]:
    pairs = [pair for stage in chain(target) for rest in stage.of("ENV") for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def tool(name: str) -> str:
    folders = [str(Path(sys.executable).parent), None]
    found = next(filter(None, (shutil.which(name, path=folder) for folder in folders)), None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def accepted(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
