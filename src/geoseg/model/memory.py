"""Keeping memory between forward passes instead of giving it back to the kernel after each layer."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache

# Numbers of glibc's malloc.h; musl and other C libraries have no such call.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 256 * 2**20
_NEVER = 2**31 - 1


@cache
def keep_memory() -> bool:
    """Tell this process's malloc to keep what it has; returns whether it could be told.

    By default glibc maps each large activation anew and unmaps it a layer later, and every page is
    zeroed by the kernel in between. Works at any time, so nobody has to set ``MALLOC_MMAP_MAX_`` and
    its like before Python starts.
    """
    library = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(library), "mallopt", None) if library else None
    if mallopt is None:
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _NEVER, _M_TOP_PAD: _TOP_PAD}
    return all(mallopt(key, value) for key, value in settings.items())
