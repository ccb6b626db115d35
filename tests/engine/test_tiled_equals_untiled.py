"""The map must not know that it was made in pieces.

A network with real context (a U-Net, three stages deep), so that a wrong margin, a shifted lattice
or a border that is filled instead of clipped shows at once; with random and with trained weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geoseg.config import ClassEntry
from geoseg.engine.ensemble import Ensemble
from geoseg.engine.inputs import RawPatch, to_device
from geoseg.engine.stitch import stitch
from geoseg.grid import Window
from geoseg.imagery.cube import Cube
from geoseg.model.bundle import ModelCard
from geoseg.model.networks import NetworkSpec, build
from geoseg.model.predictor import Predictor
from geoseg.normalization import Normalization
from geoseg.tiling import Block, Lattice, Plan

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
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build(SPEC)
    if request.param == "trained":
        _train(network)
    return network.eval()


@pytest.fixture(scope="module")
def ensemble(network: torch.nn.Module) -> Ensemble:
    return _ensemble(network)


def _ensemble(network: torch.nn.Module, flips: bool = False) -> Ensemble:
    card = ModelCard(
        network=SPEC,
        bands=("a", "b", "c"),
        dates=("only",),
        normalization=Normalization(transform="none", knee=(1,) * 3, mean=(0,) * 3, std=(1,) * 3),
        classes=tuple(ClassEntry(code=c, name=str(c)) for c in range(SPEC.classes)),
    )
    return Ensemble(((card, Predictor(network, SPEC.stride, flips=flips)),))


def _scene(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(SPEC.channels, height, width)).astype(np.float32)


def _untiled(features: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """One pass over everything, ``float32[K, H, W]``."""
    valid = np.ones((1, *features.shape[1:]), dtype=bool)
    raw = to_device(Cube(features[np.newaxis].copy(), valid), torch.device("cpu"))
    return ensemble.probabilities([raw])[0].numpy()


def _tiled(features: np.ndarray, ensemble: Ensemble, plan: Plan) -> np.ndarray:
    """Block by block through the engine's own stitching, as a run does it."""
    out = np.full((SPEC.classes, *features.shape[1:]), np.nan, dtype=np.float32)
    for block in plan:
        part = features[:, *block.extent.within(plan.lattice.window)]
        valid = np.ones((1, *part.shape[1:]), dtype=bool)
        raw = to_device(Cube(part[np.newaxis], valid), torch.device("cpu"))

        def forward(extents: Sequence[Window], raw: RawPatch = raw, block: Block = block) -> Tensor:
            return ensemble.probabilities([raw[e.within(block.extent)] for e in extents])

        patches = list(plan.lattice.patches(block.core))
        piece = stitch(block.core, plan.lattice, patches, forward)
        out[:, *block.core.within(plan.lattice.window)] = piece.numpy()
    return out


def _plan(shape: tuple[int, int], core: int, margin: int, blocks: int) -> Plan:
    return Plan(Lattice(*shape, core=core, margin=margin, stride=SPEC.stride), core * blocks)


def test_reach(network: torch.nn.Module) -> None:
    """REACH is what the gradient says, and not much more: the tests below rest on it."""
    x = torch.from_numpy(_scene(320, 320, seed=1))[None].requires_grad_()
    reached = 0
    for shift in range(SPEC.stride):
        (grad,) = torch.autograd.grad(network(x)[0, :, 160 + shift, 160].sum(), x)
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
    ensemble: Ensemble, height: int, width: int, core: int, blocks: int, seed: int
) -> None:
    features = _scene(height, width, seed)
    whole = _untiled(features, ensemble)
    tiled = _tiled(features, ensemble, _plan((height, width), core, REACH, blocks))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tiled.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 130), (7, 5), (129, 65), (65, 128), (97, 131)], ids=str
)
def test_remainders_and_tiny_scenes(ensemble: Ensemble, shape: tuple[int, int]) -> None:
    features = _scene(*shape, seed=9)
    whole = _untiled(features, ensemble)
    tiled = _tiled(features, ensemble, _plan(shape, 64, REACH, 1))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)


