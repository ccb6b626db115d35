"""Scores against scikit-learn's, and the loss against what it must not look at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from geoseg.learning.augment import SYMMETRIES, drop_dates, orient
from geoseg.learning.losses import class_weights, masked_cross_entropy
from geoseg.learning.metrics import Scores, count_confusion
from geoseg.legend import UNKNOWN, Legend, LegendClass

CLASSES = 5
LEGEND = Legend(tuple(LegendClass(10 * i, f"crop {i}", "#123456") for i in range(CLASSES)))


def _scores(reference, predicted) -> Scores:
    return Scores(LEGEND, count_confusion(reference, predicted, CLASSES))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, CLASSES), st.floats(0, 1))
def test_figures_equal_those_of_scikit_learn(seed, present, noise) -> None:
    random = np.random.default_rng(seed)
    reference = random.integers(0, present, 300)
    predicted = np.where(random.random(300) < noise, random.integers(0, CLASSES, 300), reference)
    scores = _scores(reference.reshape(15, 20), predicted.reshape(15, 20))
    held = np.unique(reference)
    options = {"labels": held, "average": "macro", "zero_division": 0}
    assert scores.pixels == 300
    assert scores.overall_accuracy == pytest.approx(oracle.accuracy_score(reference, predicted))
    assert scores.kappa == pytest.approx(oracle.cohen_kappa_score(reference, predicted))
    assert scores.mean_iou == pytest.approx(oracle.jaccard_score(reference, predicted, **options))
    assert scores.macro_f1 == pytest.approx(oracle.f1_score(reference, predicted, **options))
    assert scores.mean_class_accuracy == pytest.approx(
        oracle.recall_score(reference, predicted, **options)
    )
    precision = oracle.precision_score(
        reference, predicted, labels=range(CLASSES), average=None, zero_division=np.nan
    )
    np.testing.assert_allclose(scores.precision, precision)


def test_unknown_pixels_are_in_no_score() -> None:
    reference = np.array([0, 1, UNKNOWN, 2, UNKNOWN, 1])
    predicted = np.array([0, 1, 3, UNKNOWN, UNKNOWN, 0])
    scores = _scores(reference, predicted)
    assert scores.pixels == 3
    assert scores.overall_accuracy == pytest.approx(2 / 3)


def test_the_dictionary_holds_plain_numbers_and_raster_codes() -> None:
    found = _scores(np.array([0, 0, 2]), np.array([0, 2, 2])).to_dict()
    assert found["pixels"] == 3
    assert found["mean_iou"] == 0.5
    assert [entry["code"] for entry in found["classes"]] == [0, 10, 20, 30, 40]
    assert found["classes"][0] == {
        "code": 0, "name": "crop 0", "pixels": 2, "iou": 0.5, "precision": 1.0, "recall": 0.5,
        "f1": pytest.approx(2 / 3, abs=1e-6),
    }  # fmt: skip
    assert found["classes"][1]["recall"] is None
    assert found["confusion"][0] == [1, 0, 1, 0, 0]


def test_nothing_compared_gives_no_figure() -> None:
    found = _scores(np.array([UNKNOWN]), np.array([1])).to_dict()
    assert found["overall_accuracy"] is None
    assert found["kappa"] is None
    assert found["mean_iou"] is None


def test_unknown_pixels_have_no_share_in_loss_and_gradient() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 8, 9, generator=random, requires_grad=True)
    target = torch.randint(0, CLASSES, (2, 8, 9), generator=random)
    target[torch.rand(target.shape, generator=random) < 0.7] = UNKNOWN
    weights = torch.tensor([0.2, 1.0, 3.0, 0.5, 1.5])
    loss = masked_cross_entropy(logits, target, weights)
    known = target != UNKNOWN
    alone = torch.nn.functional.cross_entropy(logits.movedim(1, -1)[known], target[known], weights)
    assert float(loss.detach()) == pytest.approx(float(alone.detach()))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient.movedim(1, -1)[~known].any()
    assert gradient.movedim(1, -1)[known].any(dim=1).all()
    moved = logits.detach() + 100 * (~known)[:, None] * torch.arange(CLASSES)[:, None, None]
    assert masked_cross_entropy(moved, target, weights) == pytest.approx(float(loss.detach()))


def test_a_batch_of_unknown_pixels_moves_nothing() -> None:
    logits = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((1, 4, 4), UNKNOWN), torch.ones(CLASSES))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_class_weights_average_one_over_the_classes_that_occur() -> None:
    pixels = np.array([100, 400, 0, 1600, 0])
    np.testing.assert_array_equal(class_weights(pixels, "none"), 1)
    root = class_weights(pixels, "sqrt")
    np.testing.assert_allclose(root[[0, 1, 3]].mean(), 1, rtol=1e-6)
    np.testing.assert_allclose(root[0] / root[[1, 3]], [2, 4], rtol=1e-6)
    whole = class_weights(pixels, "balanced")
    np.testing.assert_allclose(whole[0] / whole[[1, 3]], [4, 16], rtol=1e-6)


def test_the_eight_symmetries_differ_and_move_planes_alike() -> None:
    image = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    turned = [orient(image, symmetry) for symmetry in range(SYMMETRIES)]
    assert len({plane.tobytes() for plane in turned}) == SYMMETRIES
    for symmetry, plane in enumerate(turned):
        np.testing.assert_array_equal(plane[1, 2], orient(image[1, 2], symmetry))


def test_dropped_dates_leave_one_with_data() -> None:
    random = np.random.default_rng(0)
    valid = np.ones((6, 3, 3), dtype=bool)
    valid[4:] = False
    dropped = 0
    for _ in range(200):
        seen = drop_dates(valid, 0.8, random)
        assert seen.any()
        assert not (seen & ~valid).any()
        whole = seen.all(axis=(1, 2)) | ~seen.any(axis=(1, 2))
        assert whole.all()
        dropped += 4 - int(seen[:4].all(axis=(1, 2)).sum())
    assert dropped / (200 * 4) == pytest.approx(0.8 - 0.8**4 / 4, abs=0.04)
    np.testing.assert_array_equal(drop_dates(valid, 0.0, random), valid)
