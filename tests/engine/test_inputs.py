"""What the network is fed when mapping is what it was fed in training, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.engine.inputs import preprocess, to_device
from geoseg.imagery.cube import Cube, to_features
from geoseg.normalization import Normalization

CPU = torch.device("cpu")


def _cube(dates: int, bands: int, height: int, width: int, dtype: str, seed: int) -> Cube:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 250, (dates, bands, height, width)).astype(dtype)
    valid = rng.random((dates, height, width)) > 0.2
    if np.issubdtype(values.dtype, np.floating):
        values[:, 0][~valid] = np.nan
    return Cube(values, valid)


def _normalization(channels: int, transform: str) -> Normalization:
    rng = np.random.default_rng(channels)
    return Normalization.model_validate(
        {
            "transform": transform,
            "knee": tuple(
                rng.uniform(0.5, 9, channels) if transform == "asinh" else [1] * channels
            ),
            "mean": tuple(rng.normal(size=channels)),
            "std": tuple(rng.uniform(0.1, 900, channels)),
        }
    )


@settings(max_examples=40, deadline=None)
@given(
    dates=st.integers(1, 3),
    bands=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]),
    stride=st.sampled_from([8, 32]),
    seed=st.integers(0, 9),
)
def test_same_numbers_as_in_training(
    dates: int, bands: int, height: int, width: int, dtype: str, stride: int, seed: int
) -> None:
    cube = _cube(dates, bands, height, width, dtype, seed)
    normalization = _normalization(dates * bands, "none")
    expected, _ = to_features(cube, normalization)
    pads = [(0, 0), (0, -height % stride), (0, -width % stride)]
    expected = np.pad(expected, pads, mode="reflect")
    given_to_network = preprocess(to_device(cube, CPU), normalization, stride, "fp32")
    assert given_to_network.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(given_to_network[0].numpy(), expected)
    half = preprocess(to_device(cube, CPU), normalization, stride, "bf16")
    assert torch.equal(half[0], torch.from_numpy(expected).bfloat16())


def test_asinh_is_the_same_to_a_hair() -> None:
    cube = _cube(2, 2, 33, 47, "float32", seed=1)
    normalization = _normalization(4, "asinh")
    expected, _ = to_features(cube, normalization)
    found = preprocess(to_device(cube, CPU), normalization, 1, "fp32")[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def test_the_raw_values_stay_as_they_are() -> None:
    """The same pixels feed every member of an ensemble."""
    cube = _cube(2, 2, 20, 20, "float32", seed=2)
    before = cube.values.copy()
    preprocess(to_device(cube, CPU), _normalization(4, "none"), 32, "fp32")
    np.testing.assert_array_equal(cube.values, before)


@pytest.mark.parametrize("part", [(slice(3, 9), slice(0, 20)), (slice(0, 1), slice(7, 8))])
def test_a_part_of_a_block_is_that_part(part: tuple[slice, slice]) -> None:
    cube = _cube(2, 3, 20, 20, "uint16", seed=3)
    cut = Cube(cube.values[:, :, *part].copy(), cube.valid[:, *part].copy())
    normalization = _normalization(6, "none")
    assert torch.equal(
        preprocess(to_device(cube, CPU)[part], normalization, 8, "fp32"),
        preprocess(to_device(cut, CPU), normalization, 8, "fp32"),
    )
