"""The receptive_field_radius of a network, against hand counts, gradients and the thing itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from geoseg.errors import ModelError
from geoseg.model.networks import NetworkSpec, build
from geoseg.model.receptive_field import (
    RADIUS_LIMIT,
    exact_margin,
    margin_for,
    receptive_field_radius,
)

CHANNELS = 4

torch.set_num_threads(1)


def _unet(encoder: str, depth: int) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    spec = NetworkSpec(
        encoder=encoder, depth=depth, decoder_channels=(16, 8, 8, 8, 8), channels=CHANNELS,
        classes=3,
    )  # fmt: skip
    return build(spec), spec.stride


def _conv(kernel: int | tuple[int, int], stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(dilation * (side // 2) for side in sides)
    return nn.Conv2d(CHANNELS, CHANNELS, sides, stride, padding, dilation)


def _up(factor: int, mode: str = "nearest") -> nn.Module:
    return nn.Upsample(scale_factor=factor, mode=mode)


# Counted by hand. With stride 2, output 2j looks from cell j, and so does 2j + 1.
HAND = {
    "nothing but the pixel": ([_conv(1)], 1, 0),
    "5x5": ([_conv(5)], 1, 2),
    "dilated": ([_conv(3, dilation=7)], 1, 7),
    "rows only": ([_conv((7, 1))], 1, 3),
    "columns only": ([_conv((1, 9))], 1, 4),
    "a cell of four": ([nn.MaxPool2d(4), _up(4)], 4, 3),
    "strided: 2j + 1 sees 2j - 1": ([_conv(3, stride=2), _up(2)], 2, 2),
    "bilinear: 2j sees 2j - 2": ([nn.AvgPool2d(2), _up(2, "bilinear")], 2, 2),
    "1 + 4 cells of 2 + 1": ([_conv(3), nn.MaxPool2d(2), _conv(5, dilation=2), _up(2)], 2, 10),
    "8j sees to the end of the next cell": (
        [nn.MaxPool2d(8), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(CHANNELS, CHANNELS, 2), _up(8)],
        8, 15,
    ),
    "a far tap with nothing between": ([_conv(3, dilation=999)], 1, 999),
}  # fmt: skip


@pytest.mark.parametrize(("layers", "stride", "expected"), HAND.values(), ids=HAND)
def test_counted_by_hand(layers: list[nn.Module], stride: int, expected: int) -> None:
    assert receptive_field_radius(nn.Sequential(*layers), CHANNELS, stride) == expected


def _make_positive(network: nn.Module) -> nn.Module:
    """Positive weights and no activations, in float64: no two paths cancel and none saturates."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(module, name, nn.Identity())
    for parameter in network.parameters():
        parameter.data.abs_().add_(1e-3)
    return network.double().eval()


def _gradient_reach(network: nn.Module, stride: int, width: int) -> int:
    """How far to the sides an output of one period in the middle has a gradient."""
    strip = torch.ones(1, CHANNELS, stride, width, dtype=torch.float64, requires_grad=True)
    output = network(strip)
    farthest = 0
    for phase in range(stride):
        at = width // 2 // stride * stride + phase
        (gradient,) = torch.autograd.grad(output[..., at].sum(), strip, retain_graph=True)
        columns = gradient.abs().sum(dim=(0, 1, 2)).nonzero()
        farthest = max(farthest, int((columns - at).abs().max()))
    return farthest


@pytest.mark.parametrize(
    ("encoder", "depth", "expected"),
    [("resnet18", 3, 71), ("resnet34", 3, 111), ("mobilenet_v2", 4, 179)],
)
def test_gradients_agree(encoder: str, depth: int, expected: int) -> None:
    network, stride = _unet(encoder, depth)
    assert receptive_field_radius(network, CHANNELS, stride) == expected
    width = exact_margin(2 * expected + 4 * stride, stride)
    assert width is not None
    assert _gradient_reach(_make_positive(network), stride, width) == expected


