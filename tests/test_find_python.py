"""`make` looks for a Python that fits and runs: whichever is on PATH, or one of pyenv's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.common import ROOT

RUNS = f'exec "{sys.executable}" "$@"'
SHIM = "echo 'pyenv: command not found' >&2; exit 127"
OLD = f"""exec "{sys.executable}" -c 'import sys; sys.version_info = (3, 11); exec(sys.argv[2])' "$@" """


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _find(folder: Path, given: str = "") -> CompletedProcess[str]:
    environment = {"PATH": str(folder), "PYENV_ROOT": str(folder / "pyenv"), "HOME": str(folder)}
    return subprocess.run(
        [ROOT / ".ci/find-python", given],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("broken", [SHIM, OLD])
def test_one_that_does_not_fit_is_passed_over(tmp_path: Path, broken: str) -> None:
    _program(tmp_path / "python3.13", broken)
    _program(tmp_path / "python3.12", RUNS)
    assert _find(tmp_path).stdout == "python3.12\n"


def test_those_of_pyenv_come_last(tmp_path: Path) -> None:
    of_pyenv = _program(tmp_path / "pyenv/versions/3.12.9/bin/python", RUNS)
    _program(tmp_path / "python3.12", SHIM)
    assert _find(tmp_path).stdout == f"{of_pyenv}\n"
    _program(tmp_path / "python3", RUNS)
    assert _find(tmp_path).stdout == "python3\n"


def test_what_is_given_wins_and_must_fit(tmp_path: Path) -> None:
    _program(tmp_path / "python3.13", RUNS)
    mine, old = _program(tmp_path / "mine", RUNS), _program(tmp_path / "old", OLD)
    assert _find(tmp_path, str(mine)).stdout == f"{mine}\n"
    refused = _find(tmp_path, str(old))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"PYTHON={old}" in refused.stderr


def test_none_is_there(tmp_path: Path) -> None:
    found = _find(tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert "make PYTHON=" in found.stderr
