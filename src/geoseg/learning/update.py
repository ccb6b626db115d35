"""One step of the weights: gradients summed, clipped, applied, and the running average moved.

All of it goes weight by weight (but for the norm, which is summed in the weights' order), so threads
may share the weights out among them in any way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geoseg.config import TrainConfig
from geoseg.learning.threads import Threads

CLIP = 5.0
"""Largest norm of a gradient: one odd sample must not throw the weights."""
MEMORY = 0.98
"""Share of the averaged weights that a step leaves: they look back about 50 steps."""
WARM_UP = 0.15
"""Share of the steps in which the learning rate rises to its height; then it falls as a cosine."""


@dataclass(frozen=True, eq=False)
class BatchPart:
    """Some of the weights, and what one thread does to them."""

    places: tuple[int, ...]
    """Which of the network's parameters."""
    weights: tuple[nn.Parameter, ...]
    averages: tuple[nn.Parameter, ...]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler

    @classmethod
    def of(
        cls,
        places: Sequence[int],
        network: nn.Module,
        average: nn.Module,
        config: TrainConfig,
        steps: int,
    ) -> BatchPart:
        """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) on one cycle of the learning rate
        (Smith and Topin 2018, arXiv:1708.07120)."""
        weights, averages = (
            tuple(parameters[place] for place in places)
            for parameters in (list(network.parameters()), list(average.parameters()))
        )
        rate = config.learning_rate
        optimizer = torch.optim.AdamW(
            weights, lr=rate, weight_decay=config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps, pct_start=WARM_UP
        )
        return cls(tuple(places), weights, averages, optimizer, schedule)

    def gather(self, shares: Sequence[Sequence[nn.Parameter]]) -> Tensor:
        """Sum the gradients of the shares in their order; returns the norm of each."""
        norms = []
        for place, weight in zip(self.places, self.weights, strict=True):
            first, *others = (share[place].grad for share in shares)
            weight.grad = first  # None where the network does not use the weight
            for other in others:
                if first is not None and other is not None:
                    first += other
            norms.append(weight.new_zeros(()) if first is None else first.norm())
        return torch.stack(norms)

    def apply(self, scale: Tensor, memory: float) -> None:
        """Step with the gradients times ``scale``; keep ``memory`` of the average."""
        for weight in self.weights:
            if weight.grad is not None:
                weight.grad *= scale
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for mean, weight in zip(self.averages, self.weights, strict=True):
                mean.lerp_(weight, 1 - memory)


class Update:
    """The steps of a fit, all weights together."""

    def __init__(
        self,
        network: nn.Module,
        average: nn.Module,
        config: TrainConfig,
        steps: int,
        threads: Threads,
    ) -> None:
        self._network, self._average, self._threads = network, average, threads
        sizes = [parameter.numel() for parameter in network.parameters()]
        by_size = sorted(range(len(sizes)), key=lambda place: -sizes[place])
        count = threads.concurrency
        dealt = [by_size[first::count] for first in range(count)]
        self._parts = [BatchPart.of(p, network, average, config, steps) for p in dealt if p]
        self._order = torch.tensor([place for p in dealt for place in p]).argsort()
        self._steps = 0

    @property
    def rate(self) -> float:
        """The learning rate of the coming step."""
        return float(self._parts[0].schedule.get_last_lr()[0])

    def step(self, copies: Sequence[nn.Module]) -> None:
        """One step with the gradients that lie in the copies of the network."""
        shares = [list(copied.parameters()) for copied in copies]
        norms = torch.cat(self._threads.map(lambda part: part.gather(shares), self._parts))
        # As nn.utils.clip_grad_norm_ does it.
        norm = norms[self._order.to(norms.device)].norm()
        scale = (CLIP / (norm + 1e-6)).clamp(max=1)
        memory = _memory(self._steps)
        self._threads.map(lambda part: part.apply(scale, memory), self._parts)
        with torch.no_grad():
            for mean, seen in zip(self._average.buffers(), self._network.buffers(), strict=True):
                mean.lerp_(seen, 1 - memory) if mean.is_floating_point() else mean.copy_(seen)
        self._steps += 1


def _memory(steps: int) -> float:
    """What a step leaves of the average, less at first so that the random start is forgotten."""
    return min(MEMORY, (1 + steps) / (10 + steps)) if steps else 0.0
