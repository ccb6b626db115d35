"""geoai: its predict_geotiff on one GeoTIFF of all channels, made beforehand.

It has no place for pixels without data on any date: they get a class here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import common


def main() -> None:
    """Map the scene."""
    request = common.arguments(__doc__)
    import torch

    torch.set_num_threads(request.threads)
    from geoai.inference import predict_geotiff

    model = common.load(request.bundle)

    def to_codes(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
        codes: NDArray[np.uint8] = model.codes[logits.argmax(axis=0)]
        return codes[np.newaxis]

    predict_geotiff(
        model.network,
        str(request.stack),
        str(request.out),
        tile_size=common.PATCH,
        overlap=common.OVERLAP,
        batch_size=common.BATCH,
        num_classes=len(model.codes),
        output_dtype="uint8",
        output_nodata=common.NODATA,
        preprocess_fn=model.features,
        postprocess_fn=to_codes,
        device="cpu",
        verbose=False,
    )
    common.report("geoai", "geoai-py")


if __name__ == "__main__":
    main()
