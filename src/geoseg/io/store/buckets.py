"""A store in a bucket of Amazon S3, or of a service that speaks its language, through boto3.

Credentials come from where boto3 looks for them (environment, profile, the machine's role), never
from a config. Two publishers are kept apart by conditional writes (``If-Match``, ``If-None-Match``),
which Amazon, MinIO, Ceph and Cloudflare know; a service that ignores them can lose a version.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geoseg.errors import ClosedError, ConfigError, OutputError, RemoteError
from geoseg.io import files
from geoseg.io.store.folders import changed
from geoseg.io.store.objects import FileDigest, Store, TextObject, check_key

try:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
except ImportError as error:
    raise ConfigError(
        f"an s3:// destination needs boto3, which is not installed ({error}); install it with "
        "pip install 'geoseg[s3]'"
    ) from None

ATTEMPTS = 6
"""Of each request, with growing waits."""

SINGLE = 256 << 20
"""Bytes up to which a file goes in one request, whose SHA-256 the service checks against the
item's; larger files go in parts, each with its own."""

_SHA = "sha256"
_CHUNK = 1 << 20
_GONE = {"404", "NoSuchKey", "NotFound"}
_OTHER_STATE = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_CLOSED = {
    "AccessDenied": "these credentials may not do that; allow them to list, read, write and delete",
    "AllAccessDisabled": "the bucket is closed",
    "InvalidAccessKeyId": "the service does not know these credentials",
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
    "NoSuchBucket": "there is no such bucket; make it, or correct the destination",
    "403": "these credentials may not do that",
}
"""What is mended at the service, or in the environment: then the same command succeeds."""

_MISTAKES = {
    "InvalidBucketName": "no bucket can have that name",
    "PermanentRedirect": "the bucket lies in another region; set AWS_REGION",
}
"""What no repeat can help."""


