"""Building a U-Net for many-channel imagery."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from geoseg.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


class NetworkSpec(BaseModel):
    """Everything that fixes a network's shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    depth: int
    decoder_channels: tuple[int, ...]
    channels: int
    """Input channels: dates times bands."""
    classes: int

    @property
    def stride(self) -> int:
        """Side of the square that one value of the deepest layer stands for, in pixels."""
        return int(2**self.depth)


def build(spec: NetworkSpec) -> nn.Module:
    """A U-Net (Ronneberger et al. 2015) with random weights: ``[N, channels, h, w]`` to logits.

    ``h`` and ``w`` must be multiples of ``spec.stride``. Raises ``ModelError`` for an encoder that
    segmentation-models-pytorch does not have, or that does not do this depth.
    """
    smp = _library()
    if len(spec.decoder_channels) < spec.depth:
        raise ModelError(
            f"model.decoder_channels: {len(spec.decoder_channels)} stages for a network of depth "
            f"{spec.depth}; give at least one per stage"
        )
    try:
        network: nn.Module = smp.Unet(
            encoder_name=spec.encoder,
            encoder_depth=spec.depth,
            encoder_weights=None,
            decoder_channels=spec.decoder_channels[: spec.depth],
            in_channels=spec.channels,
            classes=spec.classes,
        )
    except KeyError:
        known = smp.encoders.get_encoder_names()
        near = difflib.get_close_matches(spec.encoder, known, n=3) or known[:3]
        raise ModelError(
            f"model.encoder: segmentation-models-pytorch has no {spec.encoder!r}; near it are "
            f"{', '.join(near)} ({len(known)} in all, and timm's as tu-NAME)"
        ) from None
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"model.encoder: segmentation-models-pytorch cannot build {spec.encoder!r} with depth "
            f"{spec.depth}: {error}"
        ) from None
    return network


def _library() -> Any:
    """Import the library; a torchvision of another build than torch gets a remedy."""
    try:
        import segmentation_models_pytorch as smp  # noqa: PLC0415  (seconds to import)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        raise ModelError(
            "torch and torchvision are from different builds (a CPU-only torch beside the ordinary "
            "torchvision?); install both from one index: pip install --force-reinstall torch "
            "torchvision -c constraints.txt"
        ) from error
    return smp
