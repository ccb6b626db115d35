"""Training on a machine that does other work: `python -m benchmarks.busy --json FILE`.

Steps of the demo's training (a resnet18 U-Net, batches of 4 samples of 256 px, 60 channels; the pixels
are noise, which costs the same) in processes of their own: alone, two side by side, and beside busy
processes. ``shares`` is geoseg. ``whole``, to compare with, is the plain way: whole batches, and torch's
threads on every core. They take turns, everything else held still; medians of the rounds. With two
cores and nothing else to do, about 8 minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.scene import ROOT

BUSY = "while True: pass"
GOALS = {"two side by side": 2.3, "busy machine": 7.0, "against whole": 1.05}
WARM = 2
"""Steps before the clock starts; as many are timed at least."""


@dataclass(frozen=True)
class Timing:
    """Steps of one process."""

    steps: int
    seconds: float
    """Wall time of a step."""
    cpu: float
    """CPU time of a step, of all threads."""


@dataclass(frozen=True)
class Setting:
    """What runs at the same time."""

    way: str
    """``shares`` or ``whole``."""
    trainings: int = 1
    busy: int = 0
    """Processes that only count."""

    @property
    def name(self) -> str:
        """For the table."""
        beside = f"beside {self.busy} busy processes" if self.busy else "alone"
        return f"{self.way}, {'two side by side' if self.trainings > 1 else beside}"


def main() -> None:
    """Run the rounds, or one of the processes that are timed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12, help="of each measurement")
    parser.add_argument("--busy", type=int, default=8, help="busy processes (default: 8)")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--train", choices=("shares", "whole"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        from benchmarks import training

        print(json.dumps(asdict(_timed(getattr(training, given.train)(), given.seconds))))
        return
    content = _rounds(given.rounds, given.seconds, given.busy)
    if given.json:
        given.json.write_text(json.dumps(content, indent=1) + "\n")


def _rounds(rounds: int, seconds: float, busy: int) -> dict[str, Any]:
    alone, whole = Setting("shares"), Setting("whole")
    two, beside = Setting("shares", 2), Setting("shares", 1, busy)
    load = psutil.getloadavg()[0]
    print(f"load before: {load:.2f}" + (", NOT a quiet machine" if load > 0.5 else ""), flush=True)
    found: dict[Setting, list[Timing]] = {}
    for number in range(rounds):
        settings = [whole, alone, two, beside]
        # The plain way beside others, once: it takes long, and is no goal.
        settings += [] if number else [Setting("whole", 2), Setting("whole", 1, busy)]
        for setting in settings:
            found.setdefault(setting, []).extend(_measure(setting, seconds))
            print(_row(setting, found[setting][-setting.trainings :]), flush=True)
    print("medians")
    for setting, timings in found.items():
        print(_row(setting, timings))
    step = {setting: median(t.seconds for t in timings) for setting, timings in found.items()}
    ratios = {
        "two side by side": step[two] / step[alone],
        "busy machine": step[beside] / step[alone],
        "against whole": step[alone] / step[whole],
    }
    for name, ratio in ratios.items():
        print(f"{name:<18} {ratio:5.2f} x  (goal: at most {GOALS[name]})")
    return {
        "machine": machine.describe(),
        "load_before": load,
        "timings": {setting.name: [asdict(t) for t in found[setting]] for setting in found},
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "goals": GOALS,
    }


def _row(setting: Setting, timings: list[Timing]) -> str:
    seconds, cpu = ([getattr(t, key) for t in timings] for key in ("seconds", "cpu"))
    return (
        f"{setting.name:<32} {median(seconds):7.3f} s a step ({min(seconds):.3f} to "
        f"{max(seconds):.3f}), CPU {median(cpu):6.3f} s"
    )


def _measure(setting: Setting, seconds: float) -> list[Timing]:
    """The trainings of a setting, timed over the same stretch."""
    seconds *= 2 if setting.busy else 1  # steps are few there
    command = [sys.executable, "-m", "benchmarks.busy", "--train", setting.way]
    with _processes([*command, "--seconds", str(seconds)], setting.trainings) as trainings:
        for training in trainings:
            assert training.stdout is not None
            training.stdout.readline()  # it is warm
        with _processes([sys.executable, "-c", BUSY], setting.busy):
            outputs = _answers(trainings)
    return [Timing(**json.loads(output)) for output in outputs]


def _answers(trainings: list[subprocess.Popen[str]]) -> list[str]:
    for training in trainings:
        assert training.stdin is not None
        training.stdin.write("go\n")
        training.stdin.flush()
    outputs = [training.communicate()[0] for training in trainings]
    if any(training.returncode for training in trainings):
        sys.exit("a training failed; what it said is above")
    return outputs


@contextmanager
def _processes(command: list[str], count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes of a command, killed at the end."""
    pipe, started = subprocess.PIPE, []
    try:
        for _ in range(count):
            started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT))
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def _timed(step: Callable[[], object], seconds: float) -> Timing:
    """Steps for so long, once the caller says go."""
    for _ in range(WARM):
        step()
    print("warm", flush=True)
    sys.stdin.readline()
    began, cpu, steps = time.perf_counter(), time.process_time(), 0
    while steps < WARM or time.perf_counter() - began < seconds:
        step()
        steps += 1
    wall = time.perf_counter() - began
    return Timing(steps, wall / steps, (time.process_time() - cpu) / steps)


if __name__ == "__main__":
    main()
