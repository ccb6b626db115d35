"""How much memory one forward pass takes: a formula of the patch's pixels. Measuring is ``tracing``'s."""

from __future__ import annotations

import math
from dataclasses import dataclass

# What a CPU process takes beyond the live tensors, measured (glibc told to keep memory, one thread, 60
# channels, resnet18, resnet34 and efficientnet-b0 U-Nets of depth 5, 512 to 1152 px, six passes):
# scratch space of oneDNN, and holes that malloc does not fill again. The same network settles at one
# of several levels, by chance: efficientnet-b0 in fp32 at 512 px between 766 and 1219 bytes per pixel.
_SCRATCH = 1.25
_HOLES = 1.5
_FIXED = 16 * 2**20


@dataclass(frozen=True)
class Footprint:
    """Memory of one forward pass, for any number of pixels (batch x height x width)."""

    live_per_pixel: float
    """Bytes of tensors alive at the worst moment per pixel: input, layers, logits."""
    largest_per_pixel: float
    """Bytes per pixel of the largest tensor that the pass makes."""
    constant: int
    """Bytes that do not grow with the batch: the weights, and copies of them in another precision."""

    def peak(self, pixels: int) -> int:
        """Bytes by which a CPU process grows when it loads the network and passes a float32,
        channels_last batch of ``pixels`` through it, again and again: ``constant + 16 MiB +
        pixels x (1.25 live_per_pixel + 1.5 largest_per_pixel)``.

        An upper bound, but for 7 % in the unluckiest run seen; a lucky one stays up to 40 % below.
        """
        return math.ceil(self.constant + _FIXED + self._per_pixel * pixels)

    @property
    def _per_pixel(self) -> float:
        return _SCRATCH * self.live_per_pixel + _HOLES * self.largest_per_pixel
