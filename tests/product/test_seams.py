"""The quality of a map: seams at the borders of patches, and what is missing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.io import files
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA
from geoseg.pipeline.quality import completeness, map_quality
from geoseg.pipeline.run import Run
from geoseg.product.seams import SeamScore, seam_score
from tests.support.common import ROOT, Raster


def oracle(codes: NDArray[np.uint8], core: int) -> SeamScore:
    """Pair by pair, in exact fractions."""
    pairs: list[tuple[int, bool]] = []
    height, width = codes.shape
    for row in range(height):
        for col in range(width):
            for line, other in ((row, (row - 1, col)), (col, (row, col - 1))):
                here = int(codes[row, col])
                if min(other) >= 0 and NODATA not in (here, int(codes[other])):
                    pairs.append((line % core, here != int(codes[other])))
    places = [place for offset in range(core) if (place := _counts(pairs, offset))[0]]
    border = _counts(pairs, 0)
    score = _score(*border)
    reached = [p for p in places if p[3] == 0 or (score is not None and _least(p) >= score)]
    chance = None if score is None else len(reached) / len(places)
    return SeamScore(*border, None if score is None else float(score), chance)


def _counts(pairs: list[tuple[int, bool]], offset: int) -> tuple[int, int, int, int]:
    own = [changed for place, changed in pairs if place == offset]
    other = [changed for place, changed in pairs if place != offset]
    return len(own), sum(own), len(other), sum(other)


def _score(pairs: int, changes: int, other: int, other_changes: int) -> Fraction | None:
    if not pairs or not other_changes:
        return None
    return Fraction(changes, pairs) / Fraction(other_changes, other)


def _least(place: tuple[int, int, int, int]) -> Fraction:
    score = _score(*place)
    assert score is not None
    return score


@st.composite
def maps(draw: st.DrawFn) -> NDArray[np.uint8]:
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    codes = st.sampled_from([1, 1, 2, 7, NODATA])
    values = draw(st.lists(codes, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    return np.array(values, dtype=np.uint8).reshape(shape)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(codes=maps(), core=st.integers(1, 16), tile=st.integers(1, 16))
def test_every_pair_counts_once(
    codes: NDArray[np.uint8], core: int, tile: int, tmp_path: Path, raster: Raster
) -> None:
    """The oracle's figures, however high the strips are."""
    path = raster(tmp_path / "class.tif", codes[np.newaxis], NODATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geotiffs, "TILE", tile)
        assert seam_score(path, core) == oracle(codes, core)


