"""Which hosts may be asked for anything: those that somebody named, and none that they lead to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from geoseg.errors import ConfigError, ConfinedError

HOSTS = "GEOSEG_HOSTS"
"""Environment variable: hosts, parted by commas, that may be fetched from besides those of a file."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts with their ports. Addresses of this machine and of private networks are like any other:
    they are allowed where they are named, so nothing can be led to them from outside."""

    places: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, *named: str) -> Self:
        """Hosts (``example.org``: its ports 80 and 443; ``example.org:8080``: that port) and those of
        URLs (the URL's port), with those of ``GEOSEG_HOSTS``. Raises ``ConfigError``."""
        environment = [name.strip() for name in os.environ.get(HOSTS, "").split(",")]
        found = [place for name in (*named, *environment) if name for place in _places(name)]
        return cls(frozenset(found))

    def require(self, url: str) -> None:
        """Raise ``ConfinedError`` unless this is HTTP to one of the hosts, without credentials."""
        parts = urlsplit(url)
        shown = without_query(url)
        if parts.scheme not in _PORTS:
            raise ConfinedError(f"{shown}: only http and https are fetched")
        if parts.username is not None or "\\" in url:
            raise ConfinedError(
                f"{shown}: an address with a user or a backslash in it is not fetched; keep "
                "credentials in ~/.netrc"
            )
        if _place(url) not in self.places:
            known = ", ".join(sorted({host for host, _ in self.places})) or "none"
            raise ConfinedError(
                f"{shown}: the host {parts.netloc} is not one that may be fetched from ({known}); "
                f"name it in 'hosts' of the source, or in {HOSTS}"
            )


def without_query(url: str) -> str:
    """A URL as messages show it: no user, no password, no signature or token in a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _places(name: str) -> list[tuple[str, int]]:
    if "://" in name:
        return [_place(name)]
    bare = urlsplit(f"//{name}")
    if not bare.hostname or bare.path or bare.username:
        raise ConfigError(f"{name!r} is no host; write example.org, example.org:8080 or a URL")
    if ":" in name.rpartition("]")[2]:
        return [_place(f"http://{name}")]
    return [_place(f"{scheme}://{name}") for scheme in _PORTS]


def _place(url: str) -> tuple[str, int]:
    """Host and port of a URL; the port is -1 where it is none."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return (parts.hostname or "").rstrip("."), port or _PORTS.get(parts.scheme, -1)
