"""Networks and bundles: any encoder, and a clear word for what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.config import ClassEntry
from geoseg.errors import ModelError
from geoseg.model.bundle import ModelCard, identify, load, load_card, save
from geoseg.model.networks import NetworkSpec, build
from geoseg.model.predictor import Predictor
from geoseg.normalization import Normalization

CHANNELS = 6


def _spec(encoder: str, depth: int) -> NetworkSpec:
    return NetworkSpec(
        encoder=encoder, depth=depth, decoder_channels=(32, 16, 16, 8, 8), channels=CHANNELS,
        classes=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "depth"), [("resnet34", 3), ("efficientnet-b0", 5), ("mobilenet_v2", 4)]
)
def test_any_encoder(encoder: str, depth: int) -> None:
    spec = _spec(encoder, depth)
    predictor = Predictor(build(spec).eval(), spec.stride)
    probabilities = predictor.probabilities(torch.randn(2, CHANNELS, 64, 96))
    assert probabilities.shape == (2, 3, 64, 96)
    np.testing.assert_allclose(probabilities.sum(dim=1), 1, atol=1e-5)


def test_unknown_encoder() -> None:
    with pytest.raises(ModelError, match=r"no 'resnet19'; near it are .*resnet18"):
        build(_spec("resnet19", 5))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    spec = _spec("resnet18", 3)
    card = ModelCard(
        network=spec,
        bands=("a", "b", "c"),
        dates=("1", "2"),
        normalization=Normalization(
            transform="none", knee=(1,) * CHANNELS, mean=(0,) * CHANNELS, std=(1,) * CHANNELS
        ),
        classes=tuple(ClassEntry(code=c, name=f"crop {c}") for c in (1, 2, 5)),
    )
    save(tmp_path, build(spec), card)
    return tmp_path


def _edit(bundle: Path, **changes: Any) -> None:
    content = json.loads((bundle / "card.json").read_text())
    (bundle / "card.json").write_text(json.dumps({**content, **changes}))


def test_a_bundle_comes_back(bundle: Path) -> None:
    card, network = load(bundle)
    assert card.legend.codes.tolist() == [1, 2, 5]
    assert not network.training


def test_an_edited_card_is_another_bundle(bundle: Path) -> None:
    before = identify(bundle)
    _edit(bundle, bands=["c", "b", "a"])
    assert identify(bundle) != before


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"bands": 7},
        {"classes": [{"code": 1, "name": "a"}, {"code": 1, "name": "b"}]},
        {"surprise": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_damaged_cards(bundle: Path, changes: dict[str, Any]) -> None:
    _edit(bundle, **changes)
    with pytest.raises(ModelError, match=r"card\.json is damaged: .*train the model again"):
        load_card(bundle)


def test_torn_weights(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"safetensors is missing or not the file"):
        load(bundle)
