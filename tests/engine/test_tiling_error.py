"""What a model card says a margin costs: counted here once more, patch by patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.engine import tiling_error
from geoseg.engine.stitch import stitch
from geoseg.grid import Window
from geoseg.imagery.cube import Cube, to_features
from geoseg.imagery.scenes import select
from geoseg.io.raster import rasters
from geoseg.model.bundle import load
from tests.support.engine_season import BANDS, make_bundle, make_imagery

SIDE, CORE, MARGIN = 128, 64, 16


def _counted(imagery: Path, bundle: Path) -> tuple[int, int]:
    """Pixels with data in the middle of the grid, and those whose class the patches change."""
    card, network = load(bundle)
    window = Window(11, 37, SIDE, SIDE)
    read = [
        rasters.read(p, range(1, len(BANDS) + 1), window) for p in sorted(imagery.glob("*.tif"))
    ]
    cube = Cube(*(np.stack(parts) for parts in zip(*read, strict=True)))
    features, mapped = to_features(cube, card.normalization)

    @torch.inference_mode()
    def classes(rows: slice, cols: slice) -> np.ndarray:
        return network(torch.from_numpy(features[None, :, rows, cols]))[0].argmax(dim=0).numpy()

    tiled = np.empty((SIDE, SIDE), dtype=int)
    for row in range(0, SIDE, CORE):
        for col in range(0, SIDE, CORE):
            top, left = max(0, row - MARGIN), max(0, col - MARGIN)
            found = classes(slice(top, row + CORE + MARGIN), slice(left, col + CORE + MARGIN))
            kept = found[row - top : row - top + CORE, col - left : col - left + CORE]
            tiled[row : row + CORE, col : col + CORE] = kept
    differs = (tiled != classes(slice(None), slice(None))) & mapped
    return int(mapped.sum()), int(differs.sum())


def test_the_seam_error_is_what_the_patches_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagery, bundle = make_imagery(tmp_path / "season"), make_bundle(tmp_path / "model")
    monkeypatch.setattr(tiling_error, "SIDE", SIDE)
    monkeypatch.setattr(tiling_error, "CORE", CORE)
    teams: set[int] = set()

    def witnessed(*arguments: object) -> torch.Tensor:
        teams.add(torch.get_num_threads())
        return stitch(*arguments)

    monkeypatch.setattr(tiling_error, "stitch", witnessed)
    torch.set_num_threads(3)
    found = tiling_error.measure_tiling_error(bundle, select(imagery), MARGIN)
    pixels, differs = _counted(tmp_path / "season", bundle)
    assert found is not None
    assert found.pixels == pixels
    assert differs > 20
    # Channels last, the network rounds otherwise: a tie or two may fall to the other class.
    assert found.share * pixels == pytest.approx(differs, abs=3)
    assert teams == {1}, "threads of a network wait for one another"