@pytest.mark.parametrize(("encoder", "depth"), [("resnet18", 3), ("mobilenet_v2", 3)])
def test_beyond_the_reach_nothing_moves(encoder: str, depth: int) -> None:
    network, stride = _unet(encoder, depth)
    far = receptive_field_radius(network, CHANNELS, stride)
    assert far is not None
    positive = _make_positive(network)
    width = exact_margin(2 * far + 3 * stride, stride)
    assert width is not None
    plain = torch.ones(1, CHANNELS, stride, width, dtype=torch.float64)
    at_the_rim = 0
    for phase in range(stride):
        at = width // 2 // stride * stride + phase
        changed = plain.clone()
        changed[..., at] = 1e9
        with torch.inference_mode():
            moved = (positive(changed) != positive(plain)).any(dim=2).any(dim=1).flatten()
        distance = (torch.arange(width) - at).abs()
        assert not moved[distance > far].any()
        at_the_rim += int(moved[distance == far].sum())
    assert at_the_rim


@pytest.mark.parametrize(
    ("encoder", "depth", "expected"),
    [
        ("resnet18", 4, 151),
        ("resnet18", 5, 311),
        ("resnet34", 4, 319),
        ("mobilenet_v2", 5, 339),
        ("tu-resnet18", 3, 71),
        ("efficientnet-b0", 4, None),
        ("se_resnet50", 3, None),
        ("tu-mobilenetv3_small_100", 4, None),
    ],
)
def test_encoders(encoder: str, depth: int, expected: int | None) -> None:
    network, stride = _unet(encoder, depth)
    assert receptive_field_radius(network, CHANNELS, stride) == expected


OPERATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "gelu": F.gelu, "mish": F.mish, "elu": F.elu,
    "leaky": F.leaky_relu, "sigmoid": torch.sigmoid, "softmax": lambda x: F.softmax(x, dim=1),
    "max": lambda x: F.max_pool2d(x, 3, 1, 1), "average": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "cells": lambda x: F.interpolate(F.adaptive_avg_pool2d(x, (2, 32)), size=x.shape[-2:]),
    "bilinear": lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0, mode="bilinear"),
    "zero weights": lambda x: F.conv2d(x, torch.zeros(4, 4, 3, 3), padding=1),
    "depthwise": lambda x: F.conv2d(x, torch.zeros(4, 1, 3, 3), padding=1, groups=4),
    "batch norm": lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_nan_passes(name: str) -> None:
    """The method stands on this: at each place of a vector register, and in its tail."""
    for column in range(64):
        strip = torch.zeros(1, CHANNELS, 2, 64).to(memory_format=torch.channels_last)
        strip[..., column] = torch.nan
        hit = torch.isnan(OPERATIONS[name](strip))
        assert hit[..., column].all()
        assert hit.sum() <= 5 * CHANNELS * 2


class _Swallow(nn.Module):
    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        return torch.nan_to_num(patch)


class _Everywhere(nn.Module):
    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        return patch + patch.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(
    "network", [_Swallow(), _Everywhere(), _conv(3, dilation=RADIUS_LIMIT)],
    ids=["swallowed", "global", "beyond the limit"],
)  # fmt: skip
def test_no_bound(network: nn.Module) -> None:
    assert receptive_field_radius(network, CHANNELS, 1) is None


def test_the_network_stays_as_it_is() -> None:
    network = nn.Sequential(_conv(3), nn.BatchNorm2d(CHANNELS)).double().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert receptive_field_radius(network, CHANNELS, 1) == 1
    assert network.training
    assert network[0].weight.dtype == torch.float64
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_damaged_weights() -> None:
    network = _conv(3)
    network.weight.data[0, 0, 0, 0] = torch.inf
    with pytest.raises(ModelError, match="not finite"):
        receptive_field_radius(network, CHANNELS, 1)


@pytest.mark.parametrize(
    ("far", "stride", "default", "exact"),
    [
        (311, 32, 128, 320),
        (151, 16, 64, 160),
        (71, 8, 24, 72),
        (320, 32, 128, 320),
        (321, 32, 128, 352),
        (0, 8, 8, 0),
        (None, 32, 128, None),
    ],
)
def test_margins(far: int | None, stride: int, default: int, exact: int | None) -> None:
    assert margin_for(far, stride) == default
    assert exact_margin(far, stride) == exact
