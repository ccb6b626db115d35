"""How far an output pixel of a network looks, and which margin follows from it.

A patch's core is exact where its margin is at least the radius of the receptive field: nothing that
the core depends on was cut off with the rest of the scene.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn

from geoseg.errors import ModelError

RADIUS_LIMIT = 2048
"""Pixels; a network that looks this far or farther is treated as one without a bound."""

_MARGIN_SHARE = 3
_STRIDES_WITHOUT_BOUND = 4
_LEAST_ACROSS = 32  # pixels; some encoders cannot pad less

Span = tuple[int, int]
"""First and last output column that one input column reaches."""


def receptive_field_radius(network: nn.Module, channels: int, stride: int) -> int | None:
    """Pixels, in one direction, that an output pixel can look: the largest over the phases of
    ``stride`` and over rows and columns (the radius of the theoretical receptive field).

    Found by trying: one column of a strip is NaN, and whatever depends on it turns NaN, since
    convolutions, norms, activations, pooling and resampling pass NaN on, even through a weight of
    zero. ``network`` maps ``[N, channels, h, w]`` to ``[N, K, h, w]`` for sides that are multiples
    of ``stride``. The trial runs on a copy (CPU, float32, evaluation mode), for the answer belongs
    to the architecture and must not depend on the device: cuDNN's FFT and Winograd kernels mix
    neighbours, and would smear NaN farther than the network looks. ``network`` stays as it is.

    None where one pixel moves all (squeeze-and-excite, global pooling, attention), where the radius
    is beyond ``RADIUS_LIMIT``, or where NaN in some column shows nowhere (a layer swallows it: then
    nothing is known, and nothing promised). Raises ``ModelError`` where the output is not finite to
    begin with.
    """
    trial = copy.deepcopy(network).to("cpu", torch.float32).to(memory_format=torch.channels_last)
    axes = [_axis_radius(_Strips(trial.eval(), channels, stride, axis)) for axis in (2, 3)]
    bounded = [distance for distance in axes if distance is not None]
    return max(bounded) if len(bounded) == len(axes) else None


def margin_for(radius: int | None, stride: int) -> int:
    """The default margin in pixels: a third of the receptive field's radius, rounded up to the
    stride; without a bound, four strides.

    Far less than the radius, because influence falls off towards the rim of the receptive field like
    a Gaussian (Luo et al. 2016, "Understanding the effective receptive field in deep convolutional
    neural networks"). A third is 128 for a resnet18 U-Net of depth 5 (radius 311), where a trained
    one, with cores of 1024 px, differed from the untiled map on 0.001 % of the pixels in fp32 and
    0.006 % in bf16 (0.007 and 0.012 % at 96); ``exact_margin`` leaves none.
    """
    if radius is None:
        return _STRIDES_WITHOUT_BOUND * stride
    return max(stride, _up(-(-radius // _MARGIN_SHARE), stride))


def exact_margin(radius: int | None, stride: int) -> int | None:
    """The least multiple of ``stride`` at which the tiled map equals the untiled one; None if none
    does."""
    return None if radius is None else _up(radius, stride)


def _up(value: int, stride: int) -> int:
    return -(-value // stride) * stride


class _Strips:
    """A network tried on strips: as narrow as it allows, and long along ``axis``."""

    def __init__(self, network: nn.Module, channels: int, stride: int, axis: int) -> None:
        self._network, self._channels, self.stride, self._axis = network, channels, stride, axis
        if not torch.isfinite(self._output(4 * stride, None)).all():
            raise ModelError(
                "the network turns zeros into values that are not finite: its weights are damaged "
                "or its training diverged; train it again"
            )

    @torch.inference_mode()
    def _output(self, width: int, column: int | None) -> torch.Tensor:
        """Output ``[1, K, .., ..]`` of zeros, but for NaN in ``column``."""
        across = _up(_LEAST_ACROSS, self.stride)
        shape = [1, self._channels, across, across]
        shape[self._axis] = width
        strip = torch.zeros(shape)
        if column is not None:
            strip.select(self._axis, column).fill_(torch.nan)
        output: torch.Tensor = self._network(strip.to(memory_format=torch.channels_last))
        return output

    def span(self, width: int, column: int) -> Span | None:
        """Where NaN in ``column`` shows in the output; None where it shows nowhere."""
        other = {2: 3, 3: 2}[self._axis]
        hit = torch.isnan(self._output(width, column)).any(dim=other).any(dim=1).flatten().nonzero()
        return (int(hit[0]), int(hit[-1])) if len(hit) else None


def _axis_radius(strips: _Strips) -> int | None:
    """The radius along one axis.

    The first strip is as long as can be, because a narrow one does not show what it cannot hold: the
    outer taps of a widely dilated convolution. The others are cut to what the first has shown.
    """
    stride = strips.stride
    # Bilinear resampling at a border weighs the cell next to it by zero, and zero times NaN is NaN.
    room = 2 * stride
    middle = _up(RADIUS_LIMIT, stride) + room
    found = strips.span(2 * middle, middle)
    if found is None or found[0] < room or found[1] >= 2 * middle - room:
        return None
    start = _up(middle - found[0], stride) + room
    # The spans of the other phases lie up to one stride farther right.
    width = start + _up(found[1] - middle + stride, stride) + room
    return _farthest(cache(partial(strips.span, width)), start, start + stride)


def _farthest(span: Callable[[int], Span | None], low: int, high: int) -> int | None:
    """The farthest that any column from ``low`` to ``high`` reaches.

    Not every column is tried: a column farther right never reaches less far right (each layer keeps
    that order), so the spans of two tried columns bound those between.
    """
    best, todo = 0, [(low, high)]
    while todo:
        left, right = todo.pop()
        from_left, from_right = span(left), span(right)
        if from_left is None or from_right is None:
            return None
        ends = (left, *from_left), (right, *from_right)
        best = max(best, *(max(at - first, last - at) for at, first, last in ends))
        between = max(from_right[1] - (left + 1), (right - 1) - from_left[0])
        if right - left > 1 and between > best:
            middle = (left + right) // 2
            todo += [(middle, right), (left, middle)]
    return best
