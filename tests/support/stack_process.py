"""A whole stack for tests: ``with running_stack(folder) as stack``, on free ports, stopped at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Literal

import httpx
import psutil

from geoseg.stack import orphans
from geoseg.stack.services import client_environment
from geoseg.stack.settings import StackFolder, StackSettings, load
from geoseg.stack.supervisor import Process, Supervisor
from tests.support.common import ROOT
from tests.support.postgres import free_port, postgres

DATABASE_PASSWORD = "word%25of%26pass"
"""As it stands in a URL: word%of&pass."""


@dataclass
class StackProcess:
    """A stack of its own, and everything a test does with one."""

    root: Path
    project: Path = ROOT
    own: dict[str, str] = field(default_factory=dict)
    """Environment of ``up`` beyond this process's."""

    @property
    def folder(self) -> StackFolder:
        return StackFolder(self.root)

    @property
    def settings(self) -> StackSettings:
        settings = load(self.folder)
        assert settings is not None
        return settings

    @property
    def env(self) -> dict[str, str]:
        """Environment of a client."""
        return {
            **clean_environment(),
            **client_environment(self.folder, self.settings),
            "PREFECT_HOME": str(self.root / "client"),
        }

    def control(self, *command: str, check: bool = True, **more: str) -> CompletedProcess[str]:
        """``python -m geoseg.stack COMMAND``, begun in the background as a shell's ``&`` does."""
        shell = 'trap "" INT; "$@" & wait $!'
        done = subprocess.run(
            ["sh", "-c", shell, "sh", sys.executable, "-m", "geoseg.stack", *command],
            env={**clean_environment(), "GEOSEG_STATE": str(self.root), **self.own, **more},
            cwd=self.project, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done

    def run(self, *command: str, timeout: float = 280, **more: str) -> CompletedProcess[str]:
        """A command of the environment's (``prefect``) as the stack's client."""
        program = Path(sys.executable).parent / command[0]
        return subprocess.run(
            [str(program), *command[1:]], env={**self.env, **more}, cwd=self.project,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def deploy(
        self, deployment: str, watch: bool = True, **parameters: str
    ) -> CompletedProcess[str]:
        """``prefect deployment run``; with ``watch`` it returns when the run has ended."""
        pairs = [
            word for name, value in parameters.items() for word in ("--param", f"{name}={value}")
        ]
        return self.run("prefect", "deployment", "run", deployment, *pairs, *(["--watch"] * watch))

    def api(self, path: str, content: object = None, method: str = "POST") -> Any:
        """What Prefect's API answers."""
        user, _, password = self.settings.login.partition(":")
        url, tries = f"{self.settings.api}/{path}", 5
        answer = httpx.request(method, url, json=content, auth=(user, password), timeout=30)
        while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and tries:  # SQLite is locked
            time.sleep(1)
            answer = httpx.request(method, url, json=content, auth=(user, password), timeout=30)
            tries -= 1
        return answer.raise_for_status().json() if answer.content else None

    def newest_run(self) -> dict[str, Any]:
        """The flow run that was made last."""
        found = self.api("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
        return dict(found[0])

    def service(self, name: str) -> Process:
        """A service as supervisord has it."""
        return next(each for each in Supervisor(self.folder).processes() if each.name == name)

    def members(self) -> list[psutil.Process]:
        """All processes of the stack."""
        return orphans.members(self.folder)

    def runs(self) -> list[psutil.Process]:
        """Those of flow runs."""
        return [each for each in self.members() if orphans.is_run(each)]

    def kill(self, name: str) -> None:
        """kill -9 of a service's process."""
        os.kill(self.service(name).pid, signal.SIGKILL)

    def healthy(self) -> bool:
        """Whether ``status`` says so."""
        return self.control("status", check=False).returncode == 0

    def logs(self) -> str:
        """Everything that any service said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.logs.glob("*")))


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.3)


@contextmanager
def running_stack(
    root: Path, database: Literal["sqlite", "postgresql"] = "sqlite", **environment: str
) -> Iterator[StackProcess]:
    """A stack in the folder ``root`` (a short name: it holds a socket), and no process after it."""
    names = ("GEOSEG_PREFECT_PORT", "GEOSEG_DASK_PORT", "GEOSEG_DASHBOARD_PORT")
    ports = {name: str(free_port()) for name in names}
    stack = StackProcess(root, own={**ports, **environment})
    if database == "postgresql":
        with postgres() as server:
            # The server does not ask for the password; the stack has to treat it as one.
            at = f"127.0.0.1:{server.port}/postgres"
            stack.own["GEOSEG_DATABASE"] = f"postgresql://geoseg:{DATABASE_PASSWORD}@{at}"
            yield from _up_and_down(stack)
    else:
        yield from _up_and_down(stack)


def _up_and_down(stack: StackProcess) -> Iterator[StackProcess]:
    try:
        stack.control("up")
        yield stack
    finally:
        stack.control("down", check=False)
        orphans.stop(stack.members())


def clean_environment() -> dict[str, str]:
    """This process's environment without a stack or a server of somebody else's."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_") and name not in _OF_A_STACK
    }
    return {**kept, "PYTHONPATH": paths.rstrip(os.pathsep)}


_OF_A_STACK = {
    "GEOSEG_SCHEDULER", "GEOSEG_TLS_CA", "GEOSEG_TLS_CERT", "GEOSEG_TLS_KEY", "GEOSEG_STATE",
    "GEOSEG_DATABASE", "GEOSEG_WEBHOOK",
}  # fmt: skip


def artifacts(stack: StackProcess) -> dict[str, dict[str, Any]]:
    """The newest artifact of each key, as the page shows them."""
    return {found["key"]: found for found in stack.api("artifacts/latest/filter", {})}


def report_of(output: Path) -> dict[str, Any]:
    """The report of a run, for programs."""
    return dict(json.loads((output / "report.json").read_text()))
