"""Dask's map_overlap over a lazy stack of the season, threads scheduler.

The stack is rioxarray's (12 files concatenated); a chunk is 4 x 4 patches, so that files are not
decoded again for each patch and patches go through the network in batches. One thread of torch in
each of Dask's: more would fight for the cores.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import common

CHUNK = 4 * common.STEP


def main() -> None:
    """Map the scene."""
    request = common.arguments(__doc__)
    os.environ["OMP_NUM_THREADS"] = "1"
    import dask
    import torch

    torch.set_num_threads(1)
    model = common.load(request.bundle)
    with dask.config.set(scheduler="threads", num_workers=request.threads):
        codes = _lazy_map(request, model).compute()
    common.write(request.out, codes, request.files[0])
    common.report("map_overlap", "dask")


def _lazy_map(request: common.Request, model: common.Model) -> Any:
    import dask.array as da
    import rioxarray

    chunks = {"band": -1, "y": CHUNK, "x": CHUNK}
    dates = [
        rioxarray.open_rasterio(path, chunks=chunks, lock=False).data for path in request.files
    ]
    return da.map_overlap(
        partial(_predict, model),
        da.concatenate(dates).rechunk({0: -1}),
        depth=(0, common.CROP, common.CROP),
        boundary="none",
        drop_axis=0,
        dtype="uint8",
        meta=np.empty((0, 0), dtype=np.uint8),
    )


def _predict(model: common.Model, values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Codes ``[H, W]`` of one chunk with its overlap, ``[channels, H, W]``."""
    features = model.features(values)
    height, width = features.shape[-2:]
    result = np.empty((height, width), dtype=np.uint8)
    corners = [(row, col) for row in common.starts(height) for col in common.starts(width)]
    for batch in common.batches(corners):
        for (row, col), codes in zip(batch, _forward(model, features, batch), strict=True):
            top, left = common.kept(row), common.kept(col)
            place = result[row + top : row + common.PATCH, col + left : col + common.PATCH]
            place[:] = codes[top:, left:]
    result[~model.mapped(values)] = common.NODATA
    return result


def _forward(
    model: common.Model, features: NDArray[np.float32], corners: list[tuple[int, int]]
) -> NDArray[np.uint8]:
    import torch

    side = common.PATCH
    patches = [features[:, row : row + side, col : col + side] for row, col in corners]
    with torch.inference_mode():
        logits = model.network(torch.from_numpy(np.stack(patches)))
        codes: NDArray[np.uint8] = model.codes[logits.argmax(dim=1).numpy()]
    return codes


if __name__ == "__main__":
    main()
