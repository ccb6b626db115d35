"""The networks of a run as one: their mean probability. Most runs have one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from geoseg.engine.inputs import RawPatch, preprocess
from geoseg.errors import ModelError
from geoseg.legend import Legend
from geoseg.model.bundle import ModelCard, load_card
from geoseg.model.context import Precision
from geoseg.model.predictor import Predictor, load_predictor


@dataclass(frozen=True, slots=True)
class EnsembleSpec:
    """Which networks, in which number format, on which kind of device."""

    bundles: tuple[tuple[Path, str], ...]
    """Folder and checksum of each."""
    precision: Precision
    device: str
    """``cpu`` or ``cuda``."""
    flips: bool = False


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks that know the same bands, dates and classes."""

    members: tuple[tuple[ModelCard, Predictor], ...]

    @classmethod
    def load(cls, spec: EnsembleSpec) -> Ensemble:
        """The networks of this process, each loaded once. Raises ``ModelError``."""
        members = (
            load_predictor(folder, checksum, spec.precision, spec.device, spec.flips)
            for folder, checksum in spec.bundles
        )
        return cls(tuple(members))

    @property
    def legend(self) -> Legend:
        """The classes, which all members share."""
        return self.members[0][0].legend

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.members[0][1].device

    def probabilities(self, patches: Sequence[RawPatch]) -> Tensor:
        """``float32[N, K, h, w]`` of patches of one shape: the members' mean."""
        total = sum(self._of(card, predictor, patches) for card, predictor in self.members)
        assert isinstance(total, Tensor)
        return total / len(self.members) if len(self.members) > 1 else total

    def _of(self, card: ModelCard, predictor: Predictor, patches: Sequence[RawPatch]) -> Tensor:
        inputs = [
            preprocess(raw, card.normalization, self.stride, predictor.precision) for raw in patches
        ]
        batch = inputs[0] if len(inputs) == 1 else torch.cat(inputs)
        height, width = patches[0].valid.shape[1:]
        return predictor.probabilities(batch)[..., :height, :width]

    @property
    def stride(self) -> int:
        """The coarsest of the networks' strides, a multiple of the others."""
        return max(predictor.stride for _, predictor in self.members)


def load_cards(bundles: Sequence[Path]) -> tuple[ModelCard, ...]:
    """The members' cards; ``ModelError`` unless they agree on bands, dates and classes."""
    cards = tuple(load_card(folder) for folder in bundles)
    for folder, card in zip(bundles[1:], cards[1:], strict=True):
        for what in ("bands", "dates", "classes"):
            mine, theirs = (getattr(c, what) for c in (cards[0], card))
            if mine != theirs:
                raise ModelError(
                    f"model.ensemble: {folder} and {bundles[0]} differ in their {what}; networks "
                    "that vote together are trained on the same bands, dates and legend"
                )
    return cards
