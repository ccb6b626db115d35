"""The fixed statistics of a model's input, fitted once over its training samples."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.learning.samples import Samples, numbers_in_turn
from geoseg.normalization import Normalization

MOST_SAMPLES = 256
"""Samples looked at; with more, evenly spread ones."""
KNEE_PIXELS = 400
"""Pixels per date and sample whose median sets the knee."""


def fit_normalization(samples: Samples, transform: Literal["none", "asinh"]) -> Normalization:
    """Mean and standard deviation of each channel over the valid pixels of the samples.

    For ``asinh`` the knee is the median of the absolute values, so half of the pixels lie in the
    linear part. A channel that is constant or never valid gets mean 0 (or its value) and std 1.
    """
    channels = samples.values.shape[1] * samples.values.shape[2]
    knee = _knees(samples) if transform == "asinh" else np.ones(channels)
    plain = Normalization(
        transform=transform, knee=_floats(knee), mean=(0.0,) * channels, std=(1.0,) * channels
    )
    count, total, squares = (np.zeros(channels) for _ in range(3))
    for number in numbers_in_turn(len(samples), MOST_SAMPLES):
        added = _sums(samples, number, plain)
        count, total, squares = count + added[0], total + added[1], squares + added[2]
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    std[std <= 1e-6 * np.abs(mean)] = 1
    return plain.model_copy(update={"mean": _floats(mean), "std": _floats(std)})


def _sums(
    samples: Samples, number: int, plain: Normalization
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Per channel: valid pixels of a sample, their sum and their sum of squares."""
    cube = samples.cube(number)
    dates, bands, height, width = cube.values.shape
    stretched = plain.stretch(cube.values.reshape(dates * bands, height, width))
    by_date = stretched.reshape(dates, bands, -1).astype(np.float64)
    by_date[np.broadcast_to(~cube.valid.reshape(dates, 1, -1), by_date.shape)] = 0
    count = np.repeat(cube.valid.sum(axis=(1, 2)), bands).astype(np.float64)
    return count, by_date.sum(axis=2).ravel(), np.square(by_date).sum(axis=2).ravel()


def _knees(samples: Samples) -> NDArray[np.float64]:
    """Median absolute value of each channel over a subsample of valid pixels; 1 where it is 0."""
    random = np.random.default_rng(0)
    _, dates, bands = samples.values.shape[:3]
    drawn: list[list[NDArray[Any]]] = [[] for _ in range(dates)]
    for number in numbers_in_turn(len(samples), MOST_SAMPLES):
        cube = samples.cube(number)
        for date, kept in enumerate(drawn):
            rows, cols = np.nonzero(cube.valid[date])
            some = random.choice(len(rows), min(len(rows), KNEE_PIXELS), replace=False)
            kept.append(np.abs(cube.values[date][:, rows[some], cols[some]].astype(np.float64)))
    stacks = [np.concatenate(kept, axis=1) for kept in drawn]
    medians = [np.median(s, axis=1) if s.size else np.zeros(bands) for s in stacks]
    knees = np.concatenate(medians)
    return np.where(knees > 0, knees, 1.0)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
