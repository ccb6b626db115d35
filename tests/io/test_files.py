"""Files are whole or not there, whatever happens to the writer; configs are read strictly."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geoseg.errors import ConfigError, OutputError
from geoseg.io import configs, files


def test_replacing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.txt"
    with files.replacing(path) as part:
        assert part.parent == path.parent
        assert part.suffix == ".txt"
        part.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    files.write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


def write_and_fail(path: Path, text: str, error: Exception) -> None:
    with files.replacing(path) as part:
        if text:
            part.write_text(text)
        raise error


@pytest.mark.parametrize("wrote", ["", "half"])
def test_failing_body(tmp_path: Path, wrote: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(path, wrote, ZeroDivisionError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_body_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"x\.txt: cannot be written"),
        files.replacing(tmp_path / "x.txt"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "Choose another --output"),
        (errno.EROFS, "Choose another --output"),
        (errno.EIO, "run the same command again"),
    ],
)
def test_remedies(tmp_path: Path, number: int, remedy: str) -> None:
    path = tmp_path / "x.txt"
    with pytest.raises(OutputError, match=rf"x\.txt: .*{remedy}"):
        write_and_fail(path, "half", OSError(number, os.strerror(number)))
    assert list(tmp_path.iterdir()) == []


def test_another_file_in_the_way_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other" / "in.txt"
    with (
        pytest.raises(OutputError, match=r"x\.txt: .*No such file.*in\.txt"),
        files.replacing(tmp_path / "x.txt"),
    ):
        other.read_text()


def test_the_place_is_taken(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder: cannot be written"):
        files.write_text(tmp_path / "folder", "x")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot be written"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="deep: cannot be written"):
        files.write_text(tmp_path / "file" / "deep" / "x.txt", "x")
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        files.write_text(tmp_path / ("x" * 300), "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


WRITER = """
import sys, time; from pathlib import Path; from geoseg.io import files
with files.replacing(Path(sys.argv[1])) as part:
    with part.open("w") as handle:
        for _ in range(1000):
            handle.write("x" * 1000); handle.flush()
        print("written", flush=True); time.sleep(60)
"""


def test_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    # What is left of the half is hidden, and no later write stumbles over it.
    assert all(p == path or p.name.startswith(".") for p in tmp_path.iterdir())
    files.write_text(path, "new")
    assert path.read_text() == "new"


RIVAL = """
import sys; from pathlib import Path; from geoseg.io import files
for _ in range(150):
    files.write_text(Path(sys.argv[1]), sys.argv[2] * 200_000)
"""


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Every look at the file finds it whole, from one writer or the other."""
    path = tmp_path / "x.txt"
    rivals = [subprocess.Popen([sys.executable, "-c", RIVAL, str(path), letter]) for letter in "ab"]
    seen = set()
    while any(rival.poll() is None for rival in rivals):
        if path.exists():
            text = path.read_text()
            assert len(text) == 200_000
            assert len(set(text)) == 1
            seen.add(text[0])
        time.sleep(0.001)
    assert [rival.returncode for rival in rivals] == [0, 0]
    assert seen == {"a", "b"}
    assert list(tmp_path.iterdir()) == [path]


LIMITED = """
import sys; from pathlib import Path; from geoseg.io import files; from geoseg.errors import OutputError
try:
    files.write_text(Path(sys.argv[1]), "x" * 300_000)
except OutputError as error:
    print(error)
"""


def test_no_room(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "x.txt: cannot be written: File too large" in done.stdout
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": "Grünland"}
    files.write_json(tmp_path / "x.json", content)
    assert files.read_json(tmp_path / "x.json") == content
    assert list(json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))) == ["b", "a"]
    assert files.read_json(tmp_path / "none.json") is None
    for torn in (b"", b'{"a": 1', b"\xff\xfe\x00"):
        (tmp_path / "torn.json").write_bytes(torn)
        assert files.read_json(tmp_path / "torn.json") is None


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "x") == known
    assert files.digest({"a": 1, "b": 2}) == files.digest({"b": 2, "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 1.5})


# Configs.

HEAD = "name: x\nmodel: {bundle: m}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "imagery: {folder: a, dates: [2025-02-30]}", r"imagery\.dates\.0: .*'2025-02-30'"),
        (HEAD + "imagery: {folder: a}\nimagery: {folder: b}", "'imagery' is there twice.*line 4"),
        (HEAD + "imagery: {folder: a, folder: b}", "'folder' is there twice"),
        (HEAD + "imagery: {folder: a", r"not valid YAML: .*line 3"),
        (HEAD + "imagery: {folder: a}\n? [a, b]\n: c", "not valid YAML"),
        (HEAD + "imagery: !!python/object:os.system {}", "not valid YAML"),
        (HEAD + "imagery: {folder: a}\n1: c", "1: Keys should be strings"),
        (
            HEAD + "imagery: &x\n  folder: *x",
            "an alias stands inside of what it stands for.*line 3",
        ),
        ("- a", "a mapping of keys, not list"),
        ("", "a mapping of keys, not NoneType"),
    ],
)
def test_bad_configs(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        configs.load(path)
    assert str(caught.value).startswith(str(path))


def test_dates_are_dates(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + "imagery: {folder: a, dates: [2025-02-03, '2025-02-04']}")
    assert [str(day) for day in configs.load(path).imagery.dates] == ["2025-02-03", "2025-02-04"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_config(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD)
    path.chmod(0)
    with pytest.raises(ConfigError, match=r"x\.yaml cannot be read"):
        configs.load(path)
