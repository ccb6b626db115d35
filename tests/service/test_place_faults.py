"""Places that fail for longer than all tries would last: orders wait, say for what, and go on.

Real ones: a disk that is full, a destination that is read-only, one that is not mounted, images that
are away, a bucket whose server is. Two tries are allowed, and each test waits for three failures.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoseg.service.orders import Order
from tests.support.common import run_geoseg
from tests.support.faulty_places import BUCKET, SECRETS, bucket_server, small_disk
from tests.support.postgres import free_port
from tests.support.service_areas import DATES, make_ground, service_config, write_service
from tests.support.service_stack import RunningService, start_service
from tests.support.stack_process import StackProcess, running_stack, wait_for

pytestmark = [pytest.mark.flow, pytest.mark.slow, pytest.mark.timeout(1500)]

AREAS = ["away", "disk", "readonly", "image"]
TRIES = {"tries": 2, "first_minutes": 0.02, "longest_minutes": 0.05}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    # A busy SQLite may refuse what Prefect is to write: that is no fault of a place, and takes a try.
    with running_stack(tmp_path_factory.mktemp("sp"), "postgresql", **SECRETS) as made:
        yield made


@pytest.fixture(scope="module")
def service(stack: StackProcess, tmp_path_factory: pytest.TempPathFactory) -> RunningService:
    folder = tmp_path_factory.mktemp("service")
    ground = make_ground(folder / "ground")
    # Mirrored views: more work, so that there is time to take an image away.
    return start_service(stack, folder, ground, AREAS, _impatient, margin=64, flips=True)


def _impatient(content: dict[str, Any]) -> None:
    content["retry"] = TRIES
    content["gates"] = {"seam": None}


def _outlasts(service: RunningService, area: str, reason: str, look: bool = False) -> Order:
    """Wait till more runs have failed than there are tries, none of which was used up."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if look:
            service.look_now()
        order = service.orders(area)[-1] if service.orders(area) else None
        if order:
            assert order.state not in ("failed", "published", "superseded"), order
            assert order.tries == 0, order
            if order.attempt > TRIES["tries"] and order.state == "waiting":
                assert reason in order.reason, order
                assert order.faults == order.attempt
                return order
        time.sleep(0.3)
    raise AssertionError(f"{service.orders(area)}\n{service.stack.logs()[-6000:]}")


def _held(service: RunningService, order: Order) -> int:
    return sum(run["state_name"] == "Held" for run in service.flow_runs(order))


def test_the_disk_of_the_runs_is_full(service: RunningService) -> None:
    place = service.folder / "runs" / "disk"
    place.mkdir(parents=True, exist_ok=True)
    with small_disk(place, "300k"):
        service.drop("disk")
        order = _outlasts(service, "disk", "space")
        wait_for(lambda: _held(service, order) >= 3)
        subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
        service.wait_for_state("disk", "published", seconds=400)
        service.require_sound("disk")


def test_the_destination_is_read_only(service: RunningService) -> None:
    place = service.published / "readonly"
    place.mkdir(parents=True, exist_ok=True)
    with small_disk(place, "200m"):
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        service.drop("readonly")
        _outlasts(service, "readonly", "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        service.wait_for_state("readonly", "published", seconds=400)
        service.require_sound("readonly")


def test_the_destination_is_away(service: RunningService) -> None:
    """As where its disk is not mounted: an empty folder, in which another history must not begin."""
    assert service.published.is_dir(), "earlier tests have published"
    known = sorted(path.name for path in service.published.iterdir())
    aside = service.published.rename(service.folder / "aside")
    service.published.mkdir()
    service.drop("away")
    _outlasts(service, "away", "bring the destination back")
    assert list(service.published.iterdir()) == []
    service.published.rmdir()
    aside.rename(service.published)
    service.wait_for_state("away", "published", seconds=400)
    service.require_sound("away")
    assert sorted({*known, "away"}) == sorted(path.name for path in service.published.iterdir())


def test_an_image_is_away(service: RunningService) -> None:
    """It goes while the map is made, and comes back as a copy: the same bytes, another time."""
    service.drop("image")
    service.wait_for_blocks("image", 1)
    file = service.folder / "incoming" / "image" / "imagery" / f"{DATES[1]}.tif"
    aside = Path(shutil.move(file, service.folder / "aside.tif"))
    _outlasts(service, "image", file.name)
    shutil.copyfile(aside, file.with_suffix(".tmp"))
    file.with_suffix(".tmp").replace(file)
    service.wait_for_state("image", "published", seconds=400)
    service.require_sound("image")


def test_the_bucket_is_away(service: RunningService) -> None:
    port, folder = free_port(), service.folder / "remote"
    endpoint = f"http://127.0.0.1:{port}"
    content = service_config(folder, ["bucket"])
    content["publish"] = {"destination": f"s3://{BUCKET}/crops", "endpoint": endpoint}
    _impatient(content)
    file = write_service(folder, service.ground, content)
    away = RunningService(service.stack, folder, service.ground, file)
    away.drop("bucket")
    _outlasts(away, "bucket", "did not answer", look=True)
    with bucket_server(port):
        deadline = time.monotonic() + 500
        while away.order("bucket").state != "published":
            assert time.monotonic() < deadline, away.orders("bucket")
            away.look_now()
            time.sleep(1)
        command = ["versions", f"s3://{BUCKET}/crops", "--endpoint", endpoint, "--verify"]
        done = run_geoseg(*command, "--service", str(file), env=SECRETS)
        assert done.returncode == 0, done.stderr
        assert away.order("bucket").version in done.stdout
