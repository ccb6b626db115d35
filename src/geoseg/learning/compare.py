"""A baseline to compare the network with: a random forest that sees one pixel at a time.

Same features, same training labels, same pixels to score. What the network does better, it owes to
what surrounds a pixel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import EmptySelectionError
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import read_cube, to_features
from geoseg.imagery.scenes import Scene
from geoseg.learning.evaluate import Reference
from geoseg.learning.metrics import Scores, count_confusion
from geoseg.learning.samples import Source
from geoseg.learning.split import Part
from geoseg.legend import UNKNOWN, Legend
from geoseg.normalization import Normalization

TREES = 100
TRAIN_PIXELS = 20_000
SCORE_PIXELS = 100_000
SIDE = 512
"""Side of a tile of the files geoseg writes, in pixels."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """How a random forest did."""

    scores: Scores
    train_pixels: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON: those of ``Scores`` and what the forest was given."""
        return {
            **self.scores.to_dict(),
            "trees": TREES,
            "train_pixels": self.train_pixels,
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class Sampling:
    """A random draw of known pixels from a grid, each class in its share."""

    grid: Grid
    read: Callable[[Window], NDArray[np.int16]]
    """Model indices of a window, ``UNKNOWN`` where a pixel is not to be drawn."""
    classes: int
    most: int
    """Pixels to draw, give or take the rounding of the classes' shares."""
    seed: int
    side: int = SIDE
    """Side of the windows read at a time in pixels."""

    def draw(self) -> Iterator[tuple[Window, NDArray[np.int64], NDArray[np.int16]]]:
        """Windows with the flat positions drawn in them and their model indices."""
        counts = np.array(
            [self._count(window) for window in self.grid.windows(self.side, self.side)]
        )
        chosen = [self._choose(index, counts) for index in range(self.classes)]
        first = np.cumsum(counts, axis=0) - counts
        for window, start, count in zip(
            self.grid.windows(self.side, self.side), first, counts, strict=True
        ):
            # The pixels of a class are numbered through the whole grid; these are this window's.
            mine = [
                picks[np.searchsorted(picks, a) : np.searchsorted(picks, a + n)] - a
                for picks, a, n in zip(chosen, start, count, strict=True)
            ]
            if any(len(picks) for picks in mine):
                yield window, *self._locate(window, mine)

    def _count(self, window: Window) -> NDArray[np.int64]:
        known = self.read(window)
        return np.bincount(known[known != UNKNOWN], minlength=self.classes)

    def _choose(self, index: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the pixels to take of a class, ascending."""
        total, every = int(counts[:, index].sum()), int(counts.sum())
        wanted = min(total, -(-total * self.most // max(1, every)))
        random = np.random.default_rng([self.seed, index])
        return np.sort(random.choice(total, wanted, replace=False, shuffle=False))

    def _locate(
        self, window: Window, mine: list[NDArray[np.int64]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        known = self.read(window).ravel()
        places = [np.flatnonzero(known == index)[picks] for index, picks in enumerate(mine)]
        flat = np.sort(np.concatenate(places))
        return flat, known[flat]


def random_forest(
    source: Source,
    legend: Legend,
    normalization: Normalization,
    reference: Reference,
    progress: Progress,
) -> Baseline:
    """Train a forest on about 20 000 training pixels, score it on about 100 000 of the reference.

    With fewer pixels than that, on all of them. Nothing of the size of a scene is held, and the
    same input gives the same scores. Raises ``EmptySelectionError`` where there is no pixel to
    train on or to score.
    """
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415  (a second to import)

    def training(window: Window) -> NDArray[np.int16]:
        known, parts = source.targets(window)
        return np.where(parts == Part.TRAIN, known, np.int16(UNKNOWN))

    began, classes = time.perf_counter(), len(legend)
    collect = _Collector(source.scenes, normalization, progress)
    learn = Sampling(source.grid, training, classes, TRAIN_PIXELS, 0)
    features, target = collect("forest: training pixels", learn)
    forest = RandomForestClassifier(TREES, n_jobs=-1, random_state=0).fit(features, target)
    score = Sampling(source.grid, reference.read, classes, SCORE_PIXELS, 1)
    features, wanted = collect("forest: pixels to score", score)
    confusion = count_confusion(wanted, forest.predict(features), classes)
    scores = Scores(legend, confusion, reference.source)
    return Baseline(scores, len(target), time.perf_counter() - began)


@dataclass(frozen=True)
class _Collector:
    """Reads the features of drawn pixels."""

    scenes: tuple[Scene, ...]
    normalization: Normalization
    progress: Progress

    def __call__(
        self, what: str, sampling: Sampling
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Features ``float32[n, channels]`` and model indices ``int16[n]`` of the mapped pixels."""
        features, target = [], []
        windows = list(sampling.draw())
        with self.progress.start(what, len(windows), "windows") as step:
            for window, flat, known in windows:
                values, mapped = to_features(read_cube(self.scenes, window), self.normalization)
                usable = mapped.ravel()[flat]
                features.append(values.reshape(len(values), -1)[:, flat[usable]].T)
                target.append(known[usable])
                step.advance()
        if not sum(map(len, target)):
            raise EmptySelectionError(
                f"{what}: none is both known and valid; check 'labels', 'truth' and 'split'"
            )
        return np.concatenate(features), np.concatenate(target)
