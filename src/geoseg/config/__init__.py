"""What a run is told: one frozen object, checked whole before anything starts.

Keys are exact (``extra="forbid"``) and every path is resolved against the config file's folder.
Reading the file, and saying what is wrong in it, is ``io.configs``.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from geoseg.config.base import FilePath, Section
from geoseg.config.cluster import ClusterConfig, TlsConfig
from geoseg.config.imagery import ImageryConfig, LabelsConfig, MaskConfig, SceneEntry
from geoseg.config.parcels import ParcelsConfig
from geoseg.config.prediction import PredictConfig
from geoseg.config.products import ProductsConfig
from geoseg.config.training import ModelConfig, SplitConfig, TrainConfig
from geoseg.config.vectors import VectorsConfig
from geoseg.errors import ConfigError
from geoseg.legend import PALETTE, Legend, LegendClass, spell

__all__ = [
    "ClassEntry",
    "ClusterConfig",
    "ImageryConfig",
    "LabelsConfig",
    "MaskConfig",
    "ModelConfig",
    "ParcelsConfig",
    "PredictConfig",
    "ProductsConfig",
    "RunConfig",
    "SceneEntry",
    "SplitConfig",
    "TlsConfig",
    "TrainConfig",
    "VectorsConfig",
    "make_legend",
]


class ClassEntry(Section):
    """One class of ``legend``."""

    code: Annotated[int, Field(ge=0, le=254)]
    name: Annotated[str, AfterValidator(spell)]
    """In the one spelling of ``legend.spell``."""
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None


class RunConfig(Section):
    """One run over one area and season."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    """First part of the products' file names."""
    title: str = ""
    imagery: ImageryConfig
    legend: tuple[ClassEntry, ...] = ()
    """Needed to train; a model bundle brings its own. In the file also the path of a legend: YAML,
    CSV, a QGIS style or palette (``io.legends``)."""
    labels: LabelsConfig | None = None
    truth: FilePath | None = None
    """Raster of codes used for scores only; training never reads it."""
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    predict: PredictConfig = PredictConfig()
    products: ProductsConfig = ProductsConfig()
    parcels: ParcelsConfig | None = None
    """Parcels to say the crop of, and to check declarations of."""
    cluster: ClusterConfig = ClusterConfig()
    vectors: VectorsConfig = VectorsConfig()
    random_forest: bool = False
    """Also score a per-pixel random forest on the same labels, as a baseline."""

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if not self.model.named and not (self.labels and self.legend):
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
