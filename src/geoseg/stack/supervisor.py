"""supervisord, which keeps the services running: its configuration, and talking to it.

It is reached by a socket in the stack's folder and by nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from geoseg.stack.services import MARK, Service
from geoseg.stack.settings import StackError, StackFolder, StackSettings

START_SECONDS = 20
STOP_SECONDS = 30
RETRIES = 1000
"""supervisord waits a second longer before each: an hour without a database takes 85 of them."""
_UNREACHABLE = (OSError, HTTPException)


@dataclass(frozen=True, slots=True)
class Process:
    """A service as supervisord sees it."""

    name: str
    state: str
    """RUNNING, STARTING, BACKOFF, STOPPED, FATAL and others, of supervisord's documentation."""
    pid: int
    since: int
    """Seconds since 1970 of its last start."""


@dataclass(frozen=True)
class Supervisor:
    """The supervisord of a stack."""

    folder: StackFolder

    @property
    def _calls(self) -> Any:
        # A new one each time: a connection that failed once cannot be used again.
        transport = SupervisorTransport(None, None, f"unix://{self.folder.socket}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    @property
    def pid(self) -> int | None:
        """Its process; None where none runs."""
        try:
            return int(self._calls.getPID())
        except _UNREACHABLE:
            return None

    def start(self, services: Sequence[Service], settings: StackSettings) -> None:
        """Start it, and with it all services that need no registration."""
        self.folder.write(self.folder.supervisor, configuration(self.folder, services, settings))
        command = [
            sys.executable,
            "-m",
            "supervisor.supervisord",
            "-c",
            str(self.folder.supervisor),
        ]
        environment = {**os.environ, MARK: str(self.folder.root)}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.pid:
            if done.returncode or time.monotonic() > deadline:
                raise StackError(
                    f"supervisord does not start: {(done.stderr or done.stdout).strip()}; see "
                    f"{self.folder.logs / 'supervisord.log'}"
                )
            time.sleep(0.1)

    def processes(self) -> list[Process]:
        """All services, as they are; none where supervisord does not run."""
        try:
            found = self._calls.getAllProcessInfo()
        except _UNREACHABLE:
            return []
        return [
            Process(each["name"], each["statename"], each["pid"], each["start"]) for each in found
        ]

    def start_service(self, name: str) -> None:
        """Start one service, if it does not run."""
        try:
            self._calls.startProcess(name, False)
        except Fault as fault:
            if "BAD_NAME" in fault.faultString:
                raise StackError(
                    f"{name}: unknown to this supervisord, which an older geoseg started; 'make down', "
                    "then 'make up'"
                ) from None
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} does not start: {fault.faultString}") from None

    def stop_service(self, name: str) -> None:
        """Stop one service and wait for its end."""
        try:
            self._calls.stopProcess(name)
        except Fault as fault:
            # One that an older geoseg started has no service of this name.
            if not any(word in fault.faultString for word in ("NOT_RUNNING", "BAD_NAME")):
                raise StackError(f"{name} does not stop: {fault.faultString}") from None

    def shutdown(self) -> None:
        """Stop all services and supervisord itself; returns when its socket is gone."""
        self._calls.shutdown()
        deadline = time.monotonic() + STOP_SECONDS
        while self.folder.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def configuration(folder: StackFolder, services: Sequence[Service], settings: StackSettings) -> str:
    """supervisord's configuration; nothing in it is secret."""
    head = f"""\
; Made anew by each 'python -m geoseg.stack up'.
[unix_http_server]
file = {value(folder.socket)}
chmod = 0700

[supervisord]
pidfile = {value(folder.root / "supervisord.pid")}
logfile = {value(folder.logs / "supervisord.log")}
logfile_maxbytes = 10MB
logfile_backups = 3
umask = 022

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{value(folder.socket)}
"""
    return "\n".join([head, *(_program(folder, each, settings) for each in services)])


def _program(folder: StackFolder, service: Service, settings: StackSettings) -> str:
    python, root = _quoted(sys.executable), _quoted(folder.root)
    return f"""\
[program:{service.name}]
command = {python} -m geoseg.stack.launch {root} {service.name}
directory = {value(settings.project)}
autostart = {"false" if service.registered else "true"}
autorestart = true
startsecs = 1
startretries = {RETRIES}
; The processes that it started go with it.
stopasgroup = true
killasgroup = true
stopwaitsecs = 15
redirect_stderr = true
stdout_logfile = {value(folder.logs / service.name)}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""


def value(text: object) -> str:
    """A value as supervisord's configuration has it; it reads some values twice, and ``%`` each time."""
    found = str(text)
    if any(sign in found for sign in (" ;", " #", '"', "%", "\n")):
        raise StackError(
            f"{found!r}: supervisord cannot work in a folder with this name; name it without quotes, "
            "percent signs, and a blank before ; or #"
        )
    return found


def _quoted(text: object) -> str:
    """A word of a command."""
    return f'"{value(text)}"'