def test_block_size_moves_no_bit(ensemble: Ensemble) -> None:
    features = _scene(210, 190, seed=3)
    maps = [_tiled(features, ensemble, _plan((210, 190), 32, 32, n)) for n in (1, 2, 4, 7)]
    for other in maps[1:]:
        assert np.array_equal(maps[0], other)


def test_too_small_a_margin_is_seen(ensemble: Ensemble) -> None:
    """The comparison can fail: with a margin inside the reach, pieces differ from the whole."""
    features = _scene(200, 200, seed=4)
    whole = _untiled(features, ensemble)
    tiled = _tiled(features, ensemble, _plan((200, 200), 64, 16, 1))
    assert np.abs(tiled - whole).max() > 1e-4


def test_a_shifted_patch_is_seen(ensemble: Ensemble) -> None:
    """A patch off the stride samples another phase: why origins are multiples of the stride."""
    features = _scene(200, 200, seed=4)
    whole = _untiled(features, ensemble)
    inner = Window(3, 3, 192, 192)
    shifted = _untiled(features[:, 3:195, 3:195], ensemble)
    middle = Window(96, 96, 8, 8)
    a = whole[:, *middle.within(Window(0, 0, 200, 200))]
    b = shifted[:, *middle.within(inner)]
    assert np.abs(a - b).max() > 1e-4


def _blended(shape: tuple[int, int], core: int, margin: int, blocks: int) -> Plan:
    lattice = Lattice(*shape, core=core, margin=margin, stride=SPEC.stride, blend=margin // 2)
    return Plan(lattice, core * blocks)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 230), width=st.integers(1, 230), blocks=st.integers(1, 3))
def test_blending_what_is_equal_changes_nothing(
    ensemble: Ensemble, height: int, width: int, blocks: int
) -> None:
    """Weights sum to 1: with a margin that leaves the blended part beyond reach, it is untiled."""
    features = _scene(height, width, seed=height)
    plan = _blended((height, width), core=160, margin=160, blocks=blocks)
    np.testing.assert_allclose(
        _tiled(features, ensemble, plan), _untiled(features, ensemble), rtol=0, atol=1e-5
    )


def test_blending_does_not_know_of_blocks(ensemble: Ensemble) -> None:
    features = _scene(210, 190, seed=3)
    maps = [_tiled(features, ensemble, _blended((210, 190), 64, 32, n)) for n in (1, 2, 4)]
    for other in maps[1:]:
        assert np.array_equal(maps[0], other)


def test_blending_is_nearer_to_untiled_at_a_small_margin(ensemble: Ensemble) -> None:
    features = _scene(256, 256, seed=4)
    whole = _untiled(features, ensemble)
    cropped = _tiled(features, ensemble, _plan((256, 256), 64, 32, 1))
    blended = _tiled(features, ensemble, _blended((256, 256), 64, 32, 1))
    steps = [np.abs(np.diff(m - whole, axis=2))[:, :, 63::64].mean() for m in (cropped, blended)]
    assert steps[1] < steps[0] * 0.8, "no step where the core ends"


def test_flips_are_tiled_alike(network: torch.nn.Module) -> None:
    """Mirrored views see the lattice from the other side, and still the map has no pieces."""
    both = _ensemble(network, flips=True)
    features = _scene(160, 136, seed=8)
    whole = _untiled(features, both)
    tiled = _tiled(features, both, _plan((160, 136), 64, REACH, 1))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)
    views = [_untiled(features[:, ::r, ::c], _ensemble(network))[:, ::r, ::c]
             for r in (1, -1) for c in (1, -1)]  # fmt: skip
    np.testing.assert_allclose(whole, np.mean(views, axis=0), atol=1e-5)
