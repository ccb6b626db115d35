"""A service at work on a whole stack: real server, database, workers; and what a fault may have left."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from geoseg.io import configs
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from tests.support.common import run_geoseg
from tests.support.service_areas import Ground, drop, service_config, write_service
from tests.support.stack_process import StackProcess, wait_for

LOOK_SECONDS = 10
TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Receiver:
    """A server that takes whatever is posted to it."""

    url: str
    posted: list[str] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A webhook's other end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            found.posted.append(self.rfile.read(length).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


@dataclass
class RunningService:
    """A service file, the stack that serves it, and the areas in it."""

    stack: StackProcess
    folder: Path
    ground: Ground
    file: Path

    @property
    def published(self) -> Path:
        return self.folder / "published"

    def orders(self, area: str) -> tuple[Order, ...]:
        """The area's orders, as the ledger has them."""
        with Ledger.open(configs.load_service(self.file)) as ledger:
            return ledger.orders(area)

    def order(self, area: str) -> Order:
        """The area's only order."""
        (order,) = self.orders(area)
        return order

    def drop(self, area: str, dates: tuple[str, ...] = ()) -> None:
        """New images arrive."""
        target = self.folder / "incoming" / area
        drop(self.ground.scenes[0], target, *([dates] if dates else []))

    def wait_for_state(self, area: str, *states: str, seconds: float = 150) -> Order:
        """Wait until the area's order is in one of the states."""
        deadline = time.monotonic() + seconds
        while True:
            orders = self.orders(area)
            if orders and orders[-1].state in states:
                return orders[-1]
            assert time.monotonic() < deadline, f"{orders}\n{self.stack.logs()[-6000:]}"
            time.sleep(0.5)

    def wait_for_blocks(self, area: str, count: int, seconds: float = 120) -> Order:
        """Wait until so many blocks of the area's order are done."""
        deadline = time.monotonic() + seconds
        while True:
            orders = self.orders(area)
            if orders:
                assert orders[-1].state != "published", "it was over before the fault"
                done = list(orders[-1].output.glob("work/blocks-*/r*.json"))
                if len(done) >= count:
                    return orders[-1]
            assert time.monotonic() < deadline, f"{orders}\n{self.stack.logs()[-6000:]}"
            time.sleep(0.05)

    def flow_runs(self, order: Order) -> list[dict[str, Any]]:
        """All Prefect runs that there ever were for an order."""
        found = self.stack.api("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 200})
        return [run for run in found if run["parameters"].get("order") == order.id]

    def versions(self, area: str) -> list[Path]:
        """The items that the area's collection names."""
        collection = self.published / area / "collection.json"
        if not collection.is_file():
            return []
        links = json.loads(collection.read_text())["links"]
        return [collection.parent / link["href"] for link in links if link["rel"] == "item"]

    def require_sound(self, area: str) -> Order:
        """What must hold however a map came to be: published once, the right bytes, nothing left over."""
        order = self.order(area)
        assert order.state == "published", order
        (item,) = self.versions(area)
        assert item.parent.name.startswith(order.version)
        self._require_bytes(order, item)
        states = {run["state_type"] for run in self.flow_runs(order)}
        assert states <= TERMINAL, states
        wait_for(lambda: not self.runs_of(order), 30)
        return order

    def _require_bytes(self, order: Order, item: Path) -> None:
        """The published rasters are those of an undisturbed prediction from the same images."""
        alone = self.folder / "alone" / order.area
        done = run_geoseg("predict", str(order.config), "--output", str(alone))
        assert done.returncode == 0, done.stderr
        rasters = sorted(path.name for path in alone.glob("*_class.tif"))
        rasters += sorted(path.name for path in alone.glob("*_confidence.tif"))
        assert len(rasters) == 2
        for name in rasters:
            assert (item.parent / name).read_bytes() == (alone / name).read_bytes(), name

    def runs_of(self, order: Order) -> list[psutil.Process]:
        """Processes of flow runs that are still there for an order."""
        ids = {run["id"] for run in self.flow_runs(order)}
        return [one for one in self.stack.runs() if _flow_run_id(one) in ids]

    def geoseg(self, *arguments: str) -> str:
        """The command line, as the operator of this service."""
        done = run_geoseg(*arguments, env=self.stack.env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look_now(self) -> None:
        """One poll of all areas, not waiting for the schedule."""
        subprocess.run(
            [sys.executable, "-m", "geoseg.flows.watch_imagery", "--service", str(self.file)],
            env=self.stack.env, cwd=self.stack.project, check=True, capture_output=True,
        )  # fmt: skip


def _flow_run_id(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    except psutil.Error:
        return ""


def start_service(
    stack: StackProcess,
    folder: Path,
    ground: Ground,
    areas: list[str],
    change: Callable[[dict[str, Any]], None] = lambda content: None,
    every: int = LOOK_SECONDS,
    **predict: Any,
) -> RunningService:
    """A service of these areas, looked at every few seconds by the stack's own schedule."""
    content = service_config(folder, areas)
    change(content)
    file = write_service(folder, ground, content, **predict)
    _schedule(stack, file, every)
    return RunningService(stack, folder, ground, file)


def _schedule(stack: StackProcess, file: Path, every: int) -> None:
    """Turn the polls on, for this service file."""
    command = ["on", "--service", str(file), "--every", str(every)]
    done = stack.run("python", "-m", "geoseg.flows.schedule", *command)
    assert done.returncode == 0, done.stderr
