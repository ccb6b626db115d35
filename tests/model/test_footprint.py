"""The footprint of a pass, against counting by hand and against a process that runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from geoseg.model.networks import NetworkSpec, build
from geoseg.model.tracing import activation_bytes

CHANNELS = 4
Precision = Literal["fp32", "bf16"]


class _Twice(nn.Module):
    """Holds its input while it makes two tensors, one after the other."""

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        kept = patch * 2
        return (kept + 1) * kept


def _wide(inplace: bool) -> nn.Module:
    layers = nn.Conv2d(CHANNELS, 8, 1), nn.ReLU(inplace), nn.Conv2d(8, 2, 1)
    return nn.Sequential(*layers)


# Bytes per pixel: the input is 4 x 4 = 16, eight channels are 32, or 16 in bf16.
BY_HAND = {
    "input and output": (nn.Conv2d(CHANNELS, 8, 1), "fp32", 16 + 32, 32),
    "activation out of place": (_wide(False), "fp32", 16 + 32 + 32, 32),
    "activation in place": (_wide(True), "fp32", 16 + 32 + 8, 32),
    "a quarter of the pixels": (nn.MaxPool2d(2), "fp32", 16 + 4, 4),
    "a view": (nn.Unflatten(1, (2, 2)), "fp32", 16, 0),
    "kept": (_Twice(), "fp32", 4 * 16, 16),
    "cast": (nn.Conv2d(CHANNELS, 8, 1), "bf16", 16 + 8 + 16, 16),
}


@pytest.mark.parametrize(("network", "precision", "live", "largest"), BY_HAND.values(), ids=BY_HAND)
def test_by_hand(network: nn.Module, precision: Precision, live: int, largest: int) -> None:
    footprint = activation_bytes(network.eval(), CHANNELS, precision)
    assert footprint.live_per_pixel == pytest.approx(live, rel=1e-6)
    assert footprint.largest_per_pixel == largest
    weights = sum(parameter.nbytes for parameter in network.parameters())
    assert weights <= footprint.constant <= 2 * weights


def _spec(channels: int) -> NetworkSpec:
    return NetworkSpec(
        encoder="resnet18", depth=5, decoder_channels=(256, 128, 64, 32, 16), channels=channels,
        classes=8,
    )  # fmt: skip


def test_a_unet_of_sixty_channels() -> None:
    """The last decoder block is the worst moment: input, skips, two of its layers and what they
    read."""
    half, quarter = 1 / 4, 1 / 16
    skips = half * 64 + quarter * 64 + quarter / 4 * 128 + quarter / 16 * 256 + quarter / 64 * 512
    block = half * 32 + 32 + 16 + 16
    fp32 = activation_bytes(_spec(60), 60, "fp32")
    assert fp32.live_per_pixel == pytest.approx(4 * (60 + skips + block))
    bf16 = activation_bytes(_spec(60), 60, "bf16")
    assert bf16.live_per_pixel == pytest.approx(4 * 60 + 2 * (skips + block))


def test_spec_and_network_agree() -> None:
    network = build(_spec(8)).eval()
    assert activation_bytes(network, 8, "bf16") == activation_bytes(_spec(8), 8, "bf16")
    assert all(type(tensor) is nn.Parameter for tensor in network.parameters())


RUN = """
import ctypes, gc, sys, torch
from geoseg.model.memory import keep_memory
from geoseg.model.networks import NetworkSpec, build
from geoseg.model.tracing import activation_bytes

def memory(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

spec, side = NetworkSpec.model_validate_json(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
keep_memory()
with torch.inference_mode(), torch.autocast("cpu", enabled=sys.argv[3] == "bf16"):
    build(spec).eval()(torch.zeros(1, spec.channels, 32, 32))  # imports are not the network's
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")  # VmHWM starts anew
    before = memory("VmRSS")
    network = build(spec).eval().to(memory_format=torch.channels_last)
    batch = torch.empty(1, spec.channels, side, side, memory_format=torch.channels_last).fill_(0.5)
    for _ in range(4):
        network(batch)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_process_that_runs_it(precision: Precision) -> None:
    spec, side = _spec(16), 768
    command = [sys.executable, "-c", RUN, spec.model_dump_json(), str(side), precision]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    estimate = activation_bytes(spec, spec.channels, precision).peak(side * side)
    assert grown <= estimate <= 1.8 * grown
