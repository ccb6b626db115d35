"""Whether the services do their work, beyond being there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import httpx

from geoseg.stack.services import POOL
from geoseg.stack.settings import StackError, StackFolder, StackSettings
from geoseg.stack.supervisor import Supervisor

READY_SECONDS = 180
"""How long a service may take: a first start makes Prefect's database."""
_ASK_SECONDS = 5


@dataclass(frozen=True)
class Health:
    """Questions to a stack; each answers the reason why not, empty where all is well."""

    folder: StackFolder
    settings: StackSettings

    def supervised(self) -> str:
        """All processes are there."""
        found = Supervisor(self.folder).processes()
        amiss = [f"{each.name} is {each.state}" for each in found if each.state != "RUNNING"]
        return ", ".join(amiss) if found else "supervisord does not run"

    def server(self) -> str:
        """Prefect's API and its database."""
        return self._problem(f"{self.settings.api}/ready")

    def scheduler(self) -> str:
        """The Dask scheduler."""
        return self._problem(f"{self.settings.dashboard}/health")

    def dask_workers(self) -> str:
        """As many Dask workers as there should be."""
        try:
            counts = _get(f"{self.settings.dashboard}/json/counts.json").json()
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        there, wanted = int(counts["workers"]), self.settings.dask_workers
        return "" if there >= wanted else f"{there} of {wanted} are there"

    def runner(self, name: str) -> str:
        """A Prefect worker that takes up runs: the process there is now, and not the one before."""
        user, _, password = self.settings.login.partition(":")
        try:
            answer = httpx.post(
                f"{self.settings.api}/work_pools/{POOL}/workers/filter",
                json={}, auth=(user, password), timeout=_ASK_SECONDS,
            ).raise_for_status()  # fmt: skip
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        since = max(
            (p.since for p in Supervisor(self.folder).processes() if p.name == name), default=0
        )
        heard = (_seconds(w["last_heartbeat_time"]) for w in answer.json() if w["name"] == name)
        return "" if any(since < each for each in heard) else "it has not asked for runs yet"

    @staticmethod
    def _problem(url: str) -> str:
        try:
            _get(url)
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        return ""


def _seconds(moment: str) -> float:
    """Since 1970, of a time as Prefect writes it."""
    return datetime.fromisoformat(moment).timestamp()


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_ASK_SECONDS).raise_for_status()


def await_health(
    question: Callable[[], str], service: str, folder: StackFolder, seconds: float = READY_SECONDS
) -> None:
    """Ask until the answer is good. Raises ``StackError`` where the service gives up, or in the end."""
    deadline = time.monotonic() + seconds
    while problem := question():
        states = {each.name: each.state for each in Supervisor(folder).processes()}
        gone = not states or states.get(service) == "FATAL"
        if gone or time.monotonic() > deadline:
            raise StackError(
                f"{service} does not come up ({problem}); its log: {folder.logs / service}.log. "
                "'make down' stops the others"
            )
        time.sleep(0.2)
