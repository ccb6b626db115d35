"""Margin and entropy of a map: by their definitions, on the corners of the simplex and inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import entropy as scipy_entropy

from geoseg.engine.stitch import decide, entropy, margin
from geoseg.legend import NODATA, Legend, LegendClass
from tests.support.engine_season import make_bundle, make_imagery, plan, predict_here, whole_map

shares = st.integers(2, 12).flatmap(
    lambda k: npst.arrays(np.float32, (k, 3, 4), elements=st.floats(0, 1, width=32))
)


def normalized(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64) + 1e-30
    return (values / values.sum(axis=0)).astype(np.float32)


@given(values=shares)
@settings(deadline=None)
def test_margin_and_entropy(values: np.ndarray) -> None:
    probabilities = normalized(values)
    tensor = torch.from_numpy(probabilities)
    best = np.sort(probabilities, axis=0)
    np.testing.assert_allclose(margin(tensor), best[-1] - best[-2], atol=1e-7)
    expected = scipy_entropy(probabilities.astype(np.float64), axis=0, base=len(probabilities))
    np.testing.assert_allclose(entropy(tensor), expected, atol=3e-5)


@pytest.mark.parametrize("k", range(2, 40))
def test_the_ends_of_the_scales(k: int) -> None:
    """Certain, undecided between two, and nothing known."""
    corners = np.zeros((k, 1, 3), np.float32)
    corners[0, 0, 0] = 1
    corners[:2, 0, 1] = 0.5
    corners[:, 0, 2] = np.float32(1) / np.float32(k)
    legend = Legend(tuple(LegendClass(i, f"c{i}", "#000000") for i in range(k)))
    found = decide(
        torch.from_numpy(corners), np.ones((1, 3), bool), legend, ("confidence_margin", "entropy")
    )
    assert found[1:, 0, 0].tolist() == [100, 100, 0]
    assert found[2, 0, 1:].tolist() == [0, 0]
    assert found[3, 0, 2] == 100


def test_in_a_block_behind_class_and_confidence(tmp_path_factory: pytest.TempPathFactory) -> None:
    imagery = make_imagery(tmp_path_factory.mktemp("imagery"))
    bundle = make_bundle(tmp_path_factory.mktemp("bundle"), 1)
    work = tmp_path_factory.mktemp("work")
    whole = plan(imagery, bundle, work, ("confidence_margin", "entropy", "probabilities")).job
    plain, one = plan(imagery, bundle, work).job, plan(imagery, bundle, work, ("entropy",)).job
    assert len({job.fingerprint for job in (whole, plain, one)}) == 3
    assert len({job.run_id for job in (whole, plain, one)}) == 1
    for job in (whole, plain, one):
        predict_here(job)
    every, two, three = whole_map(whole), whole_map(plain), whole_map(one)
    np.testing.assert_array_equal(every[:2], two)
    np.testing.assert_array_equal(every[[0, 1, 3]], three)
    mapped = every[0] != NODATA
    assert (every[:, ~mapped] == NODATA).all()
    percents = np.sort(every[4:, mapped].astype(int), axis=0)
    assert np.abs(every[2, mapped] - (percents[-1] - percents[-2])).max() <= 1


def test_the_run_is_the_same_however_it_is_cut(tmp_path_factory: pytest.TempPathFactory) -> None:
    imagery = make_imagery(tmp_path_factory.mktemp("imagery"))
    copy = make_imagery(tmp_path_factory.mktemp("elsewhere"))
    bundle = make_bundle(tmp_path_factory.mktemp("bundle"), 1)
    work = tmp_path_factory.mktemp("work")
    first = plan(imagery, bundle, work).job
    assert plan(imagery, bundle, work, block=32).job.run_id == first.run_id
    assert plan(copy, bundle, work).job.run_id == first.run_id
    assert plan(imagery, bundle, work, margin=0).job.run_id != first.run_id
