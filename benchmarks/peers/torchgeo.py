"""torchgeo: RasterDataset, GridGeoSampler, DataLoader; patches cropped and put into one array.

torchgeo samples and leaves the stitching to its users. The season is one GeoTIFF of all
channels, made beforehand; patches that reach over the scene's border are filled by the library.
Loading in worker processes was tried and gains nothing here.
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
    codes = _predict(request, model)
    common.write(request.out, codes, request.files[0])
    common.report("torchgeo", "torchgeo")


def _loader(request: common.Request, model: common.Model) -> Any:
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    assert request.stack is not None, "torchgeo's runner needs --stack"
    dataset = RasterDataset([request.stack], transforms=lambda sample: _prepare(model, sample))
    sampler = GridGeoSampler(dataset, size=common.PATCH, stride=common.STEP)
    return DataLoader(
        dataset, batch_size=common.BATCH, sampler=sampler, collate_fn=stack_samples, num_workers=0
    )


def _prepare(model: common.Model, sample: dict[str, Any]) -> dict[str, Any]:
    import torch

    values = sample["image"].numpy()
    features = torch.from_numpy(model.features(values))
    mapped = torch.from_numpy(model.mapped(values))
    return {"image": features, "mapped": mapped, "bounds": sample["bounds"]}


def _predict(request: common.Request, model: common.Model) -> NDArray[np.uint8]:
    import rasterio
    import torch

    with rasterio.open(request.stack) as source:
        shape, inverse = source.shape, ~source.transform
    result = np.full(shape, common.NODATA, dtype=np.uint8)
    for batch in _loader(request, model):
        with torch.inference_mode():
            codes = model.codes[model.network(batch["image"]).argmax(dim=1).numpy()]
        codes[~batch["mapped"].numpy()] = common.NODATA
        for patch, bounds in zip(codes, batch["bounds"], strict=True):
            col, row = inverse @ (bounds[0].start, bounds[1].stop)
            _put(result, patch, round(row), round(col))
    return result


def _put(result: NDArray[np.uint8], patch: NDArray[np.uint8], row: int, col: int) -> None:
    """Put the inner part of a patch where it belongs, and its rim only at the scene's border."""
    height, width = result.shape
    rows = _inner(row, height)
    cols = _inner(col, width)
    result[rows, cols] = patch[
        rows.start - row : rows.stop - row, cols.start - col : cols.stop - col
    ]


def _inner(start: int, length: int) -> slice:
    stop = start + common.PATCH
    first = 0 if start <= 0 else start + common.CROP
    return slice(first, length if stop >= length else stop - common.CROP)


if __name__ == "__main__":
    main()
