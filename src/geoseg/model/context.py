"""What a model card says of the surroundings a network needs, and of what a margin leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict

from geoseg.model.footprint import Footprint
from geoseg.model.networks import NetworkSpec

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "bf16"]
"""Number formats of a network's activations; its weights are kept in fp32."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

DEFAULT_MARGIN = 128
"""Margin in pixels for a bundle whose card does not say."""


class TilingError(BaseModel):
    """How far a map made of patches is from one made whole, on the imagery of the training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    core: int
    margin: int
    pixels: int
    """Pixels compared."""
    share: float
    """Of them, those that got another class."""


class Context(BaseModel):
    """How far the network looks, in pixels in one direction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receptive_field_radius: int | None
    """Radius of the receptive field; None: no bound, so that no margin makes the map exact."""
    margin: int
    """The margin that ``predict.margin: auto`` takes."""
    exact_margin: int | None
    """The least margin at which the map is the same as one made whole; None where none is."""
    footprint: dict[Precision, Footprint] = {}
    """Memory of a forward pass in each number format."""
    tiling_error: TilingError | None = None
    """What ``margin`` costs, measured; None where it was not."""

    @classmethod
    def of(cls, network: nn.Module, spec: NetworkSpec) -> Context:
        """Found by trying the network; see ``receptive_field_radius``."""
        from geoseg.model.receptive_field import exact_margin, margin_for, receptive_field_radius  # noqa: PLC0415
        from geoseg.model.tracing import activation_bytes  # noqa: PLC0415

        found = receptive_field_radius(network, spec.channels, spec.stride)
        return cls(
            receptive_field_radius=found,
            margin=margin_for(found, spec.stride),
            exact_margin=exact_margin(found, spec.stride),
            footprint={
                precision: activation_bytes(spec, spec.channels, precision)
                for precision in PRECISIONS
            },
        )
