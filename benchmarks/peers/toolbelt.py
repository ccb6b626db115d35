"""pytorch-toolbelt: the scene in memory, ImageSlicer cuts it, TileMerger blends it back.

Leaner than its README: pixels stay uint16 and tiles are cut and normalized one batch at a time,
where the README makes a list of all tiles in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    image, mapped = _read(request)
    codes = _predict(model, image)
    codes[~mapped] = common.NODATA
    common.write(request.out, codes, request.files[0])
    common.report("toolbelt", "pytorch-toolbelt")


def _read(request: common.Request) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """The scene as the library wants it, ``uint16[H, W, channels]``, and where any date has data."""
    import rasterio

    with rasterio.open(request.files[0]) as first:
        shape, count = first.shape, first.count
    image = np.empty((*shape, count * len(request.files)), dtype=np.uint16)
    mapped = np.zeros(shape, dtype=bool)
    for i, path in enumerate(request.files):
        with rasterio.open(path) as source:
            values = source.read()
        mapped |= (values != 0).all(axis=0)
        image[..., i * count : (i + 1) * count] = np.moveaxis(values, 0, -1)
    return image, mapped


def _predict(model: common.Model, image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    import torch
    from pytorch_toolbelt.inference.tiles import ImageSlicer, TileMerger

    tiler = ImageSlicer(image.shape, common.PATCH, common.STEP, weight="pyramid")
    merger = TileMerger(tiler.target_shape, len(model.codes), tiler.weight)
    with torch.inference_mode():
        for tiles, places in _batches(tiler, model, image):
            merger.integrate_batch(model.network(torch.from_numpy(tiles)), places)
        winner = merger.merge_().argmax(dim=0).numpy()
    codes: NDArray[np.uint8] = model.codes[tiler.crop_to_orignal_size(winner)]
    return codes


def _batches(
    tiler: Any, model: common.Model, image: NDArray[np.uint16]
) -> Iterator[tuple[NDArray[np.float32], list[Any]]]:
    """Tiles ``float32[N, channels, h, w]`` with their places."""
    import cv2

    tiles, places = [], []
    for tile, place in tiler.iter_split(image, border_type=cv2.BORDER_REFLECT_101):
        tiles.append(model.features(np.ascontiguousarray(np.moveaxis(tile, -1, 0))))
        places.append(place)
        if len(tiles) == common.BATCH:
            yield np.stack(tiles), places
            tiles, places = [], []
    if tiles:
        yield np.stack(tiles), places


if __name__ == "__main__":
    main()
