"""The map must not know that it was made in pieces.

A network with real context (a U-Net, three stages deep), so that a wrong margin, a shifted lattice
or a border that is filled instead of clipped shows at once; with random and with trained weights.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.engine.stitch import stitch
from geoseg.grid import Window
from geoseg.model.networks import NetworkSpec, build
from geoseg.model.predictor import Predictor
from geoseg.tiling import Lattice, Plan

SPEC = NetworkSpec(encoder="resnet18", depth=3, decoder_channels=(16, 12, 8), channels=3, classes=4)
REACH = 80
"""Pixels around one that can change its prediction in this network; measured by `test_reach`."""


def _train(network: torch.nn.Module) -> None:
    """A few real steps: weights and the batch norms' statistics are no longer the initial ones."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    network.train()
    for step in range(12):
        x = torch.randn(4, SPEC.channels, 64, 64, generator=torch.Generator().manual_seed(step))
        y = (x[:, 0] + x[:, 1].roll(3, -1) > 0).long() + 2 * (x[:, 2] > 0.5).long()
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(scope="module", params=["random", "trained"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build(SPEC)
    if request.param == "trained":
        _train(network)
    return Predictor(network.eval(), SPEC.stride)


def _scene(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(SPEC.channels, height, width)).astype(np.float32)


def _tiled(features: np.ndarray, predictor: Predictor, plan: Plan) -> np.ndarray:
    """Block by block through the engine's own stitching, as a run does it."""
    out = np.full((SPEC.classes, *features.shape[1:]), np.nan, dtype=np.float32)
    for block in plan:
        rows, cols = block.extent.within(plan.lattice.window)
        piece = stitch(
            features[:, rows, cols],
            block.extent,
            block.core,
            plan.lattice,
            predictor.probabilities,
        )
        out[:, *block.core.within(plan.lattice.window)] = piece
    return out


def _plan(shape: tuple[int, int], core: int, margin: int, blocks: int) -> Plan:
    return Plan(Lattice(*shape, core=core, margin=margin, stride=SPEC.stride), core * blocks)


def test_reach(predictor: Predictor) -> None:
    """REACH is what the gradient says, and not much more: the tests below rest on it."""
    x = torch.from_numpy(_scene(320, 320, seed=1))[None].requires_grad_()
    reached = 0
    for shift in range(SPEC.stride):
        (grad,) = torch.autograd.grad(predictor.network(x)[0, :, 160 + shift, 160].sum(), x)
        touched = grad[0].abs().sum(0).nonzero()
        reached = max(reached, int((touched - torch.tensor([160 + shift, 160])).abs().max()))
    assert REACH - 2 * SPEC.stride <= reached <= REACH


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 230),
    width=st.integers(1, 230),
    core=st.sampled_from([32, 64, 104]),
    blocks=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_any_scene_any_blocks(
    predictor: Predictor, height: int, width: int, core: int, blocks: int, seed: int
) -> None:
    features = _scene(height, width, seed)
    whole = predictor.probabilities(features[np.newaxis])[0]
    tiled = _tiled(features, predictor, _plan((height, width), core, REACH, blocks))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tiled.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 130), (7, 5), (129, 65), (65, 128), (97, 131)], ids=str
)
def test_remainders_and_tiny_scenes(predictor: Predictor, shape: tuple[int, int]) -> None:
    features = _scene(*shape, seed=9)
    whole = predictor.probabilities(features[np.newaxis])[0]
    tiled = _tiled(features, predictor, _plan(shape, 64, REACH, 1))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)


def test_block_size_moves_no_bit(predictor: Predictor) -> None:
    features = _scene(210, 190, seed=3)
    maps = [_tiled(features, predictor, _plan((210, 190), 32, 32, n)) for n in (1, 2, 4, 7)]
    for other in maps[1:]:
        assert np.array_equal(maps[0], other)


def test_too_small_a_margin_is_seen(predictor: Predictor) -> None:
    """The comparison can fail: with a margin inside the reach, pieces differ from the whole."""
    features = _scene(200, 200, seed=4)
    whole = predictor.probabilities(features[np.newaxis])[0]
    tiled = _tiled(features, predictor, _plan((200, 200), 64, 16, 1))
    assert np.abs(tiled - whole).max() > 1e-4


def test_a_shifted_patch_is_seen(predictor: Predictor) -> None:
    """A patch off the stride samples another phase: why origins are multiples of the stride."""
    features = _scene(200, 200, seed=4)
    whole = predictor.probabilities(features[np.newaxis])[0]
    inner = Window(3, 3, 192, 192)
    shifted = predictor.probabilities(features[np.newaxis, :, 3:195, 3:195])[0]
    middle = Window(96, 96, 8, 8)
    a = whole[:, *middle.within(Window(0, 0, 200, 200))]
    b = shifted[:, *middle.within(inner)]
    assert np.abs(a - b).max() > 1e-4
