"""The two kinds of store do the same: a folder, and a bucket of moto's server over HTTP."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from geoseg.errors import BusyError, ConfigError, OutputError, RemoteError
from geoseg.io.store import buckets, folders
from geoseg.io.store.objects import FileDigest, Store
from geoseg.io.store.opening import open_store
from tests.support.made_run import KEYS, s3_server

JSON = "application/json"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in KEYS.items():
            patch.setenv(key, value)
        with s3_server() as url:
            boto3.client("s3", endpoint_url=url).create_bucket(Bucket="maps")
            yield url


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "destination"))
    return open_store(f"s3://maps/{tmp_path.name}/deep", request.getfixturevalue("service"))


def make(path: Path, content: bytes) -> tuple[Path, FileDigest]:
    path.write_bytes(content)
    return path, FileDigest(len(content), hashlib.sha256(content).hexdigest())


def test_files(store: Store, tmp_path: Path) -> None:
    source, known = make(tmp_path / "a.tif", os.urandom(3_000_000))
    assert not store.matches("x/v1/a.tif", known)
    assert store.sum("x/v1/a.tif") is None
    store.put(source, "x/v1/a.tif", known, "image/tiff")
    assert store.matches("x/v1/a.tif", known)
    assert not store.matches("x/v1/a.tif", FileDigest(known.size, "0" * 64))
    assert store.sum("x/v1/a.tif") == known
    assert store.url("x/v1/a.tif") == f"{store.address}/x/v1/a.tif"
    store.fetch("x/v1/a.tif", tmp_path / "back" / "a.tif")
    assert (tmp_path / "back" / "a.tif").read_bytes() == source.read_bytes()
    assert store.folders("x") == ["v1"]
    store.delete("x/v1/a.tif")
    store.delete("x/v1/a.tif")
    assert store.folders("x") == []
    with pytest.raises(OutputError):
        store.fetch("x/v1/a.tif", tmp_path / "again.tif")
    assert not (tmp_path / "again.tif").exists()


def test_a_file_that_is_not_what_its_description_says(store: Store, tmp_path: Path) -> None:
    source, known = make(tmp_path / "a.tif", b"what was described")
    make(source, b"what came after...")
    with pytest.raises(OutputError, match="changed after the run described it"):
        store.put(source, "x/a.tif", known, "image/tiff")
    if isinstance(store, folders.FolderStore):  # a bucket may hold it: nothing names it
        assert [p for p in store.path("x").rglob("*") if p.is_file()] == []


def test_texts_are_exchanged_not_overwritten(store: Store) -> None:
    assert store.read("catalog.json") is None
    assert store.write("catalog.json", "één", None)
    assert not store.write("catalog.json", "two", None)
    found = store.read("catalog.json")
    assert found is not None
    assert found.content == "één"
    assert store.write("catalog.json", "three", found.tag)
    assert not store.write("catalog.json", "four", found.tag)
    assert not store.write("other.json", "four", found.tag)
    now = store.read("catalog.json")
    assert now is not None
    assert now.content == "three"


def test_no_exchange_is_lost(store: Store) -> None:
    """Eight writers add a line each."""

    def add(line: str) -> None:
        while True:
            with store.lock("x"):
                now = store.read("x/list.json")
                if store.write(
                    "x/list.json", (now.content if now else "") + line, now.tag if now else None
                ):
                    return

    writers = [threading.Thread(target=add, args=(f"{n}\n",)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = store.read("x/list.json")
    assert found is not None
    assert sorted(found.content.split()) == [str(n) for n in range(8)]


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/a", "a//b", "", "a\\b", "."])
def test_keys_stay_inside(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="no path inside"):
        store.read(key)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "destination"))
    source, known = make(tmp_path / "a", b"a")
    with pytest.raises(RuntimeError), store.staged("x/v1") as stage:
        store.put(source, f"{stage}/a", known, JSON)
        raise RuntimeError
    assert store.folders("x") == []
    assert not list((tmp_path / "destination/x").iterdir())
    with store.staged("x/v1") as stage:
        store.put(source, f"{stage}/a", known, JSON)
        assert store.folders("x") == []
    assert store.folders("x") == ["v1"]
    assert store.matches("x/v1/a", known)


def test_who_waits_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "PATIENCE", 0.1)
    code = (
        "import sys, time; from geoseg.io.store.opening import open_store\n"
        "with open_store(sys.argv[1]).lock('x'): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        with (
            pytest.raises(BusyError, match="another publisher"),
            open_store(str(tmp_path)).lock("x"),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
    with open_store(str(tmp_path)).lock("x"):
        pass


def test_large_files_go_in_parts(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "SINGLE", 20 << 20)
    source, known = make(tmp_path / "large.tif", os.urandom(23 << 20))
    store = open_store("s3://maps", service)
    store.put(source, "x/large.tif", known, "image/tiff")
    assert store.matches("x/large.tif", known)
    assert store.sum("x/large.tif") == known
    found = boto3.client("s3", endpoint_url=service).head_object(Bucket="maps", Key="x/large.tif")
    assert found["ETag"].endswith('-5"')
    assert found["ContentType"] == "image/tiff"


def test_mistakes_and_failures_are_told_apart(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, known = make(tmp_path / "a", b"a")
    with pytest.raises(ConfigError, match="neither a folder nor s3://"):
        open_store("gs://maps")
    with pytest.raises(ConfigError, match="endpoint"):
        open_store("s3://maps", "not a url")
    with pytest.raises(ConfigError, match="no such bucket"):
        open_store("s3://other", service).put(source, "a", known, JSON)
    monkeypatch.setattr(buckets, "ATTEMPTS", 1)
    with pytest.raises(RemoteError, match="did not answer") as raised:
        open_store("s3://maps", "http://127.0.0.1:9").read("a")
    assert raised.value.retryable
    for key in KEYS:
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://maps", service).read("a")


def test_the_key_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setattr(buckets, "ATTEMPTS", 1)
    with pytest.raises(ConfigError, match="holds credentials") as mistake:
        open_store("s3://maps", "http://user:planted-secret@127.0.0.1:9")
    with pytest.raises(RemoteError) as failure:
        open_store("s3://maps", "http://127.0.0.1:9").read("a")
    assert "planted" not in f"{mistake.value} {failure.value}"


def test_without_boto3(tmp_path: Path) -> None:
    """The extra is named, with its remedy; a folder does without."""
    (tmp_path / "boto3.py").write_text("raise ImportError('No module named boto3')")
    code = "from geoseg.io.store.opening import open_store as o; o('out'); o('s3://maps')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert "pip install 'geoseg[s3]'" in done.stderr
    assert "ConfigError" in done.stderr
