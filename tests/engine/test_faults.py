"""Runs that are killed, interrupted or starved: real processes, real signals, the same map in the end.

Each fault is one of ``python -m benchmarks.faults``, which tries them at more moments.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.faults import trial as trials
from benchmarks.faults.catalogue import KILLS, OTHERS, Fault
from benchmarks.faults.season import Season, make_season
from benchmarks.faults.trial import Map, Trial, trial, undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EVERY = {fault.name: fault for fault in (*KILLS, *OTHERS)}


@dataclass(frozen=True)
class Area:
    """What all trials share."""

    folder: Path
    season: Season
    wanted: Map


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Area:
    """The season, and the map of an undisturbed run."""
    folder = tmp_path_factory.mktemp("faults")
    season = make_season(folder / "season")
    return Area(folder, season, undisturbed(season, folder / "undisturbed"))


def _try(area: Area, fault: Fault) -> Trial:
    reason = fault.impossible()
    if reason:
        pytest.skip(reason)
    name = "".join(letter if letter.isalnum() else "-" for letter in fault.name)
    with trial(area.season, area.folder / name, area.wanted, seed=fault.name) as made:
        fault.strike(made)
    assert not made.problems
    return made


@pytest.mark.parametrize("name", EVERY)
def test_the_map_comes_out_the_same(area: Area, name: str) -> None:
    made = _try(area, EVERY[name])
    assert made.before, "the fault came before the first block"


def test_a_trial_sees_what_is_wrong(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that finds nothing proves nothing."""
    monkeypatch.setattr(trials, "ORPHAN_SECONDS", 0.5)
    folder = area.folder / "undisturbed"
    made = Trial(area.season, folder, area.wanted, random.Random(1))
    made.before = made.finished()
    block = next(made.output.glob("work/blocks-*/r*.tif"))
    block.write_bytes(block.read_bytes())  # computed again
    (made.output / ".x.1.part.tif").touch()
    class_map = made.output / next(iter(area.wanted))
    content = class_map.read_bytes()
    class_map.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    made.spawn("http.server", ["--bind", "127.0.0.1", "0"], folder / "orphan.log")
    made.verify()
    found = " ".join(made.problems)
    for problem in ("another map", "1 finished blocks", "temporary files", "live on"):
        assert problem in found
