"""Checksums as STAC items give them (``file:checksum``, a multihash), and plain SHA-256."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

_PREFIXES = {
    "1114": "sha1",
    "1220": "sha256",
    "1340": "sha512",
    "1620": "sha3_256",
    "d50110": "md5",
}
"""Code of the function and length of the digest, in hex; see the multiformats table of multihash."""


class Running(Protocol):
    """A checksum over bytes that come piece by piece."""

    def update(self, data: bytes, /) -> None:
        """The next piece."""

    def hexdigest(self) -> str:
        """Of all pieces so far."""
        ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file's bytes should come to."""

    function: str
    digest: str

    def begin(self) -> Running:
        """A checksum of the same kind over nothing yet."""
        return hashlib.new(self.function, usedforsecurity=False)


def parse(text: str) -> Checksum | None:
    """A multihash in hex, or a SHA-256 in hex; None for a kind that is not known."""
    plain = text.strip().lower()
    if re.fullmatch(r"[0-9a-f]{64}", plain):
        return Checksum("sha256", plain)
    for prefix, function in _PREFIXES.items():
        digest = plain.removeprefix(prefix)
        length = 2 * hashlib.new(function, usedforsecurity=False).digest_size
        if plain.startswith(prefix) and re.fullmatch(rf"[0-9a-f]{{{length}}}", digest):
            return Checksum(function, digest)
    return None
