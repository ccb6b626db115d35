"""Polls over drop folders: one order for each set of images, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from geoseg.errors import ChangedInputError
from geoseg.feedback import Silent
from geoseg.imagery.scenes import select
from geoseg.io import configs, locks, plain_yaml
from geoseg.service import fetch, poll
from geoseg.service.dispatch import Kind
from geoseg.service.ledger import transitions
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from tests.support.common import ROOT
from tests.support.service_season import APRIL, BANDS, MAY, Runs, image, load, look, service_file


@pytest.fixture
def service(tmp_path: Path) -> Path:
    return service_file(tmp_path, {"north": {}})


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


def drop(service: Path, day: str, seed: int = 0, clear: float = 1.0, area: str = "north") -> Path:
    path = image(service.parent / "drop" / area / f"{day}.tif", seed, clear)
    time.sleep(0.02)  # so that it has settled
    return path


def orders(service: Path) -> tuple[Order, ...]:
    with Ledger.open(load(service)) as ledger:
        return ledger.orders()


def end(service: Path, number: int = -1, state: Any = "published") -> Order:
    """The order's run does its work, in no time."""
    with Ledger.open(load(service)) as ledger:
        order = ledger.orders()[number]
        ledger.begin(order.id, order.run_id)
        if state == "published":
            ledger.begin_publishing(order.id)
        return ledger.finish(order.id, state)


def test_a_season_that_is_whole_is_mapped_once(service: Path, runs: Runs) -> None:
    drop(service, APRIL)
    first = look(service, runs)
    assert first["waiting"]["north"] == "1 of 2 slots has no clear image: 2025-05 (none)"
    assert (first["seen"], first.get("claimed", 0)) == (1, 0)
    drop(service, MAY, seed=1)
    second = look(service, runs)
    assert (second["seen"], second["claimed"]) == (1, 1)
    (order,) = orders(service)
    assert (order.state, order.run_id) == ("started", "run-1-1")
    assert runs.made == {
        "run-1-1": {"config": str(order.config), "output": str(order.output), "order": 1}
    }
    for _ in range(2):
        third = look(service, runs)
        assert (third["seen"], third.get("claimed", 0)) == (0, 0)
    done = end(service)
    look(service, runs)
    assert [o.state for o in orders(service)] == ["published"]
    assert done.version.startswith("20250401-20250531-0001-")
    assert len(runs.made) == 1


def test_the_order_has_a_config_that_maps_exactly_these(service: Path, runs: Runs) -> None:
    files = [drop(service, MAY, seed=1), drop(service, APRIL)]
    look(service, runs)
    (order,) = orders(service)
    config = configs.load(order.config)
    scenes = select(config.imagery)
    assert [str(scene.date) for scene in scenes] == [APRIL, MAY]
    assert [scene.files for scene in scenes] == [(files[1],), (files[0],)]
    assert scenes[0].bands == BANDS
    assert config.model.bundle == service.parent / "model"
    assert config.predict.core == 32
    assert order.config.parent.parent == service.parent / "work/north/20250401-20250531"
    assert [c.date for c in order.selection] == [APRIL, MAY]
    with Ledger.open(load(service)):
        record = fetch.fetch_order(load(service), order, Silent())
    assert record == {"fetched": 0, "there": 0, "bytes": 0}


def test_a_clearer_image_that_comes_late(service: Path, runs: Runs) -> None:
    drop(service, APRIL, clear=0.6)
    drop(service, MAY)
    look(service, runs)
    end(service)
    drop(service, "2025-04-20", clear=0.55)
    assert look(service, runs).get("claimed", 0) == 0, "it is less clear than what was mapped"
    drop(service, "2025-04-22", clear=0.9)
    look(service, runs)
    assert [o.state for o in orders(service)] == ["published", "started"]
    assert [c.date for c in orders(service)[1].selection] == ["2025-04-22", MAY]
    assert end(service).version.startswith("20250401-20250531-0002-")


def test_a_reprocessed_image_makes_a_map_even_where_changes_are_waited_for(
    tmp_path: Path, runs: Runs
) -> None:
    service = service_file(tmp_path, {"north": {"ready": {"changed": 2}}})
    drop(service, APRIL, clear=0.6)
    drop(service, MAY)
    look(service, runs)
    end(service)
    drop(service, "2025-04-22", clear=0.9)
    waiting = look(service, runs)["waiting"]["north"]
    assert waiting == "1 of 2 slots have another image than order 1, 2 wanted"
    (service.parent / "drop/north/2025-04-22.tif").unlink()
    drop(service, APRIL, seed=9, clear=0.6)
    look(service, runs)
    assert len(orders(service)) == 2


def test_an_image_touched_or_put_there_again_is_the_same(service: Path, runs: Runs) -> None:
    path = drop(service, APRIL)
    drop(service, MAY, seed=1)
    look(service, runs)
    copy = shutil.copyfile(path, path.with_name("copy"))
    os.replace(copy, path)
    os.utime(path)
    time.sleep(0.02)
    look(service, runs)
    (order,) = orders(service)
    fetch.fetch_order(load(service), order, Silent())


