"""A virtual environment for each peer, made from its requirements file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
SHARED = "common"
"""Name of what all runners, and all requirements files, build upon; no peer itself."""


def peer_names() -> tuple[str, ...]:
    """Every peer: each has a runner and a requirements file."""
    names = {path.stem for path in PEERS.glob("*.txt")} - {SHARED}
    return tuple(sorted(names))


def prepare(name: str, folder: Path, base: Path | None) -> Path:
    """The Python of a peer's environment under ``folder``, made where it is not there yet.

    ``base`` is the Python of an environment to borrow packages from (torch is 5 GB): what it has and
    the requirements accept is not installed again. Nothing is ever installed into it. Raises
    ``subprocess.CalledProcessError`` where the requirements cannot be installed.
    """
    place = folder / name
    python = place / "bin" / "python"
    wanted = _requirements(name) + str(base)
    stamp = place / "ready.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"environment of {name}: {place}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
    if base:
        (_packages(python) / "base.pth").write_text(f"{_packages(base)}\n")
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*install, "-r", PEERS / f"{name}.txt"], check=True)
    stamp.write_text(wanted)
    return python


def _requirements(name: str) -> str:
    return "".join((PEERS / f"{part}.txt").read_text() for part in (SHARED, name))


def _packages(python: Path) -> Path:
    """The folder of an environment's packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    result = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return Path(result.stdout.strip())