def fields(side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Fields of many shapes: the nearest of random points, each with one of five classes."""
    rng = np.random.default_rng(seed)
    points = rng.random((side * side // 200, 2)) * side
    rows, cols = np.mgrid[:side, :side]
    nearest = np.zeros((side, side), np.int64)
    best = np.full((side, side), np.inf)
    for number, (row, col) in enumerate(points):
        distance = (rows - row) ** 2 + (cols - col) ** 2
        nearest[distance < best] = number
        best = np.minimum(best, distance)
    return (rng.integers(1, 6, len(points))[nearest]).astype(np.uint8)


@pytest.fixture(scope="module")
def seamless() -> NDArray[np.uint8]:
    return fields(200)


def scored(raster: Raster, path: Path, codes: NDArray[np.uint8], core: int = 64) -> SeamScore:
    return seam_score(raster(path / "class.tif", codes[np.newaxis], NODATA), core)


def ratio(score: SeamScore) -> float:
    assert score.score is not None
    return score.score


def test_fields_have_no_seam(seamless: NDArray[Any], tmp_path: Path, raster: Raster) -> None:
    found = scored(raster, tmp_path, seamless)
    assert 0.6 < ratio(found) < 1.5
    assert found.chance is not None
    assert found.chance > 0.05


def test_a_seam_is_found(seamless: NDArray[Any], tmp_path: Path, raster: Raster) -> None:
    """Each patch sees the fields up to 4 pixels off: their edges do not meet at the borders."""
    torn = seamless.copy()
    rng = np.random.default_rng(1)
    for row in range(0, 200, 64):
        for col in range(0, 200, 64):
            place = slice(row, row + 64), slice(col, col + 64)
            torn[place] = np.roll(seamless, tuple(rng.integers(-4, 5, 2)), (0, 1))[place]
    found = scored(raster, tmp_path, torn)
    assert ratio(found) > 1.7
    assert found.chance == 1 / 64
    elsewhere = scored(raster, tmp_path, torn, 40)
    assert ratio(elsewhere) < 1.3


def test_noise_scores_one(tmp_path: Path, raster: Raster) -> None:
    noise = np.random.default_rng(0).integers(1, 4, (300, 300)).astype(np.uint8)
    assert ratio(scored(raster, tmp_path, noise)) == pytest.approx(1, abs=0.05)


def test_nodata_is_no_class(seamless: NDArray[Any], tmp_path: Path, raster: Raster) -> None:
    """A cut along the very border of patches is none of the map's classes, so it is no seam."""
    cut = seamless.copy()
    cut[64], cut[:, 128] = NODATA, NODATA
    found, whole = scored(raster, tmp_path, cut), scored(raster, tmp_path, seamless)
    # Two borders are gone, and a pair where each of the other four crosses a cut.
    assert found.border_pairs == whole.border_pairs - 2 * 200 - 4
    assert found.border_changes < whole.border_changes
    empty = scored(raster, tmp_path, np.full((70, 70), NODATA, np.uint8))
    assert empty == SeamScore(0, 0, 0, 0, None, None)


@pytest.mark.parametrize("core", [200, 201, 10**12])
def test_one_patch_has_no_seam(
    seamless: NDArray[Any], tmp_path: Path, raster: Raster, core: int
) -> None:
    found = scored(raster, tmp_path, seamless, core)
    assert (found.border_pairs, found.score, found.chance) == (0, None, None)
    assert found.other_pairs == 2 * 200 * 199


def test_one_class_has_no_score(tmp_path: Path, raster: Raster) -> None:
    found = scored(raster, tmp_path, np.full((70, 70), 3, np.uint8))
    assert found == SeamScore(140, 0, 2 * 70 * 69 - 140, 0, None, None)


def test_change_only_at_a_border_has_no_score(tmp_path: Path, raster: Raster) -> None:
    """There is no rate elsewhere to compare with; the counts tell it."""
    codes = np.full((70, 70), 3, np.uint8)
    codes[64:] = 4
    found = scored(raster, tmp_path, codes)
    assert found == SeamScore(140, 70, 2 * 70 * 69 - 140, 0, None, None)


@pytest.mark.parametrize("side", [512, 600])
def test_strips_and_tiles_leave_no_trace(side: int, tmp_path: Path, raster: Raster) -> None:
    """Larger than a tile of the file; the same as counted in one piece."""
    codes = np.kron(
        np.random.default_rng(2).integers(1, 5, (side // 8, side // 8)), np.ones((8, 8))
    )
    codes = codes.astype(np.uint8)
    path = raster(tmp_path / "class.tif", codes[np.newaxis], NODATA)
    by_strips = seam_score(path, 96)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geotiffs, "TILE", side)
        assert seam_score(path, 96) == by_strips
    down, across = codes[1:] != codes[:-1], codes[:, 1:] != codes[:, :-1]
    assert by_strips.border_changes == down[95::96].sum() + across[:, 95::96].sum()
    assert by_strips.border_changes + by_strips.other_changes == down.sum() + across.sum()


def test_a_core_has_a_pixel(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 0"):
        seam_score(tmp_path / "class.tif", 0)


def test_holes_are_counted() -> None:
    found = completeness({"blocks": 12, "pixels": 1000, "missing": ["r0001_c0002"]}, 990)
    assert (found.blocks, found.planned, found.holes, found.share) == (11, 12, 10, 0.99)
    whole = completeness({"blocks": 12, "pixels": 1000}, 1000)
    assert (whole.blocks, whole.holes, whole.share) == (12, 0, 1)
    assert completeness({"blocks": 1, "pixels": 0}, 0).share is None


def test_a_run_is_judged_by_its_own_lattice(
    seamless: NDArray[Any], tmp_path: Path, raster: Raster
) -> None:
    run = Run.open(ROOT / "configs/demo.yaml", tmp_path)
    assert map_quality(run, 0) == {}
    raster(run.folder.class_map, seamless[np.newaxis], NODATA)
    files.write_json(
        run.folder.work / "predict.json", {"blocks": 4, "pixels": 200 * 200, "core": 96}
    )
    found = map_quality(run, 200 * 200)
    assert found["seam"]["core"] == 96
    assert found["seam"]["score"] == seam_score(run.folder.class_map, 96).score
    assert found["completeness"]["share"] == 1
