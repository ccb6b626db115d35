"""raster-vision: sliding-window dataset, the learner's predict_dataset, smooth labels.

As in its tutorial on prediction: scores of overlapping windows are averaged (float16), windows that
reach over the scene's border are padded. The season is one GeoTIFF of all channels, made
beforehand. It has no place for pixels without data on any date: they get a class here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import common


def main() -> None:
    """Map the scene."""
    request = common.arguments(__doc__)
    import torch

    torch.set_num_threads(request.threads)
    model = common.load(request.bundle)
    labels = _predict(_dataset(request, model), model)
    common.write(request.out, _codes(labels, model), request.files[0])
    common.report("rastervision", "rastervision-pytorch-learner")


def _dataset(request: common.Request, model: common.Model) -> Any:
    from rastervision.core.data import RasterioSource, RasterTransformer, Scene
    from rastervision.pytorch_learner import SemanticSegmentationSlidingWindowGeoDataset

    class Normalize(RasterTransformer):  # type: ignore[misc]
        def transform(self, chip: NDArray[Any]) -> NDArray[np.float32]:
            return np.moveaxis(
                model.features(np.ascontiguousarray(np.moveaxis(chip, -1, 0))), 0, -1
            )

    source = RasterioSource(str(request.stack), raster_transformers=[Normalize()])
    return SemanticSegmentationSlidingWindowGeoDataset(
        Scene("scene", source), size=common.PATCH, stride=common.STEP, normalize=False
    )


def _predict(dataset: Any, model: common.Model) -> Any:
    """Labels of the whole scene."""
    from rastervision.core.data import ClassConfig, SemanticSegmentationLabels
    from rastervision.pytorch_learner import (
        SemanticSegmentationGeoDataConfig,
        SemanticSegmentationLearner,
        SemanticSegmentationLearnerConfig,
        SolverConfig,
    )

    classes = ClassConfig(names=[str(code) for code in model.codes])
    config = SemanticSegmentationLearnerConfig(
        data=SemanticSegmentationGeoDataConfig(class_config=classes, num_workers=0),
        solver=SolverConfig(batch_sz=common.BATCH),
    )
    learner = SemanticSegmentationLearner(config, model=model.network, training=False)
    scores = learner.predict_dataset(dataset, raw_out=True, numpy_out=True, progress_bar=False)
    return SemanticSegmentationLabels.from_predictions(
        dataset.windows, scores, dataset.scene.extent, num_classes=len(model.codes), smooth=True
    )


def _codes(labels: Any, model: common.Model) -> NDArray[np.uint8]:
    """Codes of the scene, a strip at a time as the library's own writer does."""
    from rastervision.core.box import Box

    height, width = labels.extent.size
    strips = [Box(row, 0, min(row + 512, height), width) for row in range(0, height, 512)]
    return np.concatenate([model.codes[labels.get_label_arr(strip)] for strip in strips])


if __name__ == "__main__":
    main()
