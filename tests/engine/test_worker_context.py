"""One process, several runs: their blocks alternate, share the cores, and leave when all is quiet."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from geoseg.engine import worker_context as workplaces
from geoseg.engine.block import predict_block
from geoseg.engine.job import Job
from geoseg.engine.worker_context import KEPT, worker_context_of
from geoseg.model.predictor import load_predictor
from tests.support.engine_season import make_bundle, make_imagery, plan, predict_here, whole_map


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """More jobs than a process keeps, of two networks."""
    folder = tmp_path_factory.mktemp("jobs")
    imagery = make_imagery(folder / "imagery")
    bundles = [make_bundle(folder / f"model{seed}", seed) for seed in (1, 2)]
    return [
        plan(imagery, bundles[number % 2], folder / f"work{number}", flips=number % 3 == 0).job
        for number in range(KEPT + 1)
    ]


def _alternate(jobs: list[Job], threads: int) -> None:
    """Every block of every job, one job after the other in turn."""
    turns = [(job, block) for block in jobs[0].plan for job in jobs]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda t: predict_block(str(t[0].file), t[1].row, t[1].col, 2), turns))


def test_runs_that_alternate_get_their_own_maps(jobs: list[Job], tmp_path: Path) -> None:
    _alternate(jobs, 3)
    mixed = [whole_map(job).tobytes() for job in jobs]
    for job, together in zip(jobs, mixed, strict=True):
        for file in job.folder.glob("r*"):
            file.unlink()
        workplaces.close()
        predict_here(job)
        assert whole_map(job).tobytes() == together
    assert len(set(mixed[:4])) == 4  # or any map would do


def test_a_run_keeps_its_place_beside_others(jobs: list[Job]) -> None:
    workplaces.close()
    first, second = worker_context_of(jobs[0].file, 2), worker_context_of(jobs[1].file, 2)
    assert worker_context_of(jobs[0].file, 2) is first
    assert first.network is second.network
    for job in jobs[1:]:
        worker_context_of(job.file, 2)
    assert worker_context_of(jobs[1].file, 2) is second
    assert worker_context_of(jobs[0].file, 2) is not first


def test_what_is_idle_is_let_go(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    workplaces.close()
    monkeypatch.setattr(workplaces, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(workplaces, "_watched", False)
    job = jobs[0]
    _, before = load_predictor(*job.bundles[0], "fp32", "cpu")
    place = worker_context_of(job.file, 1)
    place.read(next(iter(job.plan)).extent)
    until = time.monotonic() + 10
    while workplaces._open:
        assert time.monotonic() < until
        time.sleep(0.05)
    until = time.monotonic() + 10
    while load_predictor(*job.bundles[0], "fp32", "cpu")[1].network is before.network:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not place.rasters._files
    predict_block(str(job.file), 0, 0, 1)  # and comes back when it is needed
