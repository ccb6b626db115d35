"""What a run is told: one frozen object, checked whole before anything starts.

Keys are exact (``extra="forbid"``) and every path is resolved against the config file's folder.
Reading the file, and saying what is wrong in it, is ``io.configs``.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from geoseg.errors import ConfigError
from geoseg.legend import PALETTE, Legend, LegendClass

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _expand(text: object) -> object:
    """Replace ``${NAME}`` by the environment variable; ValueError where it is not set."""
    if not isinstance(text, str):
        return text
    for name in _VARIABLE.findall(text):
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set; export {name}=FOLDER first")
    return os.path.expanduser(_VARIABLE.sub(lambda match: os.environ[match.group(1)], text))


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", Path())
    return Path(os.path.normpath(base / path))


FilePath = Annotated[Path, BeforeValidator(_expand), AfterValidator(_resolve)]
"""A path: ``${NAME}`` is the environment's, anything relative starts at the config file's folder."""

Share = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MaskConfig(_Section):
    """Where the cloud masks are: one single-band raster per date, on the imagery's grid."""

    folder: FilePath
    pattern: str
    """File name with ``{date}`` or ``{step}`` as in ``imagery.pattern``."""
    invalid: tuple[int, ...] = (1,)
    """Values of pixels not to be used (cloud, shadow)."""


class SceneEntry(_Section):
    """One date of ``imagery.scenes``."""

    id: str | None = None
    """Name in messages and in the model card; the date where not given."""
    date: dt.date | None = None
    file: FilePath | None = None
    """One file that holds every band."""
    files: dict[str, FilePath] = {}
    """Or one single-band file per band."""
    mask: FilePath | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.file is None) == (not self.files):
            raise ValueError("give either 'file' (all bands in one) or 'files' (band: file)")
        return self


class ImageryConfig(_Section):
    """The season's images: a folder and a file name pattern, or a list of scenes."""

    folder: FilePath | None = None
    pattern: str = "{date}.tif"
    """Path below ``folder``: ``{date}`` (or ``{step}``, a number, where days are not known) tells
    the scenes apart, ``{band}`` is there when each band has a file of its own, ``*`` is anything."""
    date_format: str = "%Y-%m-%d"
    scenes: tuple[SceneEntry, ...] = ()
    dates: tuple[dt.date, ...] = ()
    """The days the season must have: others are left out, a missing one ends the run."""
    band_names: tuple[str, ...] = ()
    """Names of the bands in each file, in order; by default the file's own descriptions."""
    bands: tuple[str, ...] = ()
    """The bands to use, in this order; by default all."""
    nodata: float | None = None
    """Value of missing pixels where the files do not say it themselves."""
    masks: MaskConfig | None = None
    mask_invalid: tuple[int, ...] = (1,)
    """Values not to be used in the masks named under ``scenes``."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.folder is None) == (not self.scenes):
            raise ValueError("give either 'folder' (with 'pattern') or a list of 'scenes'")
        if self.folder and "mask_invalid" in self.model_fields_set:
            raise ValueError("with 'folder', the masks' values go under 'masks.invalid'")
        if self.folder and not ({"{date}", "{step}"} & set(re.findall(r"\{\w+\}", self.pattern))):
            raise ValueError(f"pattern {self.pattern!r} has neither {{date}} nor {{step}}")
        return self


class LabelsConfig(_Section):
    """What is known on the ground: a raster of codes, or polygons with crop names."""

    file: FilePath
    attribute: str = "crop"
    """Column with the class name (or code) of each polygon."""
    layer: str | None = None
    ignore: tuple[int | str, ...] = ()
    """Codes or names that mean unknown, besides the raster's nodata."""
    fields: FilePath | None = None
    """Raster with the field each pixel belongs to (0: none), for a raster of labels."""


class SplitConfig(_Section):
    """Which labels train, which choose the best epoch, which are held back for the score."""

    by: Literal["block", "field"] = "block"
    """``block``: squares of the grid; ``field``: whole fields (polygons, or ``labels.fields``)."""
    block: Annotated[int, Field(ge=8)] = 256
    """Side of the squares in pixels."""
    buffer: Annotated[int, Field(ge=0)] = 3
    """Labels nearer than this many pixels to a square of another part are not used (``block``)."""
    validation: Share = 0.2
    held_back: Share = 0.0
    """Share never seen in training, scored as ``unseen`` where no truth is given."""
    seed: int = 0


class ClassEntry(_Section):
    """One class of ``legend``."""

    code: Annotated[int, Field(ge=0, le=254)]
    name: str
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None


class ModelConfig(_Section):
    """Which network, or which trained bundle."""

    bundle: FilePath | None = None
    """Folder of a trained model; where it is not named, the run trains one."""
    encoder: str = "resnet18"
    """Any encoder of segmentation-models-pytorch; trained from scratch."""
    depth: Annotated[int, Field(ge=3, le=5)] = 5
    """Stages of the encoder: the network's stride is ``2 ** depth``."""
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    """Channels of the decoder's stages, deepest first; the first ``depth`` are used."""


class TrainConfig(_Section):
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
    """CPU threads; 0: one per core."""
    seed: int = 0


class PredictConfig(_Section):
    """How the map is computed. Only ``precision``, ``core`` and ``margin`` can move a pixel."""

    core: Annotated[int, Field(ge=8)] = 512
    """Side of a patch core in pixels."""
    margin: Annotated[int, Field(ge=0)] = 64
    """Context on each side of the core in pixels."""
    block: Annotated[int, Field(ge=8)] = 1024
    """Side of a block in pixels, a multiple of ``core``."""
    precision: Literal["fp32", "bf16"] = "fp32"
    tries: Annotated[int, Field(ge=1)] = 3
    """How often a block is attempted before the run gives it up."""


class ClusterConfig(_Section):
    """Where blocks are predicted."""

    address: str | None = None
    """A running Dask scheduler; where not named, workers are started on this machine."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Worker processes on this machine; ``auto``: as many as the cores feed; 0: no Dask at all."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of the network in each worker."""

    @property
    def processes(self) -> int:
        """``workers`` as a number."""
        if self.workers == "auto":
            return max(1, len(os.sched_getaffinity(0)) // self.threads)
        return self.workers


class RunConfig(_Section):
    """One run over one area and season."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    """First part of the products' file names."""
    title: str = ""
    imagery: ImageryConfig
    legend: tuple[ClassEntry, ...] = ()
    """Needed to train; a model bundle brings its own."""
    labels: LabelsConfig | None = None
    truth: FilePath | None = None
    """Raster of codes used for scores only; training never reads it."""
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    predict: PredictConfig = PredictConfig()
    cluster: ClusterConfig = ClusterConfig()
    random_forest: bool = False
    """Also score a per-pixel random forest on the same labels, as a baseline."""

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if self.model.bundle is None and not (self.labels and self.legend):
            raise ValueError("needs 'model.bundle', or 'labels' and 'legend' to train one")
        if self.random_forest and self.labels is None:
            raise ValueError("random_forest needs 'labels' to learn from")
        return self

    def make_legend(self) -> Legend:
        """The legend of the config; ``ConfigError`` where it has none or a bad one."""
        if not self.legend:
            raise ConfigError("'legend' is missing: list the classes with code and name")
        return make_legend(self.legend)


def make_legend(entries: tuple[ClassEntry, ...]) -> Legend:
    """A legend of these classes, in this order; those without a colour get one of the palette."""
    return Legend(
        tuple(
            LegendClass(c.code, c.name, (c.color or PALETTE[i % len(PALETTE)]).lower())
            for i, c in enumerate(entries)
        )
    )
