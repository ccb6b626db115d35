"""Publishing: what readers meet, whatever happens to the publisher. Folder and bucket alike."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac
import pystac.validation
import pytest

from geoseg.config.service import PublishConfig
from geoseg.errors import ConfigError, OutputError
from geoseg.feedback import Silent
from geoseg.io.store.opening import open_store
from geoseg.pipeline.run import Run
from geoseg.service.publish import publish_map, read_collection
from geoseg.service.published_collection import VersionId
from geoseg.service.versions import last_published
from tests.support.made_run import KEYS, TESTS, light, make_run, s3_server, variant
from tests.support.published_reader import getter, read_all, s3_client

AREA, SEASON = "valley", "2025"
Geoseg = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return light(make_run(tmp_path_factory.mktemp("publish")))


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in KEYS.items():
            patch.setenv(key, value)
        with s3_server() as url:
            s3_client(url).create_bucket(Bucket="maps")
            yield url


@dataclass(frozen=True)
class Destination:
    """Where a test publishes; ``at`` gives others of the same kind."""

    address: str
    endpoint: str | None

    def config(self, **settings: Any) -> PublishConfig:
        return PublishConfig(destination=self.address, endpoint=self.endpoint, **settings)

    def at(self, name: str) -> Destination:
        return Destination(f"{self.address}/{name}", self.endpoint)

    def read(self) -> dict[str, list[str]]:
        return read_all(getter(self.address, self.endpoint))

    def objects(self) -> dict[str, bytes]:
        """All there is but locks."""
        if self.endpoint is None:
            root = Path(self.address)
            found = [p for p in root.rglob("*") if p.is_file() and p.name != ".lock"]
            return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}
        client = s3_client(self.endpoint)
        prefix = self.address.removeprefix("s3://maps/") + "/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="maps", Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): client.get_object(Bucket="maps", Key=key)["Body"].read()
            for key in keys
        }

    def state(self) -> dict[str, Any]:
        """All there is, but for the times in collections."""
        return {k: timeless(v) if k.endswith("n.json") else v for k, v in self.objects().items()}


def timeless(text: bytes) -> Any:
    content = json.loads(text)
    for link in content["links"]:
        link.pop("geoseg:published", None)
    for entry in content.get("geoseg:retired", []):
        entry.pop("until")
    return content


@pytest.fixture(params=["folder", "bucket"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    if request.param == "folder":
        return Destination(str(tmp_path / "published"), None)
    return Destination(f"s3://maps/{tmp_path.name}", request.getfixturevalue("service"))


def place(sequence: int, season: str = SEASON, area: str = AREA) -> VersionId:
    return VersionId(area, season, sequence, f"{sequence:08x}")


def publish(run: Run, config: PublishConfig, sequence: int, **names: str) -> dict[str, Any]:
    return publish_map(run, place(sequence, **names), config, Silent())


def in_a_child(work: Callable[[], object]) -> int:
    """The work in a process of its own, forked from this one; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 (a child of pytest must not go on with its tests)
        traceback.print_exc()
    finally:
        os._exit(code)


