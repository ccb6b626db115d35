"""Fitting a network to samples: epochs of training, each scored on the validation part.

On a CPU the same data, config and kind of processor give the same weights, whatever the number of
its cores; CUDA sums in an order of its own.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.config import TrainConfig
from geoseg.feedback import Progress
from geoseg.learning.accelerator import Accelerator
from geoseg.learning.batch_statistics import AllReduce, BatchStatistics
from geoseg.learning.batches import Batch, Loader
from geoseg.learning.losses import class_weights, known_weight, masked_cross_entropy
from geoseg.learning.metrics import Scores, count_confusion
from geoseg.learning.shares import cut, replicas
from geoseg.learning.split import Part
from geoseg.learning.threads import Threads
from geoseg.learning.update import Update
from geoseg.legend import UNKNOWN, Legend


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit leaves; the network itself holds the best epoch's weights."""

    scores: Scores
    """Of the best epoch on the validation part."""
    best_epoch: int
    """Counted from 1."""
    history: tuple[dict[str, float], ...]
    """One entry per epoch."""


class Trainer:
    """A network being fitted. It is the one mutable thing of this room."""

    def __init__(
        self, network: nn.Module, loader: Loader, legend: Legend, accelerator: Accelerator
    ) -> None:
        self.network, self.loader, self.legend, self.accelerator = (
            network,
            loader,
            legend,
            accelerator,
        )
        self.config: TrainConfig = loader.config
        self._train = loader.samples.holding(Part.TRAIN)
        self._validation = loader.samples.holding(Part.VALIDATION)
        weights = class_weights(self._pixels(), self.config.class_weights)
        self._weights = torch.from_numpy(weights).to(accelerator.device)
        shares = -(-self.config.batch // accelerator.share)
        self._threads = Threads(accelerator.concurrency, threads=shares)
        # The threads prepare the batches as well: one beside them would take a core from one of them,
        # and the others would wait for it. Where a GPU computes, that thread has a core to itself.
        self.preparing = self._threads if accelerator.device.type == "cpu" else None
        self._replicas = replicas(network.train(), shares)
        # What is scored and kept is a running average of the weights (Polyak and Juditsky 1992): on
        # a few hundred labels the weights of one epoch are a lottery, their average is not.
        self._average = deepcopy(network).eval()
        steps = -(-len(self._train) // self.config.batch) * self.config.epochs
        self._update = Update(network, self._average, self.config, steps, self._threads)
        self._history: list[dict[str, float]] = []
        self._best: Scores | None = None
        self._best_epoch, self._better_epoch = 0, 0
        self._kept: dict[str, torch.Tensor] = {}

    def run(self, progress: Progress) -> FitResult:
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
        return FitResult(self._best, self._best_epoch, tuple(self._history))

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        rate = self._update.rate
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
            state = self._average.state_dict()
            self._kept = {name: tensor.clone() for name, tensor in state.items()}

    def _train_once(self, epoch: int) -> float:
        """One pass over the training samples; the mean loss."""
        batches = enumerate(self.loader.training(self._train, epoch, self.preparing))
        return float(torch.stack([self.step(batch, epoch, n) for n, batch in batches]).mean())

    def step(self, batch: Batch, epoch: int, number: int) -> torch.Tensor:
        """Learn from batch ``number`` of an epoch; its loss."""
        whole = known_weight(batch.target.to(self.accelerator.device), self._weights)
        shares = list(cut(batch, self.accelerator.share))
        seeds = np.random.SeedSequence([self.config.seed, epoch, number]).generate_state(
            len(shares)
        )
        together = AllReduce(len(shares), self._threads)

        def learn(place: int) -> torch.Tensor:
            # A batch of one share has no need of it, and a GPU would wait for itself.
            pooled = BatchStatistics(place, together) if len(shares) > 1 else nullcontext()
            with pooled:
                return self._learn(self._replicas[place], shares[place], whole, int(seeds[place]))

        losses = self._threads.map(learn, range(len(shares)))
        self._update.step(self._replicas[: len(shares)])
        return torch.stack(losses).sum()

    def _learn(
        self, network: nn.Module, share: Batch, whole: torch.Tensor, seed: int
    ) -> torch.Tensor:
        """Leave the gradient of a share in ``network``; its part of the batch's loss."""
        features, target = self.accelerator.load(share)
        network.zero_grad()
        with self.accelerator.random_numbers(seed), self.accelerator.autocast():
            logits = network(features)
        loss = masked_cross_entropy(logits, target, self._weights, whole)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def validate(self) -> Scores:
        """Scores on the validation part; nothing is kept of the pixels but the confusion."""
        confusion = np.zeros((len(self.legend), len(self.legend)), dtype=np.int64)
        for batch in self.loader.validation(self._validation, self.preparing):
            confusion += sum(self._threads.map(self._confusion, cut(batch, self.accelerator.share)))
        return Scores(self.legend, confusion, "validation")

    @torch.inference_mode()
    def _confusion(self, share: Batch) -> NDArray[np.int64]:
        features, target = self.accelerator.load(share)
        with self.accelerator.autocast():
            predicted = self._average(features).argmax(dim=1)
        return count_confusion(target.cpu().numpy(), predicted.cpu().numpy(), len(self.legend))

    def _pixels(self) -> NDArray[np.int64]:
        """Training pixels per class, as the samples show them."""
        pixels = np.zeros(len(self.legend), dtype=np.int64)
        for number in self._train:
            target = self.loader.samples.train[number]
            pixels += np.bincount(target[target != UNKNOWN], minlength=len(self.legend))
        return pixels


def _rank(scores: Scores) -> tuple[float, float]:
    """What makes an epoch better: mean IoU, then overall accuracy."""
    return scores.mean_iou, scores.overall_accuracy
