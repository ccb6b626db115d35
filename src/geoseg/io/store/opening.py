"""From a destination as a config names it to its store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from geoseg.errors import ConfigError
from geoseg.io.store.folders import FolderStore
from geoseg.io.store.objects import Store


def open_store(destination: str, endpoint: str | None = None) -> Store:
    """The folder, or ``s3://bucket/prefix`` at Amazon or at the service ``endpoint``.

    Nothing is asked of a service yet. Raises ``ConfigError`` for another kind of address.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", destination)
    if scheme is None:
        return FolderStore(Path(destination))
    if scheme[1].lower() != "s3" or not urlsplit(destination).netloc:
        raise ConfigError(
            f"destination {destination!r} is neither a folder nor s3://bucket/prefix; other services "
            "are reached through their S3 interface, with 'endpoint'"
        )
    from geoseg.io.store.buckets import BucketStore  # noqa: PLC0415 (boto3 is an extra)

    parts = urlsplit(destination)
    return BucketStore(parts.netloc, parts.path.strip("/"), endpoint)