class BucketStore(Store):
    """See ``Store``."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        if endpoint and urlsplit(endpoint).username is not None:
            raise ConfigError(
                f"the endpoint of {bucket} holds credentials; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment instead"
            )
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        with self._told(self.address):
            self._client: Any = boto3.session.Session().client(
                "s3", endpoint_url=endpoint, config=_config(endpoint)
            )

    def put(self, source: Path, key: str, known: FileDigest, media: str) -> None:
        """The service compares what arrives with the checksum, and keeps it with the object."""
        before = _state(source)
        found = FileDigest(source.stat().st_size, files.sha256(source))
        if found == known:
            with self._told(self.url(key)):
                self._send(source, key, known, media)
        if found != known or _state(source) != before:
            raise changed(source, found, known)

    def _send(self, source: Path, key: str, known: FileDigest, media: str) -> None:
        extra = {"ContentType": media, "Metadata": {_SHA: known.sha256}}
        if known.size <= SINGLE:
            with source.open("rb") as body:
                self._client.put_object(
                    **self._at(key), Body=body, ChecksumSHA256=_base64(known.sha256), **extra
                )
        else:
            parts = TransferConfig(multipart_threshold=SINGLE, multipart_chunksize=SINGLE // 4)
            self._client.upload_file(
                str(source), self._bucket, self._key(key),
                ExtraArgs={**extra, "ChecksumAlgorithm": "SHA256"}, Config=parts,
            )  # fmt: skip

    def matches(self, key: str, known: FileDigest) -> bool:
        """By size and by the checksum that ``put`` left: no byte is read."""
        with self._told(self.url(key)):
            found = self._ask("head_object", key)
        if found is None:
            return False
        return bool(
            found["ContentLength"] == known.size and found["Metadata"].get(_SHA) == known.sha256
        )

    def sum(self, key: str) -> FileDigest | None:
        """Reads the object."""
        with self._told(self.url(key)):
            found = self._ask("get_object", key)
            if found is None:
                return None
            digest, size = hashlib.sha256(), 0
            for chunk in found["Body"].iter_chunks(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
            return FileDigest(size, digest.hexdigest())

    def fetch(self, key: str, target: Path) -> None:
        """In parallel parts."""
        with self._told(self.url(key)), files.replacing(target) as part:
            self._client.download_file(self._bucket, self._key(key), str(part))

    def read(self, key: str) -> TextObject | None:
        """The tag is the ETag."""
        with self._told(self.url(key)):
            found = self._ask("get_object", key)
            return (
                None if found is None else TextObject(found["Body"].read().decode(), found["ETag"])
            )

    def write(self, key: str, text: str, expected: str | None) -> bool:
        """One conditional request."""
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        body = text.encode()
        digest = _base64(hashlib.sha256(body).hexdigest())
        with self._told(self.url(key)):
            try:
                self._client.put_object(
                    **self._at(key), Body=body, ChecksumSHA256=digest,
                    ContentType="application/json", **condition,
                )  # fmt: skip
            except ClientError as error:
                if _code(error) in _OTHER_STATE | _GONE:
                    return False
                raise
        return True

    def folders(self, key: str) -> list[str]:
        """By the slashes in keys."""
        prefix = f"{self._key(key)}/"
        with self._told(self.url(key)):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            found = [
                entry["Prefix"][len(prefix) : -1]
                for page in pages
                for entry in page.get("CommonPrefixes", [])
            ]
        return sorted(name for name in found if not name.startswith("."))

    def delete(self, key: str) -> None:
        """A bucket has no folders that could stay behind."""
        with self._told(self.url(key)):
            self._client.delete_object(**self._at(key))

    @contextmanager
    def staged(self, key: str) -> Iterator[str]:
        """The folder itself: nothing names it until its files are all there."""
        yield key

    def lock(self, key: str) -> nullcontext[None]:
        """None."""
        return nullcontext()

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(key)}

    def _ask(self, what: str, key: str) -> dict[str, Any] | None:
        """The answer to a request for one object; None where there is no such object."""
        try:
            answer: dict[str, Any] = getattr(self._client, what)(**self._at(key))
        except ClientError as error:
            if _code(error) in _GONE:
                return None
            raise
        return answer

    @contextmanager
    def _told(self, where: str) -> Iterator[None]:
        """What boto3 raises becomes an error that says whether a repeat can help."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise ClosedError(
                f"{where}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from None
        except (ClientError, BotoCoreError, boto3.exceptions.Boto3Error) as error:
            raise _error(where, error) from None
        except ValueError as error:  # an endpoint that is no URL
            raise ConfigError(f"{where}: {error}; correct 'endpoint' or the destination") from None


def _state(source: Path) -> tuple[int, int]:
    status = source.stat()
    return status.st_size, status.st_mtime_ns


def _config(endpoint: str | None) -> Config:
    """Retries with growing waits; a service other than Amazon's is spoken to plainly: not all know
    buckets as host names, or the checksums that botocore would add to every request."""
    plain = {"s3": {"addressing_style": "path"}} if endpoint else {}
    return Config(
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **plain,
    )


def _base64(digest: str) -> str:
    """A hex digest as S3 writes it."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _code(error: Exception) -> str:
    answer: dict[str, Any] = getattr(error, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))


def _error(where: str, error: Exception) -> ConfigError | OutputError | RemoteError:
    known = _CLOSED | _MISTAKES
    code = _code(error) or next((c for c in known if f"({c})" in str(error)), "")
    if code in _CLOSED:
        return ClosedError(f"{where}: {code}: {_CLOSED[code]}")
    if code in _MISTAKES:
        return ConfigError(f"{where}: {code}: {_MISTAKES[code]}")
    if code in _GONE:
        return OutputError(f"{where}: there is no such object; list what is there: geoseg versions")
    return RemoteError(
        f"{where}: the service failed or did not answer: {error}. What was stored stays; the same "
        "command goes on from there."
    )
