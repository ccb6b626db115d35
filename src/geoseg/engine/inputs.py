"""From raw pixels to network input, on the network's own device.

The same numbers as ``imagery.features.to_features``, which training uses (a test holds them
together), but in torch, in the layout and the number format of the network, and in few passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.imagery.cube import Cube
from geoseg.model.context import Precision
from geoseg.model.precision import dtype
from geoseg.normalization import Normalization

CPU_ROWS = 4
"""Rows converted at a time on a CPU: few enough for its caches."""


@dataclass(frozen=True, slots=True)
class RawPatch:
    """The pixels of a patch on the network's device, as they were read."""

    values: Tensor
    """``[T * C, h, w]`` in the files' number type."""
    valid: Tensor
    """``bool[T, h, w]``."""

    def __getitem__(self, place: tuple[slice, slice]) -> RawPatch:
        """The part at these rows and columns."""
        return RawPatch(self.values[:, *place], self.valid[:, *place])


def to_device(cube: Cube, device: torch.device) -> RawPatch:
    """Bring a cube to the device; to a GPU through pinned memory, beside what it computes."""
    dates, bands, height, width = cube.values.shape
    values = torch.from_numpy(cube.values.reshape(dates * bands, height, width))
    valid = torch.from_numpy(cube.valid)
    if device.type == "cpu":
        return RawPatch(values, valid)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        moved = [t.pin_memory().to(device, non_blocking=True) for t in (values, valid)]
    stream.synchronize()
    return RawPatch(*moved)


@torch.inference_mode()
def preprocess(
    raw: RawPatch, normalization: Normalization, stride: int, precision: Precision
) -> Tensor:
    """Network input ``[1, T * C, H, W]``, channels last, fp32 or bf16.

    H and W are the next multiples of ``stride``: at most ``stride - 1`` rows and columns are
    reflected onto the bottom and right, again and again where the patch is smaller than that.
    A date without data at a pixel is 0 there, the training mean.
    """
    channels, height, width = raw.values.shape
    device = raw.values.device
    rows, cols = (_reflected(n, stride) for n in (height, width))
    out = torch.empty((len(rows), len(cols), channels), dtype=dtype(precision), device=device)
    step = CPU_ROWS if device.type == "cpu" else height
    constants = _constants(normalization, device)
    for first in range(0, height, step):
        part = _normalized(raw[first : first + step, :], *constants).to(out.dtype)
        if len(cols) > width:
            part = part[..., torch.from_numpy(cols).to(device)]
        # Two axes and one number type: the one transposition torch does quickly.
        flat = part.reshape(channels, -1)
        out[first : first + step].view(-1, channels)[: flat.shape[1]].copy_(flat.t())
    out[height:] = out[torch.from_numpy(rows[height:]).to(device)]
    return out.permute(2, 0, 1).unsqueeze(0)


def _reflected(size: int, stride: int) -> NDArray[np.int64]:
    """Indices of a side padded to the next multiple of ``stride``."""
    return np.pad(np.arange(size), (0, -size % stride), mode="reflect")


def _constants(normalization: Normalization, device: torch.device) -> tuple[Any, Tensor, Tensor]:
    """Knee (None where nothing is transformed), mean and std, each ``[T * C, 1, 1]``."""

    def column(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)

    knee = column(normalization.knee) if normalization.transform == "asinh" else None
    return knee, column(normalization.mean), column(normalization.std)


def _normalized(raw: RawPatch, knee: Tensor | None, mean: Tensor, std: Tensor) -> Tensor:
    """``float32[T * C, h, w]``: see ``Normalization.apply``; 0 where a date is not valid."""
    out = raw.values.to(torch.float32, copy=True)
    if knee is not None:
        out.div_(knee).asinh_()
    out.sub_(mean).div_(std)
    if not bool(raw.valid.all()):
        by_date = out.view(len(raw.valid), -1, *out.shape[1:])
        by_date.masked_fill_(~raw.valid.unsqueeze(1), 0)
    return out
