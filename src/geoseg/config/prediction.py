"""How the map is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field

from geoseg.config.base import Section


class PredictConfig(Section):
    """How the map is computed. ``block``, ``memory`` and ``tries`` move no pixel; the others can."""

    core: Annotated[int, Field(ge=8)] = 1024
    """Side of a patch core in pixels."""
    margin: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Context on each side of the core in pixels; ``auto``: as the network's receptive field asks for."""
    blend: Literal["crop", "hann"] = "crop"
    """``crop``: each pixel is of one patch; ``hann``: neighbours are mixed across core borders."""
    block: Annotated[int, Field(ge=8)] | Literal["auto"] = "auto"
    """Side of a block in pixels, a multiple of ``core``; ``auto``: as large as pays and fits."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 where the processor computes it natively and it gives the same map."""
    agreement: Annotated[float, Field(ge=0, le=1)] = 0.999
    """Share of pixels that must get the same class in bf16 as in fp32 for ``auto`` to take it."""
    flips: bool = False
    """Average the network over four mirrored views: four times the work."""
    memory: ByteSize | Literal["auto"] = "auto"
    """What a worker process may use, such as ``6GB``; ``auto``: its share of the machine's."""
    tries: Annotated[int, Field(ge=2)] = 3
    """How often a block is attempted before the run gives it up; the last time alone, so that one
    that kills its worker takes no other down with it."""
