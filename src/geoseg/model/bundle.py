"""Model bundles: a folder with the weights (safetensors) and a model card (JSON).

Nothing is ever unpickled. The card is written last: a folder with a card is a whole bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.config import ClassEntry, make_legend
from geoseg.errors import ConfigError, ModelError
from geoseg.io import files
from geoseg.io.access import confine
from geoseg.legend import Legend
from geoseg.model.context import Context
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"
CARD = "card.json"


class ModelCard(BaseModel):
    """What a model is, what it was trained on, and how well it did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Version of this layout."""
    network: NetworkSpec
    bands: tuple[str, ...]
    """Band names in channel order."""
    dates: tuple[str, ...]
    """Scene ids (dates where known) in channel order."""
    normalization: Normalization
    classes: tuple[ClassEntry, ...]
    """The legend in model-index order."""
    context: Context | None = None
    """How far the network looks; None in bundles that older versions wrote."""
    training: dict[str, Any] = {}
    """Files, labelled pixels per class and part, settings."""
    metrics: dict[str, Any] = {}
    """Scores of the kept epoch on the validation part."""
    history: tuple[dict[str, float], ...] = ()
    """One entry per epoch."""
    versions: dict[str, str] = {}
    fingerprint: str = ""
    """Hash of what the training was given; the same again means the bundle can be used as it is."""
    weights_sha256: str = ""

    @property
    def legend(self) -> Legend:
        """The legend of the model."""
        return make_legend(self.classes)

    def require(self, bands: tuple[str, ...], dates: int, where: str) -> None:
        """Raise ``ModelError`` unless imagery with these bands and dates fits the model."""
        if bands != self.bands:
            raise ModelError(
                f"{where} has the bands {', '.join(bands)}, the model needs "
                f"{', '.join(self.bands)} in this order; correct 'imagery.bands' or "
                "'imagery.band_names', or train a model on these bands"
            )
        if dates != len(self.dates):
            raise ModelError(
                f"{where} has {dates} dates, the model was trained on {len(self.dates)} "
                f"({', '.join(self.dates)}); give as many, or train a model on this season"
            )


def class_entries(legend: Legend) -> tuple[ClassEntry, ...]:
    """The legend as a card keeps it."""
    return tuple(ClassEntry(code=c.code, name=c.name, color=c.color) for c in legend)


def save(folder: Path, network: nn.Module, card: ModelCard) -> ModelCard:
    """Write a bundle; returns the card as written: with the checksum of the weights and, unless it
    has one, with the network's ``context``."""
    from safetensors.torch import save_file  # noqa: PLC0415

    (folder / CARD).unlink(missing_ok=True)
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    with files.replacing(folder / WEIGHTS) as part:
        save_file(state, part)
    found = {
        "weights_sha256": files.sha256(folder / WEIGHTS),
        "context": card.context or Context.of(network, card.network),
    }
    card = card.model_copy(update=found)
    files.write_json(folder / CARD, card.model_dump(mode="json"))
    return card


def annotate(folder: Path, card: ModelCard) -> None:
    """Write the card of a bundle anew; its weights stay as they are."""
    files.write_json(folder / CARD, card.model_dump(mode="json"))


def load_card(folder: Path) -> ModelCard:
    """The card of a bundle; ``ModelError`` where there is none or it is damaged."""
    confine.local(folder)
    if not (folder / CARD).is_file():
        raise ModelError(
            f"{folder} is not a model bundle (no {CARD}); check 'model.bundle', or leave it out to "
            "train a model"
        )
    try:
        card = ModelCard.model_validate(files.read_json(folder / CARD))
        len(card.legend)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        raise ModelError(
            f"{folder / CARD} is damaged: {key}: {problem['msg']}; train the model again"
        ) from None
    except ConfigError as error:
        raise ModelError(f"{folder / CARD} is damaged: {error}; train the model again") from None
    return card


def identify(folder: Path) -> str:
    """Checksum of a bundle: of its card, which holds the checksum of the weights."""
    load_card(folder)
    return files.sha256(folder / CARD)


def load(folder: Path) -> tuple[ModelCard, nn.Module]:
    """Card and network with its weights, in evaluation mode on the CPU.

    Raises ``ModelError`` where weights are missing, damaged, or not those the card describes.
    """
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    card = load_card(folder)
    path = folder / WEIGHTS
    confine.require(path)
    if not path.is_file() or files.sha256(path) != card.weights_sha256:
        raise ModelError(f"{path} is missing or not the file its card was written for; train again")
    network = build(card.network)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit its card: {error}") from None
    return card, network.eval()
