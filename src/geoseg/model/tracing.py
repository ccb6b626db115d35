"""Finding how much memory one forward pass takes before it runs.

The network runs on fake tensors, which have shapes and types but no bytes, while every storage is
noted when an operation makes it and struck out when its last tensor is gone: the most that is noted
at one moment is what the pass needs. Following storages with a dispatch mode and weak references is
also how ``torch.distributed._tools.mem_tracker`` works; the count here is a total, by nothing else.
"""

from __future__ import annotations

import weakref
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.model.footprint import Footprint
from geoseg.model.networks import NetworkSpec, build

_SIDES = 1024, 2048  # large: at both, the same moment is the worst one


def activation_bytes(
    network: nn.Module | NetworkSpec, channels: int, precision: Literal["fp32", "bf16"]
) -> Footprint:
    """Footprint of an inference pass over ``float32[N, channels, h, w]``; the input is included.

    ``network`` may be only its spec: then not even its weights take memory. ``bf16`` is a pass under
    autocast, with weights and input in float32. What happens to the logits afterwards (softmax,
    copies) is not included, nor is an input prepared out of place.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415  (heavy)

    with FakeTensorMode(allow_non_fake_inputs=True):
        module = build(network).eval() if isinstance(network, NetworkSpec) else network
        weights = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
        small, large = (_passed(module, channels, side, precision) for side in _SIDES)
    areas = [side * side for side in _SIDES]
    slope = (large.most - small.most) / (areas[1] - areas[0])
    constant = weights + max(0, round(small.most - slope * areas[0]))
    return Footprint(slope, large.largest / areas[1], constant)


def _passed(network: nn.Module, channels: int, side: int, precision: str) -> _Ledger:
    """The ledger of one pass of one square patch; weights are not in it."""
    patch = torch.empty(1, channels, side, side, memory_format=torch.channels_last)
    ledger = _Ledger()
    ledger.note(patch)
    cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), cast, ledger:
        network(patch)
    return ledger


class _Ledger(TorchDispatchMode):
    """Counts the bytes of the storages that operations made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._live: dict[int, int] = {}
        self._now = self.most = self.largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.largest = max(self.largest, self.note(leaf))
        return result

    def note(self, tensor: torch.Tensor) -> int:
        """Count a tensor's storage until it dies, and return its bytes; a storage that is counted
        already (of a view, of an in-place result) adds nothing and returns 0."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._live:
            return 0
        self._live[key] = size
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._strike, key).atexit = False
        return size

    def _strike(self, key: int) -> None:
        self._now -= self._live.pop(key)
