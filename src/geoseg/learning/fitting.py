"""Fitting a network to samples: epochs of training, each scored on the validation part.

On a CPU the same seed, threads and machine give the same weights; CUDA sums in an order of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from geoseg.config import TrainConfig
from geoseg.feedback import Progress
from geoseg.learning.batches import Loader
from geoseg.learning.losses import class_weights, masked_cross_entropy
from geoseg.learning.machine import Machine
from geoseg.learning.metrics import Scores, count_confusion
from geoseg.learning.split import Part
from geoseg.legend import UNKNOWN, Legend

CLIP = 5.0
"""Largest norm of a gradient: one odd sample must not throw the weights."""
MEMORY = 0.98
"""Share of the averaged weights that a step leaves: they look back about 50 steps."""
WARM_UP = 0.15
"""Share of the steps in which the learning rate rises to its height; then it falls as a cosine."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit leaves; the network itself holds the best epoch's weights."""

    scores: Scores
    """Of the best epoch on the validation part."""
    best_epoch: int
    """Counted from 1."""
    history: tuple[dict[str, float], ...]
    """One entry per epoch."""


class Fit:
    """A network being fitted. It is the one mutable thing of this room."""

    def __init__(
        self, network: nn.Module, loader: Loader, legend: Legend, machine: Machine
    ) -> None:
        self.network, self.loader, self.legend, self.machine = network, loader, legend, machine
        self.config: TrainConfig = loader.config
        self._train = loader.samples.holding(Part.TRAIN)
        self._validation = loader.samples.holding(Part.VALIDATION)
        weights = class_weights(self._pixels(), self.config.class_weights)
        self._weights = torch.from_numpy(weights).to(machine.device)
        self._optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        # What is scored and kept is a running average of the weights (Polyak and Juditsky 1992): on
        # a few hundred labels the weights of one epoch are a lottery, their average is not.
        self._average = AveragedModel(network, avg_fn=_remember, use_buffers=True)
        steps = -(-len(self._train) // self.config.batch) * self.config.epochs
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, self.config.learning_rate, total_steps=steps, pct_start=WARM_UP
        )
        self._history: list[dict[str, float]] = []
        self._best: Scores | None = None
        self._best_epoch, self._better_epoch = 0, 0
        self._kept: dict[str, torch.Tensor] = {}

    def run(self, progress: Progress) -> Fitted:
        """Train until the epochs are over or ``patience`` of them brought nothing better."""
        with progress.start("training", self.config.epochs, "epochs") as step:
            for epoch in range(1, self.config.epochs + 1):
                self._epoch(epoch)
                last = self._history[-1]
                step.advance(note=f"loss {last['loss']:.3f}, validation {last['mean_iou']:.3f}")
                if epoch - self._better_epoch >= self.config.patience:
                    progress.say(
                        f"training: no better validation score for {self.config.patience} epochs, "
                        f"keeping epoch {self._best_epoch}"
                    )
                    break
        self.network.load_state_dict(self._kept)
        assert self._best is not None
        return Fitted(self._best, self._best_epoch, tuple(self._history))

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        rate = self._schedule.get_last_lr()[0]
        loss = self._train_once(epoch)
        scores = self.validate()
        entry = {
            "epoch": epoch,
            "loss": loss,
            "overall_accuracy": scores.overall_accuracy,
            "mean_iou": scores.mean_iou,
            "learning_rate": rate,
            "seconds": time.perf_counter() - began,
        }
        self._history.append({name: round(float(value), 6) for name, value in entry.items()})
        if self._best is None or _rank(scores) > _rank(self._best):
            self._better_epoch = epoch
        # A tie goes to the later epoch, since the learning rate has fallen; it is no progress, though.
        if self._best is None or _rank(scores) >= _rank(self._best):
            self._best, self._best_epoch = scores, epoch
            state = self._average.module.state_dict()
            self._kept = {name: tensor.clone() for name, tensor in state.items()}

    def _train_once(self, epoch: int) -> float:
        """One pass over the training samples; the mean loss."""
        self.network.train()
        losses = []
        for batch in self.loader.training(self._train, epoch):
            features, target = self.machine.load(batch)
            with self.machine.autocast():
                logits = self.network(features)
            loss = masked_cross_entropy(logits, target, self._weights)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self._optimizer.step()
            self._schedule.step()
            self._average.update_parameters(self.network)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    @torch.inference_mode()
    def validate(self) -> Scores:
        """Scores on the validation part; nothing is kept of the pixels but the confusion."""
        network = self._average.module.eval()
        confusion = np.zeros((len(self.legend), len(self.legend)), dtype=np.int64)
        for batch in self.loader.validation(self._validation):
            features, target = self.machine.load(batch)
            with self.machine.autocast():
                predicted = network(features).argmax(dim=1)
            confusion += count_confusion(
                target.cpu().numpy(), predicted.cpu().numpy(), len(self.legend)
            )
        return Scores(self.legend, confusion, "validation")

    def _pixels(self) -> NDArray[np.int64]:
        """Training pixels per class, as the samples show them."""
        pixels = np.zeros(len(self.legend), dtype=np.int64)
        for number in self._train:
            target = self.loader.samples.train[number]
            pixels += np.bincount(target[target != UNKNOWN], minlength=len(self.legend))
        return pixels


def _remember(
    average: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int
) -> torch.Tensor:
    """One step of the average, shorter in memory at first so that the random start is forgotten."""
    memory = min(MEMORY, (1 + int(updates)) / (10 + int(updates)))
    return (memory * average + (1 - memory) * current).to(average.dtype)


def _rank(scores: Scores) -> tuple[float, float]:
    """What makes an epoch better: mean IoU, then overall accuracy."""
    return scores.mean_iou, scores.overall_accuracy
