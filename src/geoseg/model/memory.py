"""Keeping memory between forward passes instead of giving it back to the kernel after each layer."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache

_TOP_PAD = 256 * 2**20
_NEVER = 2**31 - 1

# Names of glibc's malloc.h and of the environment, and the numbers of the former's mallopt; musl and
# other C libraries have no such call. One arena: threads of their own would each keep a heap, and
# give it back whole as soon as it is empty.
_SETTINGS = {
    "MALLOC_MMAP_MAX_": (-4, 0),
    "MALLOC_TRIM_THRESHOLD_": (-1, _NEVER),
    "MALLOC_TOP_PAD_": (-2, _TOP_PAD),
    "MALLOC_ARENA_MAX": (-8, 1),
}

ENVIRONMENT = {name: str(value) for name, (_, value) in _SETTINGS.items()}
"""The same for a process that is still to be started: it then holds for its first thread too."""


@cache
def keep_memory() -> bool:
    """Tell this process's malloc to keep what it has; returns whether it could be told.

    By default glibc maps each large activation anew and unmaps it a layer later, and every page is
    zeroed by the kernel in between. Call it before threads are started: those that are there keep the
    arena they have.
    """
    library = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(library), "mallopt", None) if library else None
    if mallopt is None:
        return False
    return all(mallopt(key, value) for key, value in _SETTINGS.values())
