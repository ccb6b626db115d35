"""Imports go down only, and neighbours on a floor leave each other alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "geoseg"
FLOORS: dict[str, int] = {
    **dict.fromkeys(
        ["errors", "grid", "legend", "tiling", "config", "normalization", "feedback", "redaction"],
        0,
    ),
    "io": 1,
    **dict.fromkeys(["imagery", "model"], 2),
    **dict.fromkeys(["engine", "learning", "product", "synthetic"], 3),
    "analysis": 4,
    "pipeline": 5,
    "diagnose": 6,
    "service": 7,
    **dict.fromkeys(["flows", "stack"], 8),
    "cli": 9,
    "__main__": 10,
}
ONLY_IMPORTERS = {
    "segmentation_models_pytorch": {"model"},
    "torch": {"model", "engine", "learning"},
    "rasterio": {"io", "imagery", "product", "analysis"},
    "pyogrio": {"io"},
    "prefect": {"flows"},
    "typer": {"cli"},
    "supervisor": {"stack"},
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    room = _room(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "geoseg" and parts[1] in FLOORS and parts[1] != room:
            same_nouns = FLOORS[room] == FLOORS[parts[1]] == 0
            assert FLOORS[parts[1]] < FLOORS[room] or same_nouns, f"{room} imports {name}"
        owners = ONLY_IMPORTERS.get(parts[0])
        assert owners is None or room in owners, f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_program_starts_when_all_is_defined(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    starts = [n for n, part in enumerate(body) if ast.unparse(part).startswith("if __name__ ==")]
    assert starts in ([], [len(body) - 1]), "what follows does not exist when it runs"


def test_every_room_has_a_floor() -> None:
    assert {_room(path) for path in FILES} <= set(FLOORS)


@pytest.mark.parametrize("path", sorted((SOURCE / "flows").glob("*.py")), ids=lambda p: p.name)
def test_flows_are_thin(path: Path) -> None:
    touched = {name.split(".")[0] for name in _imports(path)}
    assert not touched & {"numpy", "rasterio", "torch", "dask", "distributed"}


def test_the_hot_path_is_light() -> None:
    """A block is predicted with torch, segmentation-models-pytorch, numpy and rasterio (and pydantic
    and safetensors, for the job and the weights): a bare machine with a GPU needs no more."""
    code = (
        "import sys, geoseg.engine.block, geoseg.engine.planning, geoseg.model.networks as n; "
        "n._library(); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    heavy = {"dask", "distributed", "prefect", "geopandas", "pandas", "pyogrio", "shapely", "scipy",
             "sklearn", "matplotlib", "xarray", "jinja2", "typer"}  # fmt: skip
    assert not loaded & heavy
    assert {"torch", "rasterio", "segmentation_models_pytorch"} <= loaded
