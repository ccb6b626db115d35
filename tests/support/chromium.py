"""Debian's Chromium, headless, driven over its DevTools protocol: pages as people see them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")

_QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip


class Tab:
    """One page. Everything it says, and everything it asks for, is kept."""

    def __init__(self, address: str) -> None:
        self._socket = connect(address, max_size=2**28)
        self._number = 0
        self.said: list[str] = []
        """Console messages, uncaught errors, violations of the content security policy."""
        self.asked: list[str] = []
        """Addresses of requests."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """A command of the protocol, and its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            self._keep(message)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def _keep(self, message: Any) -> None:
        told, params = message.get("method"), message.get("params")
        if told == "Runtime.consoleAPICalled":
            self.said.append(str([a.get("value") for a in params["args"]]))
        elif told == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))
        elif told == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif told == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def screen(
        self, width: int, height: int = 800, dark: bool = False, phone: bool = False
    ) -> None:
        """The window's size in CSS pixels, the colour scheme, and whether it is a phone's."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)  # fmt: skip
        self.media(dark=dark)

    def media(self, dark: bool = False, kind: str = "") -> None:
        """The colour scheme, and ``print`` in place of the screen."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def open(self, page: Path, script: bool = True) -> None:
        """Load a file and wait until it, and its map, are there."""
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + 30
        ready = "document.readyState === 'complete'"
        if script:
            ready += " && (!document.getElementById('map') || map.dataset.ready === 'yes')"
        while not self.ask(ready):
            assert time.monotonic() < until, "the page does not get ready"
            time.sleep(0.05)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def shot(self, target: Path, whole: bool = True) -> Path:
        """A picture of the whole page, or of what the window shows."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            data = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                             clip={**size, "scale": 1})["data"]  # fmt: skip
        target.write_bytes(base64.b64decode(data))
        return target

    def pdf(self, target: Path) -> Path:
        """The page as printed on A4."""
        found = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        target.write_bytes(base64.b64decode(found["data"]))
        return target

    def close(self) -> None:
        """Let go of the page."""
        self._socket.close()


@contextmanager
def browser() -> Iterator[Tab]:
    """A Chromium of its own, with one page."""
    assert PROGRAM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [PROGRAM, *_QUIET, f"--user-data-dir={home}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            tab = Tab(_page(Path(home)))
            yield tab
            tab.close()
        finally:
            process.terminate()
            process.wait(timeout=20)


def _page(home: Path) -> str:
    """Where the first page's DevTools listen."""
    file, until = home / "DevToolsActivePort", time.monotonic() + 60
    while not file.is_file() or len(file.read_text().split()) < 2:
        assert time.monotonic() < until, "Chromium does not start"
        time.sleep(0.05)
    port = int(file.read_text().split()[0])
    with connect(f"ws://127.0.0.1:{port}{file.read_text().split()[1]}", max_size=2**24) as root:
        root.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        while "result" not in (message := json.loads(root.recv(timeout=30))):
            pass
    pages = [t for t in message["result"]["targetInfos"] if t["type"] == "page"]
    return f"ws://127.0.0.1:{port}/devtools/page/{pages[0]['targetId']}"
