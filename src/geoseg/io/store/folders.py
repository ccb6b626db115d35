"""A store that is a folder: files appear by renaming, writers take turns by ``flock``."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from geoseg.errors import BusyError, OutputError, ProductError
from geoseg.io import files
from geoseg.io.access import confine
from geoseg.io.store.objects import FileDigest, Store, TextObject, check_key

PATIENCE = 600
"""Seconds to wait for another publisher of the same area."""

_CHUNK = 1 << 20
_PART = ".publishing."


class FolderStore(Store):
    """See ``Store``. Readers need nothing but the files."""

    def __init__(self, root: Path) -> None:
        self._root = Path(confine.require(root.expanduser()))
        self.address = str(self._root)

    def path(self, key: str) -> Path:
        """The file or folder of a key. Raises ``ConfinedError``: a link may lead out."""
        return Path(confine.require(self._root.joinpath(*check_key(key).split("/"))))

    def put(self, source: Path, key: str, known: FileDigest, media: str) -> None:
        """Copied under a temporary name, flushed, and renamed."""
        with files.replacing(self.path(key)) as part:
            found = _copy(source, part)
            if found != known:
                raise changed(source, found, known)

    def matches(self, key: str, known: FileDigest) -> bool:
        """Reads the file."""
        path = self.path(key)
        with _told(path):
            same_size = path.is_file() and path.stat().st_size == known.size
        return same_size and self.sum(key) == known

    def sum(self, key: str) -> FileDigest | None:
        """Of the file."""
        path = self.path(key)
        with _told(path):
            return FileDigest(path.stat().st_size, files.sha256(path)) if path.is_file() else None

    def fetch(self, key: str, target: Path) -> None:
        """A copy."""
        with files.replacing(target) as part:
            _copy(self.path(key), part)

    def read(self, key: str) -> TextObject | None:
        """The tag is the digest of the bytes."""
        path = self.path(key)
        with _told(path):
            content = path.read_bytes() if path.is_file() else None
        return None if content is None else TextObject(content.decode(), _tag(content))

    def write(self, key: str, text: str, expected: str | None) -> bool:
        """Compared and written in two steps: hold the lock of the folder around both."""
        now = self.read(key)
        if (now.tag if now else None) != expected:
            return False
        files.write_text(self.path(key), text)
        _flush(self.path(key).parent)
        return True

    def folders(self, key: str) -> list[str]:
        """Of the folder, as it is."""
        path = self.path(key)
        with _told(path):
            inside = list(path.iterdir()) if path.is_dir() else []
            return sorted(p.name for p in inside if p.is_dir() and p.name[0] != ".")

    def delete(self, key: str) -> None:
        """Files first, then what they leave empty, up to the root."""
        path = self.path(key)
        with _told(path):
            path.unlink(missing_ok=True)
            while path.parent != self._root and path.parent.is_dir() and _empty(path.parent):
                path = path.parent
                path.rmdir()

    @contextmanager
    def staged(self, key: str) -> Iterator[str]:
        """A hidden folder beside it, renamed; where the folder is there, the folder itself."""
        target = self.path(key)
        if target.is_dir():
            yield key
            return
        stage = target.with_name(f"{_PART}{target.name}.{uuid.uuid4().hex[:8]}")
        files.make_folder(stage)
        try:
            yield stage.relative_to(self._root).as_posix()
            for folder, _, _ in os.walk(stage):
                _flush(Path(folder))
            with _told(target):
                stage.rename(target)
            _flush(target.parent)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """The kernel's, on ``.lock`` in the folder. Parts of publishers that were killed go: whoever
        has the lock is alone."""
        folder = files.make_folder(self.path(key) if key else self._root)
        lock = _acquire(folder / ".lock")
        try:
            for torn in folder.glob(f"{_PART}*"):
                shutil.rmtree(torn, ignore_errors=True)
            files.remove_torn(folder)
            yield
        finally:
            lock.release()


def changed(source: Path, found: FileDigest, known: FileDigest) -> ProductError:
    """A product is not what its description says."""
    return ProductError(
        f"{source}: {found.size} bytes with SHA-256 {found.sha256[:12]}..., but the STAC item says "
        f"{known.size} bytes with {known.sha256[:12]}...; the file changed after the run described it. "
        "Run the same command again with the config: it describes the products anew."
    )


def _copy(source: Path, target: Path) -> FileDigest:
    """Copy, and sum up what was copied."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
    return FileDigest(size, digest.hexdigest())


def _acquire(path: Path) -> FileLock:
    """The lock, taken; ``BusyError`` after ``PATIENCE``."""
    # A soft lock, the library's substitute, would outlive a publisher that is killed.
    lock = FileLock(
        path, timeout=PATIENCE, mode=0o644, fallback_to_soft=False, preserve_lock_file=True
    )
    with _told(path):
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(
                f"{path.parent}: another publisher has been at work here for {PATIENCE} s; "
                "wait until it has ended, or stop it, and run the same command again"
            ) from None
    return lock


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the folder refuses becomes ``OutputError``."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}; check the destination's permissions and its disk, "
            "and run the same command again"
        ) from error


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def _flush(folder: Path) -> None:
    """Flush a folder's names to the device, where its file system can."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
