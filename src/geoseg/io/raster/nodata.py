"""Which numbers of a band mean that there is no data: its nodata value, as GDAL compares it.

Programs write the value and the tag that names it with other last digits. GDAL takes two numbers of
a floating type for equal that differ by less than four roundings of single precision, and cuts the
fraction off the nodata value of an integer type; a mask that it makes says the same as ``drop``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPSILON = float(np.finfo(np.float32).eps)

_RATIO = (1 + 2 * _EPSILON) / (1 - 2 * _EPSILON)
"""At most, of two numbers for which ``|a - b| < 2 epsilon |a + b|``."""

_OVERFLOW = 2.0**128 - 2.0**103
"""From here on a sum is infinite in single precision, and then that holds whatever the difference."""


def drop(valid: NDArray[np.bool_], layer: NDArray[Any], dtype: str, nodata: float) -> None:
    """Clear ``valid`` where a band, of the type ``dtype`` in its file, has its nodata value."""
    numbers = _numbers(nodata, dtype)
    if numbers is None:
        return
    low, high = numbers
    if low == high:
        valid &= layer != low
    else:
        valid &= (layer < low) | (layer > high)


@lru_cache(maxsize=256)
def _numbers(nodata: float, dtype: str) -> tuple[Any, Any] | None:
    """The lowest and the highest number that count as nodata; None where no number does."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        # An integer is compared as one: the detour over floats takes five times as long.
        return (int(nodata),) * 2 if limits.min <= nodata <= limits.max else None
    kind = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        size = abs(float(kind(nodata)))
        if not np.isfinite(size):
            return None
        near, far = size / _RATIO, size * _RATIO
        if kind is np.float32 and size + size >= _OVERFLOW:
            near, far = min(near, _OVERFLOW - size), np.inf
        # Rounded inwards, to numbers of the type.
        inner, outer = kind(near), kind(far)
        inner = inner if float(inner) >= near else np.nextafter(inner, kind(np.inf))
        outer = outer if float(outer) <= far else np.nextafter(outer, kind(0))
    return (-outer, -inner) if nodata < 0 else (inner, outer)