def test_a_sidecar_that_came_after_the_order(service: Path, runs: Runs) -> None:
    drop(service, APRIL)
    path = drop(service, MAY, seed=1)
    look(service, runs)
    (order,) = orders(service)
    sidecar = Path(f"{path}.aux.xml")
    sidecar.write_text("<PAMDataset/>")
    with pytest.raises(ChangedInputError, match=f"{path}: replaced since order 1"):
        fetch.fetch_order(load(service), order, Silent())
    sidecar.unlink()
    fetch.fetch_order(load(service), order, Silent())


def test_newer_images_supersede_an_order_under_way(service: Path, runs: Runs) -> None:
    drop(service, APRIL)
    path = drop(service, MAY, seed=1)
    look(service, runs)
    drop(service, MAY, seed=2)
    first = orders(service)[0]
    with pytest.raises(ChangedInputError, match=f"{path}: replaced since order 1"):
        fetch.fetch_order(load(service), first, Silent())
    look(service, runs)
    assert [o.state for o in orders(service)] == ["superseded", "started"]
    path.unlink()
    with pytest.raises(ChangedInputError, match="gone since order 2"):
        fetch.fetch_order(load(service), orders(service)[1], Silent())


def test_another_model_makes_another_map_and_another_cluster_or_score_does_not(
    service: Path, runs: Runs
) -> None:
    drop(service, APRIL)
    drop(service, MAY)
    look(service, runs)
    end(service)
    run = service.parent / "run.yaml"
    content = plain_yaml.load(run.read_text())
    run.write_text(plain_yaml.dump({**content, "cluster": {"workers": 3}, "title": "New"}))
    look(service, runs)
    assert len(orders(service)) == 1
    card = service.parent / "model" / "card.json"
    card.write_text(card.read_text().replace('"metrics": {}', '"metrics": {"iou": 1}'))
    look(service, runs)
    assert len(orders(service)) == 1
    card.write_text(card.read_text().replace('"weights_sha256": ""', '"weights_sha256": "ab"'))
    look(service, runs)
    assert len(orders(service)) == 2


def test_one_area_that_fails_stops_no_other(tmp_path: Path, runs: Runs) -> None:
    areas = {"bad": {"run": "missing.yaml"}, "good": {}, "gone": {"drop": {"folder": "nowhere"}}}
    service = service_file(tmp_path, areas)
    drop(service, APRIL, area="good")
    drop(service, MAY, area="good")
    record = look(service, runs)
    assert record["claimed"] == 1
    assert "missing.yaml: no such config file" in record["failed"]["bad"]
    assert "nowhere: no such folder" in record["failed"]["gone"]
    assert list(record["failed"]) == ["bad", "gone"]
    with Ledger.open(load(service)) as ledger:
        assert "no such config file" in ledger.noted("bad", "20250401-20250531")


