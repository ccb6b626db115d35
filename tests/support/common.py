"""What nearly every test file may need: the repository's root, types of fixtures, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

ROOT = Path(__file__).parents[2]

Raster = Callable[..., Path]
"""``raster(path, values, nodata=None, bands=(), grid=None)``; see ``tests/conftest.py``."""

Site = Callable[[], tuple[str, list[str]]]
"""``site()``: a host's address, and what was asked of it so far."""


def run_geoseg(*arguments: str, env: dict[str, str] | None = None) -> CompletedProcess[str]:
    """The command line in a process of its own, from the root of the project."""
    return subprocess.run(
        [sys.executable, "-m", "geoseg", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        check=False,
    )
