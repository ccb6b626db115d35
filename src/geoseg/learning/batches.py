"""From samples on disk to batches for the network: turned, normalized, laid out, one step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config import TrainConfig
from geoseg.imagery.cube import Cube, to_features
from geoseg.learning.augment import SYMMETRIES, drop_dates, orient
from geoseg.learning.samples import Samples
from geoseg.learning.threads import Threads
from geoseg.legend import UNKNOWN
from geoseg.normalization import Normalization


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step of training or validation works on."""

    features: torch.Tensor
    """``float32[N, C, S, S]``, channels last in memory."""
    target: torch.Tensor
    """Model indices ``int64[N, S, S]``, ``UNKNOWN`` where nothing counts."""


@dataclass(frozen=True, eq=False)
class Loader:
    """Batches of one run: the samples and how they become features."""

    samples: Samples
    normalization: Normalization
    config: TrainConfig

    def training(
        self, numbers: list[int], epoch: int, pool: Threads | None = None
    ) -> Iterator[Batch]:
        """Samples in the epoch's own order, turned and with dates dropped.

        What is done to a sample depends on seed, epoch and sample alone. The next batch is prepared
        on ``pool`` meanwhile, or on a thread of its own.
        """
        order = np.random.default_rng([self.config.seed, epoch]).permutation(numbers)
        # Batches of even size: a last batch of one sample would upset batch normalization.
        groups = np.array_split(order, -(-len(order) // self.config.batch))
        yield from self._ahead(groups, epoch, pool)

    def validation(self, numbers: list[int], pool: Threads | None = None) -> Iterator[Batch]:
        """Samples as they are, with the targets of the validation part; ``pool`` as in training."""
        parts = -(-len(numbers) // self.config.batch)
        yield from self._ahead(np.array_split(np.array(numbers), parts), None, pool)

    def _ahead(
        self, groups: list[NDArray[np.integer]], epoch: int | None, pool: Threads | None
    ) -> Iterator[Batch]:
        """Prepare the next batch while this one is used (numpy lets go of the interpreter lock)."""
        with nullcontext(pool) if pool else ThreadPoolExecutor(1) as threads:
            coming = self._begin(groups[0], epoch, threads)
            for group in groups[1:]:
                batch = _whole(*coming)
                coming = self._begin(group, epoch, threads)
                yield batch
            yield _whole(*coming)

    def _begin(
        self, group: NDArray[np.integer], epoch: int | None, threads: Threads | Executor
    ) -> tuple[Batch, list[Future[None]]]:
        """A batch, and the threads' work that fills it: a task per sample, to share out evenly."""
        channels, side = self.normalization.channels, self.samples.train.shape[-1]
        features = np.empty((len(group), side, side, channels), dtype=np.float32)
        target = np.empty((len(group), side, side), dtype=np.int64)

        def fill(place: int, number: int) -> None:
            found, target[place] = self._sample(number, epoch)
            features[place] = found.transpose(1, 2, 0)

        batch = Batch(torch.from_numpy(features).permute(0, 3, 1, 2), torch.from_numpy(target))
        return batch, [threads.submit(fill, *each) for each in enumerate(group.tolist())]

    def _sample(
        self, number: int, epoch: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Features and target of a sample; ``epoch`` None leaves it as it is, for validation."""
        cube = self.samples.cube(number)
        if epoch is None:
            return to_features(cube, self.normalization)[0], self.samples.validation[number]
        random = np.random.default_rng([self.config.seed, epoch, number])
        symmetry = int(random.integers(SYMMETRIES))
        seen = drop_dates(cube.valid, self.config.drop_dates, random)
        turned = Cube(orient(cube.values, symmetry), orient(seen, symmetry))
        features, mapped = to_features(turned, self.normalization)
        target = orient(self.samples.train[number], symmetry)
        # Dropped dates on top of clouds can leave a pixel with nothing to tell it by.
        return features, np.where(mapped, target, np.int16(UNKNOWN))


def _whole(batch: Batch, parts: list[Future[None]]) -> Batch:
    """The batch, once it is filled."""
    for part in parts:
        part.result()
    return batch
