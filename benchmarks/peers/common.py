"""What every runner shares: arguments, network, features, the map. Nothing of geoseg in here.

Import it first in a runner: its clock starts with this module.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

PATCH, OVERLAP, BATCH = 256, 64, 8
STEP, CROP = PATCH - OVERLAP, OVERLAP // 2
NODATA = 255
_BEGAN = time.perf_counter()


@dataclass(frozen=True)
class Request:
    """What a runner is asked for."""

    imagery: Path
    """Folder with one raster of bands per date."""
    bundle: Path
    out: Path
    threads: int
    stack: Path | None
    """One GeoTIFF of all channels, for libraries that want a single file."""

    @property
    def files(self) -> list[Path]:
        """The dates' rasters, in channel order."""
        return sorted(self.imagery.glob("*.tif"))


def arguments(description: str | None) -> Request:
    """Parse the command line of a runner."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    for name in ("imagery", "bundle", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stack", type=Path)
    return Request(**vars(parser.parse_args()))


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what turns pixels into its input and its output into codes."""

    network: nn.Module
    dates: int
    codes: NDArray[np.uint8]
    """Raster code of each model index."""
    card: dict[str, Any]

    def features(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Network input ``float32[channels, H, W]``; a date without data (0) at a pixel is 0 there."""
        norm = self.card["normalization"]
        out = values.astype(np.float32)
        if norm["transform"] == "asinh":
            out /= _column(norm["knee"])
            np.arcsinh(out, out=out)
        out -= _column(norm["mean"])
        out /= _column(norm["std"])
        missing = (self._by_date(values) == 0).any(axis=1)
        if missing.any():
            np.copyto(self._by_date(out), np.float32(0), where=missing[:, np.newaxis])
        return out

    def mapped(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where at least one date has data, ``[H, W]``."""
        present: NDArray[np.bool_] = (self._by_date(values) != 0).all(axis=1).any(axis=0)
        return present

    def _by_date(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(self.dates, -1, *values.shape[-2:])


def _column(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def load(bundle: Path) -> Model:
    """The model of a bundle, straight from segmentation-models-pytorch and safetensors."""
    import segmentation_models_pytorch as smp
    from safetensors.torch import load_file

    card = json.loads((bundle / "card.json").read_text())
    spec = card["network"]
    network = smp.Unet(
        encoder_name=spec["encoder"],
        encoder_depth=spec["depth"],
        encoder_weights=None,
        decoder_channels=spec["decoder_channels"],
        in_channels=spec["channels"],
        classes=spec["classes"],
    )
    network.load_state_dict(load_file(bundle / "model.safetensors"))
    codes = np.array([entry["code"] for entry in card["classes"]], dtype=np.uint8)
    return Model(network.eval(), len(card["dates"]), codes, card)


def starts(length: int) -> list[int]:
    """Where patches start along a side: every ``STEP`` pixels, the last one pulled back inside."""
    regular = range(0, max(1, length - OVERLAP), STEP)
    return sorted({max(0, min(start, length - PATCH)) for start in regular})


def batches(items: list[Any]) -> Iterator[list[Any]]:
    """``BATCH`` items at a time."""
    for first in range(0, len(items), BATCH):
        yield items[first : first + BATCH]


def kept(start: int) -> int:
    """First row (column) of a patch that is kept when patches overwrite one another in order."""
    return CROP if start else 0


def write(path: Path, codes: NDArray[np.uint8], like: Path) -> None:
    """Write the map, tiled and compressed as geoseg's is, on the grid of ``like``."""
    import rasterio

    with rasterio.open(like) as source:
        profile = {"crs": source.crs, "transform": source.transform}
    height, width = codes.shape
    profile |= {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": NODATA}
    profile |= {"tiled": True, "compress": "deflate", "height": height, "width": width}
    with rasterio.open(path, "w", **profile) as target:
        target.write(codes, 1)


def report(peer: str, distribution: str) -> None:
    """Print the runner's one line of JSON."""
    seconds = round(time.perf_counter() - _BEGAN, 3)
    print(json.dumps({"peer": peer, "version": version(distribution), "seconds": seconds}))