def test_a_bug_in_one_area_stops_no_other(
    tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of that area, with where it happened in the log."""
    service = service_file(tmp_path, {"one": {}, "two": {}})
    for area in ("one", "two"):
        for day in (APRIL, MAY):
            drop(service, day, area=area)
    choose = poll.choose

    def faulty(found: Any, slots: Any, ready: Any) -> Any:
        if "/drop/one/" in found[0].files[0].href:
            raise ZeroDivisionError("\ud800 divided by zero")
        return choose(found, slots, ready)

    monkeypatch.setattr(poll, "choose", faulty)
    record = look(service, runs)
    assert [order.area for order in orders(service)] == ["two"]
    told = "a fault of geoseg: ZeroDivisionError: \\ud800 divided by zero"
    assert record["failed"] == {"one": told}
    assert "in faulty" in caplog.text
    with Ledger.open(load(service)) as ledger:
        assert ledger.noted("one", "20250401-20250531") == told


def test_an_area_whose_source_hangs_holds_up_no_other(
    tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_file(tmp_path, {"one": {}, "two": {}})
    for day in (APRIL, MAY):
        drop(service, day, area="two")
    searched = poll.folder.poll

    def slow(wanted: Any, known: Any) -> Any:
        if wanted.drop.folder.name == "one":
            while not orders(service):
                time.sleep(0.01)
        return searched(wanted, known)

    monkeypatch.setattr(poll.folder, "poll", slow)
    record = look(service, runs)
    assert record["claimed"] == 1
    assert list(record["waiting"]) == ["one", "two"], "in the order of the service file"


def test_a_model_that_takes_another_number_of_images(tmp_path: Path, runs: Runs) -> None:
    season = {"start": "2025-04-01", "end": "2025-06-30"}
    service = service_file(tmp_path, {"north": {"season": season}})
    assert "takes 2 images" in look(service, runs)["failed"]["north"]


def test_runs_that_vanish_are_tried_again_and_in_the_end_given_up(
    tmp_path: Path, runs: Runs
) -> None:
    service = service_file(tmp_path, {"north": {}}, retry={"tries": 2, "first_minutes": 1e-5})
    drop(service, APRIL)
    drop(service, MAY)
    look(service, runs)
    runs.states["run-1-1"] = "crashed"
    assert look(service, runs)["lost"] == 1
    assert orders(service)[0].reason == "its run crashed"
    time.sleep(0.01)
    assert look(service, runs)["retried"] == 1
    assert orders(service)[0].run_id == "run-1-2"
    runs.states["run-1-2"] = "failed"
    look(service, runs)
    assert orders(service)[0].state == "failed"
    assert look(service, runs).get("claimed", 0) == 0
    assert len(runs.made) == 2


def test_a_run_that_no_longer_says_it_is_alive(
    service: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(service, APRIL)
    drop(service, MAY)
    look(service, runs)
    runs.states["run-1-1"] = "running"
    look(service, runs)
    assert orders(service)[0].lease == "good", "it has some time to begin"
    with Ledger.open(load(service)) as ledger:
        ledger.begin(1, "run-1-1")
    look(service, runs)
    assert (orders(service)[0].state, runs.crashed) == ("running", [])
    monkeypatch.setattr(transitions, "LEASE_SECONDS", 0.01)
    with Ledger.open(load(service)) as ledger:
        ledger.begin(1, "run-1-1")
    time.sleep(0.02)
    look(service, runs)
    assert (orders(service)[0].state, runs.crashed) == ("waiting", ["run-1-1"])


@pytest.mark.parametrize(
    ("kind", "counted", "after"),
    [("crashed", "lost", "waiting"), ("cancelled", "cancelled", "cancelled")],
)
def test_a_run_that_died_a_moment_ago(
    service: Path, runs: Runs, kind: Kind, counted: str, after: str
) -> None:
    """Its lease is good for another minute; but Prefect calls it over, and its folder is free."""
    drop(service, APRIL)
    drop(service, MAY)
    look(service, runs)
    with Ledger.open(load(service)) as ledger:
        order = ledger.begin(1, "run-1-1")
    runs.states["run-1-1"] = "running"
    with locks.holding(order.output):
        look(service, runs)
        runs.states["run-1-1"] = kind  # wrongly: it goes on, and its folder shows it
        look(service, runs)
    assert orders(service)[0].state == "running"
    assert look(service, runs)[counted] == 1
    assert orders(service)[0].state == after
    assert runs.crashed == []


def test_a_run_that_ends_while_it_is_asked_after(service: Path, runs: Runs) -> None:
    drop(service, APRIL)
    drop(service, MAY)
    look(service, runs)
    with Ledger.open(load(service)) as ledger:
        seen = ledger.begin(1, "run-1-1")
        ledger.finish(1, "failed", "no repeat can help")
        assert ledger.lost(seen, "gone", gone=True) is None
        assert ledger.cancelled(seen, "gone", gone=True) is None
    assert orders(service)[0].state == "failed"


def test_a_cancelled_run_cancels_its_order(service: Path, runs: Runs) -> None:
    drop(service, APRIL)
    drop(service, MAY)
    look(service, runs)
    runs.states["run-1-1"] = "cancelled"
    look(service, runs)
    look(service, runs)
    assert orders(service)[0].state == "cancelled"
    assert len(runs.made) == 1


POLLER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests.support.service_season import Runs, look
runs = Runs(Path({runs!r}), die={die!r})
print("ready", flush=True)
sys.stdin.readline()
print(look(Path({service!r}), runs).get("claimed", 0))
"""


def poller(service: Path, runs: Runs, die: str = "") -> subprocess.Popen[str]:
    tests = str(ROOT)
    code = POLLER.format(tests=tests, runs=str(runs.folder), die=die, service=str(service))
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_watcher_killed_between_claim_trigger_and_record(
    service: Path, runs: Runs, when: str
) -> None:
    """kill -9 just before the run is asked for, and just after: it is there once in the end."""
    drop(service, APRIL)
    drop(service, MAY)
    process = poller(service, runs, die=when)
    _, err = process.communicate("go\n", timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    assert orders(service)[0].state == "claimed"
    assert len(runs.made) == (when == "after")
    assert look(service, runs)["started"] == 1
    (order,) = orders(service)
    assert (order.state, order.run_id) == ("started", "run-1-1")
    assert list(runs.made) == ["run-1-1"]


def test_watchers_at_once_start_each_map_once(tmp_path: Path, runs: Runs) -> None:
    areas = [f"area-{n}" for n in range(8)]
    service = service_file(tmp_path, {area: {} for area in areas})
    for area in areas:
        drop(service, APRIL, area=area)
        drop(service, MAY, area=area)
    running = [poller(service, runs) for _ in range(2)]
    try:
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        ends = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
    assert sum(int(out) for out, _ in ends) == len(areas), ends
    assert sorted(order.area for order in orders(service)) == areas
    assert len(runs.made) == len(areas)
    assert {order.state for order in orders(service)} == {"started"}
