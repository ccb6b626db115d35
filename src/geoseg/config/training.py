"""Which network, how its labels are parted, how it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from geoseg.config.base import FilePath, Section, Share


class SplitConfig(Section):
    """Which labels train, which choose the best epoch, which are held back for the score."""

    by: Literal["tile", "field"] = "tile"
    """``tile``: squares of the grid; ``field``: whole fields (polygons, or ``labels.fields``)."""
    tile: Annotated[int, Field(ge=8)] = 256
    """Side of the squares in pixels."""
    buffer: Annotated[int, Field(ge=0)] = 3
    """Labels nearer than this many pixels to a square of another part are not used (``tile``)."""
    validation: Share = 0.2
    test: Share = 0.0
    """Share never seen in training, scored as ``test_scores`` where no truth is given."""
    seed: int = 0


class ModelConfig(Section):
    """Which network, or which trained bundle."""

    bundle: FilePath | None = None
    """Folder of a trained model; where none is named, the run trains one."""
    ensemble: tuple[FilePath, ...] = ()
    """Or folders of several, trained on the same bands, dates and legend: their mean decides."""
    encoder: str = "resnet18"
    """Any encoder of segmentation-models-pytorch; trained from scratch."""
    depth: Annotated[int, Field(ge=3, le=5)] = 5
    """Stages of the encoder: the network's stride is ``2 ** depth``."""
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    """Channels of the decoder's stages, deepest first; the first ``depth`` are used."""

    @property
    def named(self) -> tuple[Path, ...]:
        """The bundles to use; empty where the run trains one."""
        return (self.bundle,) if self.bundle else self.ensemble

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.bundle and self.ensemble:
            raise ValueError("give 'bundle' or 'ensemble', not both")
        return self


class TrainConfig(Section):
    """How the network is trained."""

    patch: Annotated[int, Field(ge=32)] = 256
    """Side of a training sample in pixels, a multiple of the network's stride."""
    overlap: Share = 0.0
    """Overlap of neighbouring samples."""
    batch: Annotated[int, Field(ge=1)] = 8
    epochs: Annotated[int, Field(ge=1)] = 60
    patience: Annotated[int, Field(ge=1)] = 20
    """Epochs without a better validation score before training stops."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    class_weights: Literal["none", "sqrt", "balanced"] = "sqrt"
    """Weight of a class: 1, or its inverse (root of the) frequency, 1 on average."""
    transform: Literal["none", "asinh"] = "none"
    """Applied before scaling; ``asinh`` tames heavy tails of either sign (radar)."""
    drop_dates: Share = 0.0
    """Chance that a date of a sample is blanked, so that the network copes with clouds."""
    max_samples: Annotated[int, Field(ge=1)] = 2000
    """Samples kept on disk, drawn at random where there are more."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 where the processor computes it natively."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Shares of a batch computed at once on a CPU, at most; 0: one per core. A batch of 8 samples of
    256 px has 4. Changes no weight."""
    seed: int = 0
