"""What machine and which versions the figures are from."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import rasterio

PACKAGES = ("geoseg", "torch", "numpy", "rasterio", "dask", "segmentation_models_pytorch")
UNITS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, object]:
    """Processor, memory and versions; no host name, no path."""
    text = Path("/proc/cpuinfo").read_text()
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    return {
        "cpu": fields.get("model name", platform.machine()),
        "units": [unit for unit in UNITS if unit in fields.get("flags", "").split()],
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            "gdal": rasterio.__gdal_version__,
            **{name: _version(name) for name in PACKAGES},
        },
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
