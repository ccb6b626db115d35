"""Parts of the labels: windows agree, units stay whole, distance is kept, shares are met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from geoseg.config import SplitConfig
from geoseg.errors import ConfigError, LabelError
from geoseg.grid import Grid, Window
from geoseg.learning.split import Part, draw_parts, plan_split
from geoseg.legend import UNKNOWN

CLASSES = 4
USED = (Part.TRAIN, Part.VALIDATION, Part.TEST)


@dataclass(frozen=True)
class ArrayLabels:
    """Labels that are in memory already."""

    known: NDArray[np.int16]
    fields: NDArray[np.int32]

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        place = window.within(Window(0, 0, *self.known.shape))
        return self.known[place].copy(), self.fields[place].copy()


def _farmland(height: int, width: int, seed: int) -> ArrayLabels:
    """Rectangular fields of one class each; a third of them, and the roads, without a label."""
    random = np.random.default_rng(seed)
    known = np.full((height, width), UNKNOWN, dtype=np.int16)
    fields = np.zeros((height, width), dtype=np.int32)
    number = 0
    for row in range(0, height, 11):
        for col in range(0, width, 13):
            number += 1
            fields[row : row + 10, col : col + 12] = number
            if random.random() < 0.67:
                known[row : row + 10, col : col + 12] = random.integers(CLASSES)
    return ArrayLabels(known, fields)


def _grid(labels: ArrayLabels) -> Grid:
    return Grid(None, Affine.identity(), *labels.known.shape)


def _whole(labels: ArrayLabels, config: SplitConfig) -> NDArray[np.uint8]:
    split = plan_split(labels, _grid(labels), CLASSES, config)
    return split.parts(_grid(labels).window, labels.fields)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["tile", "field"]),
    st.tuples(*[st.integers(20, 150)] * 2),
    st.integers(8, 40),
    st.data(),
)
def test_windows_agree_with_the_whole(by, size, block, data) -> None:
    labels = _farmland(*size, seed=block)
    buffer = data.draw(st.integers(0, block))
    config = SplitConfig(by=by, tile=block, buffer=buffer, test=0.2, seed=size[0])
    split = plan_split(labels, _grid(labels), CLASSES, config)
    whole = split.parts(_grid(labels).window, labels.fields)
    row, col = (data.draw(st.integers(0, length - 1)) for length in size)
    window = Window(row, col, size[0], size[1]).clip(_grid(labels).window)
    place = window.within(_grid(labels).window)
    np.testing.assert_array_equal(split.parts(window, labels.fields[place]), whole[place])


@pytest.mark.parametrize("buffer", [0, 3, 16])
@pytest.mark.parametrize("seed", range(5))
def test_parts_keep_their_distance(buffer: int, seed: int) -> None:
    labels = _farmland(200, 240, seed)
    config = SplitConfig(tile=16, buffer=buffer, validation=0.3, test=0.3, seed=seed)
    parts = _whole(labels, config)
    for part in USED:
        near = maximum_filter(parts == part, 2 * buffer + 1)
        others = (parts != part) & (parts != Part.UNUSED)
        assert not (near & others).any()
    if buffer < 16:
        assert {*np.unique(parts)} >= {*USED}


def test_without_a_buffer_every_label_is_used() -> None:
    labels = _farmland(120, 130, seed=1)
    parts = _whole(labels, SplitConfig(tile=16, buffer=0))
    assert (parts[labels.known != UNKNOWN] != Part.UNUSED).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_field_is_in_one_part(seed: int) -> None:
    labels = _farmland(160, 170, seed)
    parts = _whole(labels, SplitConfig(by="field", test=0.2, seed=seed))
    for field in np.unique(labels.fields[labels.known != UNKNOWN]):
        assert len(np.unique(parts[labels.fields == field])) == 1
    assert not parts[labels.fields == 0].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 0.4), st.floats(0, 0.3))
def test_shares_are_met_in_every_class(seed, validation, held_back) -> None:
    random = np.random.default_rng(seed)
    counts = np.zeros((200, CLASSES), dtype=np.int64)
    counts[np.arange(200), random.choice(CLASSES, 200, p=[0.1, 0.2, 0.3, 0.4])] = random.integers(
        10, 40, 200
    )
    config = SplitConfig(validation=validation, test=held_back, seed=seed)
    parts = draw_parts(counts, config)
    for part, share in zip(USED, (1 - validation - held_back, validation, held_back), strict=True):
        got = counts[parts == part].sum(axis=0)
        # A unit holds at most 39 pixels, and no class is further off its share than a few units.
        assert (np.abs(got - share * counts.sum(axis=0)) <= 3 * 39).all()


def test_a_class_of_three_fields_is_in_every_part() -> None:
    counts = np.zeros((63, 2), dtype=np.int64)
    counts[:3, 0], counts[3:, 1] = 20, 20
    for seed in range(20):
        parts = draw_parts(counts, SplitConfig(validation=0.1, test=0.1, seed=seed))
        assert sorted(parts[:3]) == [Part.TRAIN, Part.VALIDATION, Part.TEST]


def test_a_part_without_a_share_stays_empty() -> None:
    counts = np.random.default_rng(0).integers(0, 50, (100, CLASSES))
    parts = draw_parts(counts, SplitConfig(validation=0.2, test=0.0))
    assert {*np.unique(parts)} == {Part.TRAIN, Part.VALIDATION}


def test_the_seed_moves_the_parts() -> None:
    labels = _farmland(160, 170, seed=3)
    first, again, other = (_whole(labels, SplitConfig(by="field", seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_walk_covers_the_grid_once() -> None:
    grid = Grid(None, Affine.identity(), 57, 130)
    seen = np.zeros((57, 130), dtype=int)
    for window in grid.windows(32, 32):
        seen[window.within(grid.window)] += 1
    assert (seen == 1).all()


def test_unusable_settings_and_labels_are_named() -> None:
    labels = _farmland(40, 40, seed=0)
    with pytest.raises(ConfigError, match="nothing to train on"):
        _whole(labels, SplitConfig(validation=0.6, test=0.5))
    with pytest.raises(ConfigError, match=r"split\.buffer: 17"):
        _whole(labels, SplitConfig(tile=16, buffer=17))
    bare = ArrayLabels(labels.known, np.zeros_like(labels.fields))
    with pytest.raises(LabelError, match=r"labels\.fields"):
        _whole(bare, SplitConfig(by="field"))
    empty = ArrayLabels(np.full_like(labels.known, UNKNOWN), labels.fields)
    with pytest.raises(LabelError, match="no labelled pixel"):
        _whole(empty, SplitConfig())
