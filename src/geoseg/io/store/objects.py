"""Where published files lie, a folder or a bucket, behind one small set of verbs.

``io.store.folders`` and ``io.store.buckets`` are the two kinds; ``opening.open_store`` chooses by the
address. Keys are paths from the store's root, with ``/`` between their parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TextObject:
    """A text object as it was when it was read."""

    content: str
    tag: str
    """Tells this state of the object from every other; see ``Store.write``."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What identifies the bytes of a file."""

    size: int
    sha256: str
    """Hex digest."""


class Store(ABC):
    """A place for files. What cannot be done raises ``OutputError`` (a folder), ``ClosedError`` (a
    bucket that the credentials do not open) or ``RemoteError`` (a service that does not answer)."""

    address: str
    """As people write it, without a slash at the end."""

    def url(self, key: str) -> str:
        """The object's own address."""
        return f"{self.address}/{check_key(key)}"

    @abstractmethod
    def put(self, source: Path, key: str, known: FileDigest, media: str) -> None:
        """Store a file's bytes, whole or not at all; ``media`` is its media type.

        Raises ``OutputError`` too where they are not those that ``known`` says.
        """

    @abstractmethod
    def matches(self, key: str, known: FileDigest) -> bool:
        """Whether the object is there with these bytes; a bucket answers from what ``put`` left."""

    @abstractmethod
    def sum(self, key: str) -> FileDigest | None:
        """Of the object's bytes, read now; None where there is none."""

    @abstractmethod
    def fetch(self, key: str, target: Path) -> None:
        """Write the object's bytes to a file of this machine, whole or not at all.

        Raises ``OutputError`` where there is no such object.
        """

    @abstractmethod
    def read(self, key: str) -> TextObject | None:
        """A text object; None where there is none."""

    @abstractmethod
    def write(self, key: str, text: str, expected: str | None) -> bool:
        """Store a text, whole or not at all, if the object is still in the state of the tag
        ``expected`` (None: if there is none); False where it is not."""

    @abstractmethod
    def folders(self, key: str) -> list[str]:
        """Names of the folders right below, sorted; hidden ones (``.name``) are left out."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object, and folders that are empty then; nothing where there is none."""

    @abstractmethod
    def staged(self, key: str) -> AbstractContextManager[str]:
        """A key to write the files of the folder ``key`` below. In a folder they appear at ``key``
        all at once when the body ends well, and not at all when it fails; in a bucket one by one."""

    @abstractmethod
    def lock(self, key: str) -> AbstractContextManager[None]:
        """Keep other publishers out of the folder ``key``, where the store can; a bucket cannot, and
        relies on ``write``. Raises ``BusyError`` where the wait is too long."""


def check_key(key: str) -> str:
    """The key, or ValueError for one that leads out of the store: keys come from files, too."""
    if not key or any(part in {"", ".", ".."} for part in key.split("/")) or "\\" in key:
        raise ValueError(f"{key!r} is no path inside a store")
    return key
