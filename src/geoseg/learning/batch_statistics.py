"""Batch normalization over a whole batch whose shares are on threads of their own.

As torch's ``SyncBatchNorm`` does it between processes. A share by itself would not do: a patch of nothing
but water has the statistics of water, which takes from the network what tells water from bare soil.
"""

from __future__ import annotations

from threading import Barrier
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from geoseg.learning.threads import Threads

FORWARD = torch.ops.aten.native_batch_norm.default
BACKWARD = torch.ops.aten.native_batch_norm_backward.default


class AllReduce:
    """Sums over the shares of a batch, for each of them, in the shares' order."""

    def __init__(self, shares: int, threads: Threads) -> None:
        self._threads = threads
        self._parts: list[Tensor] = [torch.empty(0)] * shares
        self._total = torch.empty(0)
        self._barrier = Barrier(shares, self._sum)

    def sum(self, share: int, part: Tensor) -> Tensor:
        """Wait for the other shares; raises ``BrokenBarrierError`` where one of them failed."""
        self._parts[share] = part
        with self._threads.waiting():
            self._barrier.wait()
        return self._total  # it stays until all shares have come to the next sum

    def abort(self) -> None:
        """Let nobody wait for a share that has failed."""
        self._barrier.abort()

    def _sum(self) -> None:
        self._total = torch.stack(self._parts).sum(dim=0)


class BatchStatistics(TorchDispatchMode):
    """Around a share's forward and backward pass: its normalization is that of the whole batch.

    Normalization that keeps no running statistics is of each sample by itself and stays so.
    """

    def __init__(self, share: int, shares: AllReduce) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._share, self._shares = share, shares

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is FORWARD and args[3] is not None and args[5]:
            return self._forward(*args)
        if func is BACKWARD and args[3] is not None and args[7]:
            return self._backward(*args)
        return func(*args, **(kwargs or {}))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if error is not None:
            self._shares.abort()

    def _forward(  # noqa: PLR0913 - torch's own signature, as below
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor,
        running_var: Tensor, training: bool, momentum: float, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        mean, var = (each.double() for each in torch.batch_norm_update_stats(x, None, None, 0.0))
        pixels = x.numel() // len(mean)
        own = torch.stack([torch.full_like(mean, pixels), pixels * mean, pixels * (var + mean**2)])
        count, total, squares = self._shares.sum(self._share, own)
        mean = total / count
        var = (squares / count - mean**2).clamp(min=0)
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        unbiased = var * (count / (count - 1))
        running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        mean, var = mean.to(running_mean.dtype), var.to(running_var.dtype)
        normal, *_ = FORWARD(x, weight, bias, mean, var, False, momentum, eps)
        return normal, mean, (var + eps).rsqrt()

    def _backward(  # noqa: PLR0913
        self, gradient: Tensor, x: Tensor, weight: Tensor | None, running_mean: Tensor,
        running_var: Tensor, mean: Tensor, inverse: Tensor, training: bool, eps: float,
        wanted: list[bool],
    ) -> tuple[Tensor | None, Tensor, Tensor]:  # fmt: skip
        """The gradient of Ioffe and Szegedy 2015 (arXiv:1502.03167), its sums over all shares."""
        _, to_weight, to_bias = BACKWARD(
            gradient, x, weight, None, None, mean, inverse, True, eps, [False, True, True]
        )
        own = torch.stack([torch.full_like(mean, x.numel() // len(mean)), to_weight, to_bias])
        count, along, sum_ = self._shares.sum(self._share, own)
        scale = inverse if weight is None else inverse * weight
        slope = -scale * inverse * along / count
        shift = -scale * sum_ / count - slope * mean
        scale, slope, shift = (
            c.reshape(1, -1, *[1] * (x.dim() - 2)) for c in (scale, slope, shift)
        )
        to_x = torch.addcmul(shift, x.float(), slope).addcmul_(gradient.float(), scale)
        return to_x.to(x.dtype), to_weight, to_bias
