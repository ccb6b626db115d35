"""The runs of the stack's Prefect server, as far as starting and stopping the stack concerns them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from geoseg.stack.services import POOL
from geoseg.stack.settings import StackSettings

UNDER_WAY = ("RUNNING", "PENDING", "CANCELLING")
_POLL_SECONDS = 2


@dataclass(frozen=True)
class Runs:
    """Runs of the stack's work pool, through the API."""

    settings: StackSettings

    def _call(self, method: str, path: str, content: dict[str, Any]) -> Any:
        user, _, password = self.settings.login.partition(":")
        answer = httpx.request(
            method, f"{self.settings.api}/{path}", json=content, auth=(user, password), timeout=30
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def under_way(self) -> list[dict[str, Any]]:
        """Those that a worker has taken up and that have not ended. Raises ``httpx.HTTPError``."""
        wanted = {
            "work_pools": {"name": {"any_": [POOL]}},
            "flow_runs": {"state": {"type": {"any_": list(UNDER_WAY)}}},
        }
        found: list[dict[str, Any]] = self._call("POST", "flow_runs/filter", wanted)
        return found

    def give_up(self, message: str) -> list[str]:
        """End in Prefect what is still under way without a process; returns the runs' names."""
        found = self.under_way()
        for run in found:
            # One that was about to be cancelled is; Prefect allows it no other end.
            wanted = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
            state = {"type": wanted, "name": wanted.capitalize(), "message": message}
            # Not forced: a run that has come to its end meanwhile keeps it.
            self._call("POST", f"flow_runs/{run['id']}/set_state", {"state": state})
        return [str(run["name"]) for run in found]

    def await_end(self, say: Callable[[str], None]) -> None:
        """Return when no run is under way."""
        told: set[str] = set()
        while names := {str(run["name"]) for run in self.under_way()}:
            if names != told:
                say(f"waiting for the end of {', '.join(sorted(names))}")
                told = names
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def no_new_ones(self) -> Iterator[None]:
        """The pool is paused in the body; one that was paused before stays so."""
        pool = self._call("GET", f"work_pools/{POOL}", {})
        if pool["is_paused"]:
            yield
            return
        self._call("PATCH", f"work_pools/{POOL}", {"is_paused": True})
        try:
            yield
        finally:
            self._call("PATCH", f"work_pools/{POOL}", {"is_paused": False})
