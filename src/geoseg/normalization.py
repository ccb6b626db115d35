"""The fixed statistics that turn sensor values into network input, the same in training and mapping.

Fitted once on the training samples, kept in the model card, and never taken from the patch at hand:
per-patch statistics would draw the patch lattice into the map.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

# Zero would turn every pixel into NaN, and NaN into the first class.
_Divisor = Annotated[FiniteFloat, Field(gt=0)]


class Normalization(BaseModel):
    """Per-channel ``(f(x / knee) - mean) / std``, channels ordered date by date, band by band."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transform: Literal["none", "asinh"]
    """``f``: identity, or the inverse hyperbolic sine, linear below the knee, a signed log above."""
    knee: tuple[_Divisor, ...]
    """Scale of the transform; 1 for ``none``."""
    mean: tuple[FiniteFloat, ...]
    std: tuple[_Divisor, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Normalization:
        if not len(self.knee) == len(self.mean) == len(self.std):
            raise ValueError("knee, mean and std must have one value per channel")
        return self

    @property
    def channels(self) -> int:
        """Dates times bands."""
        return len(self.mean)

    def stretch(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """The transform alone: ``[channels, ...]`` of any number type to float32."""
        with _quiet():
            out = values.astype(np.float32)
            if self.transform == "asinh":
                out /= _column(self.knee, out.ndim)
                np.arcsinh(out, out=out)
        return out

    def apply(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Network input, float32 of the shape ``[channels, ...]`` of ``values``."""
        out = self.stretch(values)
        with _quiet():
            out -= _column(self.mean, out.ndim)
            out /= _column(self.std, out.ndim)
        return out


def _quiet() -> np.errstate:
    """No warning of an overflow: nodata values may be huge, and are blanked later."""
    return np.errstate(over="ignore", invalid="ignore")


def _column(values: tuple[float, ...], ndim: int) -> NDArray[np.float32]:
    """One value per channel, shaped to broadcast over the remaining axes."""
    return np.array(values, dtype=np.float32).reshape(-1, *[1] * (ndim - 1))
