"""Files that are whole or not there: atomic writes, checksums, JSON records."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError
from geoseg.io.access import confine


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed over it when the body ends well.

    Readers see the old file or the new one, never a part; when the body fails, the temporary file
    is removed and ``path`` is as it was. Raises ``OutputError`` where the place cannot be written,
    ``ConfinedError`` where it may not.
    """
    make_folder(path.parent)
    # The suffix stays last: GDAL picks some drivers' side files by it.
    part = path.with_name(f".{path.stem[:100]}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield part
        _sync(part)
        os.replace(part, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it would hide what went wrong before it
            part.unlink(missing_ok=True)


def remove_torn(folder: Path) -> None:
    """Remove what writers that were killed left behind in a folder that nobody writes to now."""
    for path in folder.glob(".*.part*"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush to the device: a rename may reach it before the bytes it names."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _cannot_write(path: Path, error: OSError) -> OutputError:
    room = "Free some space and run the same command again; finished blocks are kept."
    place = "Choose another --output, or change its permissions."
    remedies = {
        errno.ENOSPC: room,
        errno.EDQUOT: room,
        errno.EFBIG: room,
        errno.EACCES: place,
        errno.EPERM: place,
        errno.EROFS: place,
    }
    remedy = remedies.get(error.errno or 0, "Check the folder and run the same command again.")
    what = f"{error.strerror or error}"
    if error.filename and Path(error.filename).parent != path.parent:
        what += f" ({error.filename})"
    return OutputError(f"{path}: cannot be written: {what}. {remedy}")


def make_folder(path: Path) -> Path:
    """Create a folder and its parents; ``OutputError`` or ``ConfinedError`` where that cannot be."""
    confine.require(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole, keys in the order given."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Content of a JSON file; None where it is not there or is no JSON (a torn record)."""
    confine.require(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def plain(text: str) -> str:
    """Text that can be written to any file or database: names of files need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def digest(content: Any) -> str:
    """Hex digest of a JSON value, the same for the same content whatever the key order."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
