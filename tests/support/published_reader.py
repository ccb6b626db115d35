"""A reader of published maps that knows STAC and nothing of geoseg: follows collection, item, asset.

As a script it loops until its standard input ends, and prints what it saw as JSON:

    python published_reader.py ADDRESS [ENDPOINT] GRACE_SECONDS
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

Get = Callable[[str], bytes]


@cache
def s3_client(endpoint: str | None) -> Any:
    """One for all: making it takes a second."""
    import boto3

    return boto3.client("s3", endpoint_url=endpoint)


def getter(address: str, endpoint: str | None) -> Get:
    """Reads an object of a folder or a bucket by its key."""
    if not address.startswith("s3://"):
        return lambda key: Path(address, key).read_bytes()
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    client = s3_client(endpoint)

    def get(key: str) -> bytes:
        found: bytes = client.get_object(Bucket=bucket, Key=f"{prefix}/{key}")["Body"].read()
        return found

    return get


def follow(key: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(key), href))


def _checked(content: bytes, told: dict[str, Any], key: str) -> None:
    assert len(content) == told["file:size"], f"{key}: {len(content)} bytes"
    assert "1220" + hashlib.sha256(content).hexdigest() == told["file:checksum"], f"{key}: bytes"


def collections(get: Get) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and contents."""
    for link in json.loads(get("catalog.json"))["links"]:
        if link["rel"] == "child":
            key = follow("catalog.json", link["href"])
            yield key, json.loads(get(key))


def read_item(get: Get, collection: str, link: dict[str, Any]) -> dict[str, Any]:
    """The item behind a link, with every file of it checked."""
    key = follow(collection, link["href"])
    content = get(key)
    _checked(content, link, key)
    item: dict[str, Any] = json.loads(content)
    for asset in item["assets"].values():
        file = follow(key, asset["href"])
        _checked(get(file), asset, file)
    return item


def read_all(get: Get) -> dict[str, list[str]]:
    """Versions by area, each read to the last byte."""
    return {
        content["id"]: [
            read_item(get, key, link)["properties"]["version"]
            for link in content["links"]
            if link["rel"] == "item"
        ]
        for key, content in collections(get)
    }


def loop(get: Get, grace: float, ended: threading.Event) -> dict[str, Any]:
    seen: set[str] = set()
    rounds, late, troubles = 0, 0, []
    while not ended.is_set():
        for key, content in collections(get):
            began = time.monotonic()
            for link in [link for link in content["links"] if link["rel"] == "item"]:
                try:
                    seen.add(read_item(get, key, link)["properties"]["version"])
                except Exception as error:  # noqa: BLE001 (whatever it is, it is what a reader meets)
                    if time.monotonic() - began < grace:
                        troubles.append(f"{type(error).__name__}: {error}")
                    late += 1
        rounds += 1
    return {"rounds": rounds, "seen": sorted(seen), "late": late, "troubles": troubles}


def main() -> None:
    address, *endpoint, grace = sys.argv[1:]
    get = getter(address, endpoint[0] if endpoint else None)
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    print("reading", flush=True)
    print(json.dumps(loop(get, float(grace), ended)))


if __name__ == "__main__":
    main()
