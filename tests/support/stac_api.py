"""A small STAC API over real HTTP: landing page, search with paging and queries, files; and faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = 2
"""Items of one answer."""

CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "https://api.stacspec.org/v1.0.0/collections",
]


@dataclass
class StacApi:
    """What the API serves, and what it does wrong."""

    url: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)
    files: Path = Path()
    failures: list[int] = field(default_factory=list)
    """Statuses of the next answers to searches, instead of items."""
    requests: list[str] = field(default_factory=list)
    next_page: str = ""
    """Another API that further pages are links to."""
    said: Any = None
    """What searches are answered with in place of items, whatever it is."""
    landed: Any = None
    """The same for the landing page."""

    def add(self, item: str, moment: str, assets: dict[str, Path], **properties: Any) -> Any:
        """An item whose assets are files below ``files``; returns it, to be changed."""
        content = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": [],
            "id": item,
            "collection": "s2",
            "geometry": None,
            "bbox": [15.0, 46.0, 15.1, 46.1],
            "properties": {"datetime": moment, **properties},
            "links": [{"rel": "self", "href": f"{self.url}/collections/s2/items/{item}"}],
            "assets": {
                key: {"href": f"{self.url}/files/{path.relative_to(self.files)}"}
                for key, path in assets.items()
            },
        }
        self.items.append(content)
        return content

    def landing(self) -> dict[str, Any]:
        rels = [("self", ""), ("root", ""), ("search", "/search"), ("data", "/collections")]
        links = [
            {"rel": rel, "href": self.url + path, "type": "application/json"} for rel, path in rels
        ]
        search = {**links[2], "type": "application/geo+json", "method": "POST"}
        return {
            "type": "Catalog", "stac_version": "1.0.0", "id": "test", "description": "test",
            "conformsTo": CONFORMS, "links": [*links[:2], search, links[3]],
        }  # fmt: skip

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        first, last = (end[:10] for end in body["datetime"].split("/"))
        found = [
            item
            for item in self.items
            if item.get("collection") in body["collections"]
            and first <= str(item.get("properties", {}).get("datetime") or first)[:10] <= last
            and all(
                item["properties"].get(key) == condition["eq"]
                for key, condition in (body.get("query") or {}).items()
            )
        ]
        start = int(body.get("token", 0))
        links = []
        if start + PAGE < len(found):
            following = {**body, "token": str(start + PAGE)}
            href = f"{self.next_page or self.url}/search"
            links = [{"rel": "next", "href": href, "method": "POST", "body": following}]
        page = found[start : start + PAGE]
        return {"type": "FeatureCollection", "features": page, "links": links}


@contextmanager
def stac_api(files: Path, port: int = 0) -> Iterator[StacApi]:
    """A running API."""
    api = StacApi(files=files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.requests.append(self.path)
            if self.path.startswith("/files/"):
                self._answer(200, (api.files / self.path.removeprefix("/files/")).read_bytes())
            else:
                self._say(api.landed, api.landing())

        def do_POST(self) -> None:
            api.requests.append(self.path)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if api.failures:
                self._answer(api.failures.pop(0), b"{}")
            else:
                self._say(api.said, api.search(body) if api.said is None else None)

        def _say(self, said: Any, usual: Any) -> None:
            if isinstance(said, bytes):
                self._answer(200, said)
            else:
                self._answer(200, json.dumps(usual if said is None else said).encode())

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
