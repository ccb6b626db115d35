"""What may be opened at all: local files, and where ``GEOSEG_ROOTS`` names folders, only below those.

Every path in a config, a STAC item or a Prefect parameter is untrusted. The doors call ``local``
before they read and ``require`` before they write; see docs/security.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from geoseg.config.base import foreign
from geoseg.errors import ConfigError, ConfinedError

ROOTS = "GEOSEG_ROOTS"
"""Environment variable: folders, parted by ``os.pathsep``, that all input and output must lie in."""

CLUSTERS = "GEOSEG_CLUSTERS"
"""Environment variable: 1 where configs may name clusters and schedulers in confinement too."""

Roots = tuple[str, ...]
"""Folders, resolved; () where nothing is confined."""

_of_job: Roots = ()


def roots() -> Roots:
    """The folders that this process keeps to. Raises ``ConfigError`` for one that is not absolute."""
    return _parse(os.environ.get(ROOTS, ""))


@lru_cache(maxsize=4)
def _parse(text: str) -> Roots:
    found = [part for part in text.split(os.pathsep) if part.strip()]
    for part in found:
        if not os.path.isabs(part):
            raise ConfigError(f"{ROOTS}: {part!r} is not absolute; name folders from the root on")
    return tuple(os.path.realpath(part) for part in found)


def keep_to(planned: Iterable[str]) -> None:
    """Keep also to the roots that the job in hand was planned under.

    A remote worker's environment may know none. They come on top of the process's own: a job can
    narrow what is opened, never widen it.
    """
    global _of_job  # noqa: PLW0603
    _of_job = () if tuple(planned) == roots() else tuple(planned)


def confined() -> bool:
    """Whether there are roots to keep to."""
    return bool(_of_job or roots())


def require_cluster(key: str, value: str) -> None:
    """Raise ``ConfinedError`` in confinement for a cluster that the operator did not allow.

    A cluster class starts programs, and whoever answers at a scheduler's address can run code in
    the process that asks: neither is for a config to choose. ``GEOSEG_SCHEDULER`` is the operator's.
    """
    own = os.environ.get("GEOSEG_SCHEDULER") == value
    if confined() and not own and os.environ.get(CLUSTERS) != "1":
        raise ConfinedError(
            f"{key}: {value} may not be named while {ROOTS} is set, since clusters run code; set "
            f"GEOSEG_SCHEDULER in the environment, or {CLUSTERS}=1 to allow what configs name"
        )


def local(path: Path) -> str:
    """The absolute name of a file to be read.

    Also for libraries that take ``zip:x!y``, ``NETCDF:"x":y`` or XML for a file name, which no
    absolute path can be. Raises ``ConfinedError`` for such names, and for what ``require`` refuses.
    """
    reason = foreign(os.fspath(path))
    if reason:
        raise ConfinedError(f"{path} is {reason}")
    return require(path)


def require(path: Path) -> str:
    """The absolute name of a file or folder, in confinement without symbolic links.

    Raises ``ConfinedError`` where it does not lie below a root.
    """
    place = os.path.abspath(path)
    if not confined():
        return place
    real = os.path.realpath(place)
    for allowed in (roots(), _of_job):
        if allowed and not any(_below(real, root) for root in allowed):
            link = "" if real == place else f" (it leads to {real})"
            raise ConfinedError(
                f"{path}{link} lies outside the folders that may be opened: {', '.join(allowed)}. "
                f"Move it there, or name its folder in {ROOTS} too."
            )
    return real


def _below(place: str, root: str) -> bool:
    return place == root or place.startswith(os.path.join(root, ""))