def ended_well(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def test_readers_find_it_all(run: Run, destination: Destination) -> None:
    config = destination.config(license="CC-BY-4.0")
    first = publish(run, config, 1)
    assert first["published"]
    assert first["files"] == len(json.loads(run.folder.item.read_text())["assets"]) + 2
    publish(run, config, 2)
    publish(run, config, 1, area="hill")
    assert destination.read() == {
        "valley": ["2025-0002-00000002", "2025-0001-00000001"],
        "hill": ["2025-0001-00000001"],
    }
    text = b"".join(v for k, v in destination.objects().items() if k.endswith("small.json"))
    assert b"derived_from" not in text
    assert str(run.folder.root).encode() not in text
    names = {key.rpartition("/")[2] for key in destination.objects()}
    side = {"small_class.tif.aux.xml", "small_class.tif.vat.dbf", "small_class.qml"}
    assert {*side, "small_class.sld", "small_config.json", "report.html", "quicklook.png"} <= names


def test_the_catalogue_is_stac(run: Run, tmp_path: Path) -> None:
    config = PublishConfig(destination=str(tmp_path), license="CC-BY-4.0")
    for number, season in ((1, "2024"), (1, "2025"), (2, "2025")):
        publish(run, config, number, season=season)
    catalog = pystac.Catalog.from_file(str(tmp_path / "catalog.json"))
    (collection,) = catalog.get_children()
    assert isinstance(collection, pystac.Collection)
    items = list(collection.get_items())
    assert [item.properties["version"] for item in items] == [
        "2025-0002-00000002", "2025-0001-00000001", "2024-0001-00000001",
    ]  # fmt: skip
    for found in (catalog, collection, *items):
        assert pystac.validation.validate_dict({**found.to_dict(), "stac_extensions": []})
    assert collection.license == "CC-BY-4.0"
    assert collection.extent.spatial.bboxes == [items[0].bbox]
    assert collection.summaries.to_dict()["classification:classes"][0]["title"] == "crop 4"
    links = [link for link in collection.links if link.rel == "item"]
    assert [link.extra_fields["deprecated"] for link in links] == [False, True, False]
    (latest,) = [link for link in collection.links if link.rel == "latest"]
    assert latest.extra_fields["version"] == "2025-0002-00000002"
    for item in items:
        assert item.get_collection() is collection
        assert item.get_root() is catalog
        assert item.id == f"valley-{item.properties['version']}"
        assert all(Path(a.get_absolute_href() or "").is_file() for a in item.assets.values())


def test_again_is_nothing_and_older_is_not_the_latest(run: Run, destination: Destination) -> None:
    config = destination.config(keep=2)
    publish(run, config, 3)
    before = destination.objects()
    again = publish(run, config, 3)
    assert (again["published"], again["files"]) == (True, 0)
    assert destination.objects() == before
    publish(run, config, 2)
    assert destination.read() == {AREA: ["2025-0003-00000003", "2025-0002-00000002"]}
    newest = read_collection(open_store(config.destination, config.endpoint), AREA).newest(SEASON)
    assert newest is not None
    assert newest.sequence == 3
    before = destination.objects()
    old = publish(run, config, 1)
    assert (old["published"], old["files"]) == (False, 0)
    assert destination.objects() == before


def test_the_last_map(run: Run, destination: Destination, tmp_path: Path) -> None:
    config = destination.config()
    assert last_published(config, AREA, SEASON, tmp_path / "work") is None
    publish(run, config, 2)
    publish(run, config, 1)
    publish(run, config, 1, season="2026")
    for _ in range(2):
        found = last_published(config, AREA, SEASON, tmp_path / "work")
        assert found is not None
        assert "2025-0002-00000002" in str(found)
        assert found.read_bytes() == run.folder.class_map.read_bytes()


def test_seasons_are_kept_apart_and_files_stay_for_a_while(
    run: Run, destination: Destination
) -> None:
    grace = 1.5
    config = destination.config(keep=1, grace_hours=grace / 3600)
    publish(run, config, 1, season="2024")
    publish(run, config, 1)
    publish(run, config, 2)
    assert destination.read() == {AREA: ["2025-0002-00000002", "2024-0001-00000001"]}
    folders = open_store(config.destination, config.endpoint).folders
    assert folders(AREA) == ["2024-0001-00000001", "2025-0001-00000001", "2025-0002-00000002"]
    if destination.endpoint is None:  # what somebody else put there stays
        strange = Path(destination.address, AREA, "2025-0001-00000001", "notes.txt")
        strange.write_text("mine")
        strange.parent.with_name("drafts").mkdir()
    time.sleep(grace + 1)
    publish(run, config, 3)
    kept = ["2024-0001-00000001", "2025-0002-00000002", "2025-0003-00000003"]
    if destination.endpoint is None:
        assert list(strange.parent.iterdir()) == [strange]
        kept = ["2024-0001-00000001", "2025-0001-00000001", *kept[1:], "drafts"]
    assert folders(AREA) == kept
    assert destination.read() == {AREA: ["2025-0003-00000003", "2024-0001-00000001"]}
    time.sleep(grace + 1)
    assert publish(run, config, 3)["removed"] == ["2025-0002-00000002"]


def test_an_unfinished_try_is_left_alone_and_removed_later(
    run: Run, destination: Destination, tmp_path: Path
) -> None:
    """A try with other bytes may be at work still: another folder is taken."""
    config = destination.config(grace_hours=0)
    store = open_store(config.destination, config.endpoint)
    torn = f"{AREA}/2025-0001-00000001"
    assert store.write(f"{torn}/.manifest.json", '{"digest": "x", "files": {"a": {}}}', None)
    assert store.write(f"{torn}/a", "torn", None)
    publish(run, config, 1)
    assert destination.read() == {AREA: ["2025-0001-00000001"]}
    collection = read_collection(store, AREA)
    assert [v.folder for v in collection.versions] == ["2025-0001-00000001.2"]
    assert [r.folder for r in collection.retired] == ["2025-0001-00000001"]
    assert collection.retired[0].until > collection.versions[0].published
    publish(run, config, 2)
    assert store.read(f"{torn}/a") is not None, "it stays for a day"
    # The other try comes to its end after all.
    other = variant(run, tmp_path / "other")
    assert publish(other, config, 1)["files"] == 0
    assert destination.read() == {AREA: ["2025-0002-00000002", "2025-0001-00000001"]}


def test_what_is_not_as_described_is_not_published(run: Run, tmp_path: Path) -> None:
    other = variant(run, tmp_path / "other")
    config = PublishConfig(destination=str(tmp_path / "published"))
    (other.folder.root / "report.md").write_text("edited")
    with pytest.raises(OutputError, match=r"report\.md: 6 bytes .* changed after the run"):
        publish(other, config, 1)
    (other.folder.root / "report.md").unlink()
    with pytest.raises(OutputError, match=r"report\.md: the run's item names it"):
        publish(other, config, 1)
    other.folder.item.unlink()
    with pytest.raises(OutputError, match="not described yet"):
        publish(other, config, 1)
    left = [p for p in (tmp_path / "published").rglob("*") if p.is_file() and p.name != ".lock"]
    assert left == []


def test_strange_places(run: Run, tmp_path: Path) -> None:
    config = PublishConfig(destination=str(tmp_path))
    for name in ("../x", "A", "", "a/b"):
        with pytest.raises(ConfigError, match="part of folder names"):
            publish(run, config, 1, area=name)
    (tmp_path / AREA).mkdir()
    (tmp_path / AREA / "collection.json").write_text('{"type": "Collection", "links": []}')
    with pytest.raises(OutputError, match="no collection that geoseg published"):
        publish(run, config, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        publish(run, PublishConfig(destination=str(tmp_path / "file")), 1)


def test_publishers_at_once_lose_nothing(run: Run, destination: Destination) -> None:
    config = destination.config()
    numbers = [(1, 5), (2, 4), (3, 5)]  # 5 twice: the same version at the same time

    def work(mine: tuple[int, ...]) -> None:
        for number in mine:
            assert publish(run, config, number)["published"]

    children = [in_a_child(lambda mine=mine: work(mine)) for mine in numbers]  # type: ignore[misc]
    assert [ended_well(child) for child in children] == [True] * 3
    assert destination.read() == {AREA: [place(n).version for n in (5, 4, 3, 2, 1)]}


def test_one_version_with_two_contents_at_once(
    run: Run, destination: Destination, tmp_path: Path
) -> None:
    """A process that was thought dead and its successor: one of them wins, whole."""
    other = variant(run, tmp_path / "other")
    config = destination.config()
    for number in (1, 2, 3):
        children = [in_a_child(lambda r=r: publish(r, config, number)) for r in (run, other)]  # type: ignore[misc]  # noqa: B023
        assert [ended_well(child) for child in children] == [True] * 2
    assert destination.read() == {AREA: [place(n).version for n in (3, 2, 1)]}


@pytest.mark.slow
def test_readers_never_see_half_a_map(run: Run, destination: Destination) -> None:
    grace, endpoint = 5.0, [destination.endpoint] if destination.endpoint else []
    config = destination.config(keep=2, grace_hours=grace / 3600)
    publish(run, config, 1)
    reader = subprocess.Popen(
        [sys.executable, str(TESTS / "published_reader.py"), destination.address, *endpoint,
         str(grace - 2)],  # the grace begins shortly before the collection is exchanged
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        began, number, removed = time.monotonic(), 2, []
        while time.monotonic() < began + 20 or (len(removed) < 3 and number < 200):
            removed += publish(run, config, number)["removed"]
            number += 1
            time.sleep(0.3)
        told = json.loads(reader.communicate(timeout=200)[0])
    finally:
        reader.kill()
        reader.wait()
    assert told["troubles"] == []
    assert told["rounds"] >= 2
    assert len(told["seen"]) >= 3
    assert len(removed) >= 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_and_called_again(run: Run, destination: Destination) -> None:
    """Version 2 takes the place of version 1, whose files go at once: every step there is."""
    settings: dict[str, Any] = {"keep": 1, "grace_hours": 0}
    whole = destination.at("whole")
    publish(run, whole.config(**settings), 1)
    began = time.monotonic()
    child = in_a_child(lambda: publish(run, whole.config(**settings), 2))
    assert ended_well(child)
    took = time.monotonic() - began
    expected = whole.state()
    chance, killed = random.Random(5), 0
    for trial in range(100):
        there = destination.at(str(trial))
        config = there.config(**settings)
        publish(run, config, 1)
        child = in_a_child(lambda: publish(run, config, 2))  # noqa: B023
        time.sleep(chance.uniform(0, took))
        os.kill(child, signal.SIGKILL)
        caught = not ended_well(child)
        killed, took = killed + caught, took * (1.1 if caught else 0.8)
        (versions,) = there.read().values()
        assert versions in ([place(1).version], [place(2).version])
        assert publish(run, config, 2)["published"]
        assert there.state() == expected
        if killed == 20:
            return
    raise AssertionError(f"only {killed} of 100 were at work when they were killed")


def test_a_full_disk(run: Run, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(p.stat().st_size for p in run.folder.root.iterdir() if p.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(size * 1.5)}", "tmpfs", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("this system does not permit to mount a small disk")
    try:
        there = Destination(str(disk), None)
        config = there.config()
        publish(run, config, 1)
        before = there.objects()
        with pytest.raises(OutputError, match="No space left on device") as raised:
            publish(run, config, 2)
        assert raised.value.retryable
        assert there.objects() == before
        (disk / AREA / ".publishing.left.1234").mkdir()  # by one that was killed
        subprocess.run([*mount[:4], f"remount,size={size * 4}", *mount[5:]], check=True)
        publish(run, config, 2)
        assert there.read() == {AREA: [place(2).version, place(1).version]}
        assert sorted(p.name for p in (disk / AREA).iterdir() if p.is_dir()) == [
            place(1).version, place(2).version,
        ]  # fmt: skip
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_by_hand(run: Run, tmp_path: Path, geoseg: Geoseg) -> None:
    other = variant(run, tmp_path / "out")
    config = run.folder.root.parent / "small.yaml"
    to = tmp_path / "published"
    arguments = [
        "publish", str(config), "-o", str(other.folder.root), "--to", str(to),
        "--area", AREA, "--season", SEASON,
    ]  # fmt: skip
    code, out, err = geoseg(*arguments)
    assert code == 0, err
    version = f"2025-0001-{run.recorded('stitch')['run_id'][:8]}"
    assert f"version: {version}" in out
    assert "completeness  passed: 100.00 % of the" in out
    page = (to / AREA / version / "report.html").read_text("utf-8")
    assert "Quality gates" in page
    gates = json.loads((to / AREA / version / "gates.json").read_text("utf-8"))
    assert gates["passed"] is True
    assert geoseg(*arguments)[0] == 0
    code, out, _ = geoseg("versions", str(to), "--json")
    (row,) = json.loads(out)
    assert (code, row["version"], row["latest"], row["damaged"]) == (0, version, True, {})
    (tmp_path / "gates.yaml").write_text("mapped: 0.99\n")
    code, out, err = geoseg(*arguments, "--gates", str(tmp_path / "gates.yaml"))
    assert code == 4
    assert "is not published, for it fails 1 of 4 gates" in err
    assert "mapped: 96.06 % of the 30,450 pixels of the grid have a class; at least 99.00 %" in err
    report = json.loads((other.folder.root / "report.json").read_text("utf-8"))
    assert "Gate: mapped" in [finding["about"] for finding in report["findings"]]
    assert geoseg("versions", str(to), AREA, "--verify")[0] == 0
    (to / AREA / version / "quicklook.png").write_bytes(b"")
    code, out, err = geoseg("versions", str(to), AREA, "--verify")
    assert code == 2
    assert "quicklook.png: 0 bytes in place of" in err
    code, _, err = geoseg("versions", str(to), "hill")
    assert (code, "no area 'hill' is published there; there are: valley" in err) == (2, True)
    code, _, err = geoseg("versions", str(tmp_path / "nothing"))
    assert (code, "nothing is published" in err) == (2, True)
