"""Many areas through two workers, with something killed every now and then.

``GEOSEG_SOAK=200`` sets how many (a dozen by default), ``GEOSEG_SOAK_OUT=FOLDER`` keeps what was
measured: ``soak.json``, and ``soak.png`` with the memory of each service over time.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest

from geoseg.io import configs
from geoseg.io.raster import rasters
from geoseg.service.ledger.ledger import Ledger
from tests.support.common import run_geoseg
from tests.support.service_areas import drop, make_ground
from tests.support.service_stack import RunningService, start_service
from tests.support.stack_process import StackProcess, running_stack

AREAS = int(os.environ.get("GEOSEG_SOAK", "12"))
OUT = os.environ.get("GEOSEG_SOAK_OUT", "")
SERVICES = ("prefect-server", "prefect-worker", "dask-scheduler", "dask-worker-1", "dask-worker-2")
VICTIMS = ("flow",) * 5 + ("dask-worker-1", "dask-worker-2") * 3 + SERVICES[:3]
"""What is killed, at random: runs and Dask workers more often than the others."""
SCENES = 3
LOOK_SECONDS = 45

pytestmark = [pytest.mark.flow, pytest.mark.slow, pytest.mark.timeout(300 + 60 * AREAS)]


@dataclass
class Trouble:
    """Kills something every few seconds, and sees how much memory each service has."""

    stack: StackProcess
    over: Event = field(default_factory=Event)
    killed: Counter[str] = field(default_factory=Counter)
    memory: list[dict[str, Any]] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(11))

    def kill(self) -> None:
        while not self.over.wait(self.random.uniform(20, 50)):
            victim = self.random.choice(VICTIMS)
            if victim == "flow":
                runs = self.stack.runs()
                if not runs:
                    continue
                self.random.choice(runs).kill()
            else:
                self.stack.kill(victim)
            self.killed[victim] += 1

    def measure(self) -> None:
        began = time.monotonic()
        while not self.over.wait(5):
            row: dict[str, Any] = {"seconds": round(time.monotonic() - began)}
            for name in SERVICES:
                row[name] = self._memory(name)
            self.memory.append(row)

    def _memory(self, name: str) -> dict[str, int] | None:
        """Of the service and what it started, runs aside, in MB."""
        try:
            pid = self.stack.service(name).pid
            process = psutil.Process(pid)
            family = [process] if name == "prefect-worker" else [process, *process.children(True)]
            used = sum(one.memory_info().rss for one in family)
            return {"pid": pid, "mb": used // 2**20}
        except (psutil.Error, StopIteration):
            return None


def test_all_are_published_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("soak")
    ground = make_ground(folder / "ground", SCENES, width=170, height=140)
    names = [f"area-{number:03d}" for number in range(AREAS)]
    with running_stack(tmp_path_factory.mktemp("st")) as stack:
        service = start_service(stack, folder, ground, names, _lenient, every=LOOK_SECONDS)
        for number, name in enumerate(names):
            drop(ground.scenes[number % SCENES], folder / "incoming" / name)
        trouble = Trouble(stack)
        threads = [Thread(target=work, daemon=True) for work in (trouble.kill, trouble.measure)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        states = _wait_for_all(service, len(names))
        seconds = time.monotonic() - began
        trouble.over.set()
        for thread in threads:
            thread.join()
        _require_sound(service, names)
        _keep(service, trouble, seconds, states)
        _require_flat(trouble)


def _lenient(content: dict[str, Any]) -> None:
    content["gates"] = {"seam": None}
    content["retry"] = {"tries": 50, "first_minutes": 0.05, "longest_minutes": 0.2}


def _states(service: RunningService) -> Counter[str]:
    with Ledger.open(configs.load_service(service.file)) as ledger:
        return Counter(order.state for order in ledger.orders())


def _wait_for_all(service: RunningService, count: int) -> Counter[str]:
    told = time.monotonic()
    while True:
        states = _states(service)
        if states["published"] == count:
            return states
        assert not states["failed"] + states["cancelled"] + states["quarantined"], states
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(dict(states), flush=True)
        time.sleep(2)


def _require_sound(service: RunningService, names: list[str]) -> None:
    """One order, one version each, whole, and with the pixels of an undisturbed map."""
    done = run_geoseg("versions", str(service.published), "--verify")
    assert done.returncode == 0, done.stdout + done.stderr
    expected: list[Any] = []
    for number, name in enumerate(names):
        order = service.order(name)
        (item,) = service.versions(name)
        if number < SCENES:
            alone = service.folder / "alone" / name
            made = run_geoseg("predict", str(order.config), "--output", str(alone))
            assert made.returncode == 0, made.stderr
            expected.append(_pixels(alone))
        assert _pixels(item.parent) == expected[number % SCENES], name


def _pixels(folder: Path) -> list[bytes]:
    """Class codes and confidence of a map."""
    found = [next(folder.glob(f"*_{layer}.tif")) for layer in ("class", "confidence")]
    grids = [rasters.describe(path).grid for path in found]
    return [
        rasters.read(path, [1], grid.window)[0].tobytes()
        for path, grid in zip(found, grids, strict=True)
    ]


def _series(trouble: Trouble, name: str) -> dict[int, list[tuple[int, int]]]:
    """Seconds and MB of a service, by process: one that was killed began anew."""
    series: dict[int, list[tuple[int, int]]] = {}
    for row in trouble.memory:
        if row[name]:
            series.setdefault(row[name]["pid"], []).append((row["seconds"], row[name]["mb"]))
    return series


def _longest(trouble: Trouble, name: str) -> list[tuple[int, int]]:
    return max(_series(trouble, name).values(), key=len)


def _growth(points: list[tuple[int, int]]) -> float:
    """MB between the second and the last fifth of a process's life: it has started by then."""
    fifth = max(1, len(points) // 5)
    early = statistics.median(mb for _, mb in points[fifth : 2 * fifth] or points)
    return statistics.median(mb for _, mb in points[-fifth:]) - early


def _require_flat(trouble: Trouble) -> None:
    for name in SERVICES:
        points = _longest(trouble, name)
        if len(points) > 60:  # five minutes
            assert _growth(points) < 150, (name, points)


def _keep(service: RunningService, trouble: Trouble, seconds: float, states: Counter[str]) -> None:
    with Ledger.open(configs.load_service(service.file)) as ledger:
        attempts = [order.attempt for order in ledger.orders()]
    memory = {}
    for name in SERVICES:
        points = _longest(trouble, name)
        memory[name] = {
            "seconds": points[-1][0] - points[0][0],
            "first_mb": points[0][1],
            "last_mb": points[-1][1],
            "peak_mb": max(mb for _, mb in points),
            "growth_mb": _growth(points),
        }
    found = {
        "areas": sum(states.values()),
        "minutes": round(seconds / 60, 1),
        "killed": dict(trouble.killed),
        "attempts": dict(Counter(attempts)),
        "memory_of_the_longest_lived_process": memory,
    }
    print(json.dumps(found, indent=1))
    if OUT:
        Path(OUT).mkdir(parents=True, exist_ok=True)
        (Path(OUT) / "soak.json").write_text(json.dumps(found, indent=1) + "\n")
        _draw(trouble, Path(OUT) / "soak.png")


def _draw(trouble: Trouble, target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(SERVICES):
        for index, points in enumerate(_series(trouble, name).values()):
            label = name if index == 0 else None
            minutes = [seconds / 60 for seconds, _ in points]
            axes.plot(minutes, [mb for _, mb in points], color=f"C{number}", label=label)
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=0, title="A line per process")
    axes.legend(loc="upper left")
    figure.savefig(target, dpi=110)
