"""What a stack is made with: folder, ports, database, password; kept from one start to the next."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Self

from geoseg.errors import ConfigError, GeosegError
from geoseg.io.certificates import CertificateFolder
from geoseg.stack.inherited import inherited

LOOPBACK = "127.0.0.1"
PORTS = {
    "prefect_port": ("GEOSEG_PREFECT_PORT", 4200),
    "dask_port": ("GEOSEG_DASK_PORT", 8786),
    "dashboard_port": ("GEOSEG_DASHBOARD_PORT", 8787),
}
SOCKET_LENGTH = 100
"""Bytes of a socket's path at most; the system's limit is 107, and supervisord adds its own."""


class StackError(GeosegError):
    """The stack, or a part of it, does not start or stop."""


@dataclass(frozen=True)
class StackFolder:
    """Where everything of a stack lies; nobody but its owner may look into it."""

    root: Path

    @classmethod
    def of_environment(cls) -> Self:
        """``GEOSEG_STATE``, or ``.geoseg`` here."""
        return cls(Path(os.environ.get("GEOSEG_STATE") or ".geoseg").resolve())

    @property
    def settings(self) -> Path:
        """What the next start takes over: passwords too."""
        return self.root / "stack.json"

    @property
    def environment(self) -> Path:
        """What a client needs, for a shell to read."""
        return self.root / "env"

    @property
    def supervisor(self) -> Path:
        """The configuration of supervisord, made anew at each start."""
        return self.root / "supervisord.conf"

    @property
    def socket(self) -> Path:
        """Where supervisord is reached, and nowhere else."""
        return self.root / "supervisor.sock"

    @property
    def logs(self) -> Path:
        """One file for each service."""
        return self.root / "logs"

    @property
    def prefect(self) -> Path:
        """Prefect's own folder, with its SQLite database."""
        return self.root / "prefect"

    @property
    def certificates(self) -> CertificateFolder:
        """What Dask is encrypted with."""
        return CertificateFolder(self.root / "tls")

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the stack."""
        return self.root / "lock"

    @property
    def stopped(self) -> Path:
        """There from ``down`` to the next start: what tells an end that was wanted from a crash."""
        return self.root / "stopped"

    def make(self) -> None:
        """Create the folder. Raises ``ConfigError`` where a socket in it could have no name."""
        if len(os.fsencode(self.socket)) > SOCKET_LENGTH:
            raise ConfigError(
                f"GEOSEG_STATE: {self.root} is too long for the name of a socket in it "
                f"({len(os.fsencode(self.socket))} bytes, {SOCKET_LENGTH} at most); name a shorter one"
            )
        try:
            for folder in (self.root, self.logs, self.prefect):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise ConfigError(
                f"GEOSEG_STATE: {error.filename} cannot be made ({error.strerror}); name another folder"
            ) from None

    def write(self, path: Path, text: str) -> None:
        """Write a file whole, for its owner alone."""
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as target:
            target.write(text)
        os.replace(part, path)


@dataclass(frozen=True)
class StackSettings:
    """What differs between stacks."""

    project: str
    """Folder with ``prefect.yaml``; runs start there, so paths of configs are relative to it."""
    prefect_port: int = 4200
    dask_port: int = 8786
    dashboard_port: int = 8787
    dask_workers: int = 2
    runs: int = 2
    """Maps at once; a training, and a poll for new imagery, always have a place of their own."""
    database: str = field(default="", repr=False)
    """URL of a PostgreSQL database for Prefect, as given; SQLite where empty."""
    password: str = field(default="", repr=False)
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the operator's environment that the services want too, secrets among them."""

    @property
    def api(self) -> str:
        """Prefect's API."""
        return f"http://{LOOPBACK}:{self.prefect_port}/api"

    @property
    def scheduler(self) -> str:
        """The Dask scheduler."""
        return f"tls://{LOOPBACK}:{self.dask_port}"

    @property
    def dashboard(self) -> str:
        """The Dask scheduler's page, which also tells its health."""
        return f"http://{LOOPBACK}:{self.dashboard_port}"

    @property
    def login(self) -> str:
        """User and password of Prefect's API."""
        return f"geoseg:{self.password}"


def load(folder: StackFolder) -> StackSettings | None:
    """What the last start was made with; None where there was none."""
    try:
        content = json.loads(folder.settings.read_text(encoding="utf-8"))
        known = {each.name for each in fields(StackSettings)}
        return StackSettings(**{name: content[name] for name in known & content.keys()})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{folder.settings}: not what 'up' wrote ({error}); remove the file and 'up' makes it anew"
        ) from None


def settle(folder: StackFolder, environment: Mapping[str, str]) -> StackSettings:
    """Last time's settings with what the environment says now; keeps them. Raises ``ConfigError``."""
    last = load(folder)
    kept = asdict(last) if last else {"password": secrets.token_urlsafe(32)}
    numbers = {name: _number(environment, *_variable(name, kept)) for name in (*PORTS, *_AMOUNTS)}
    database = environment.get("GEOSEG_DATABASE") or str(kept.get("database", ""))
    server_database(database)
    made = {**kept, **numbers, "database": database, "project": str(project_here())}
    taken = inherited(environment, last.inherited if last else {})
    settings = StackSettings(**{**made, "inherited": taken})
    folder.write(folder.settings, json.dumps(asdict(settings), indent=1) + "\n")
    return settings


_AMOUNTS = {"dask_workers": ("GEOSEG_DASK_WORKERS", 2), "runs": ("GEOSEG_RUNS", 2)}


def _variable(name: str, kept: Mapping[str, object]) -> tuple[str, int]:
    variable, default = {**PORTS, **_AMOUNTS}[name]
    return variable, int(str(kept.get(name, default)))


def _number(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable, "")
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ConfigError(f"{variable}: {text!r} is no number from 1 to 65535")
    return int(text)


def server_database(url: str) -> str:
    """The URL with the driver that Prefect's server wants. Raises ``ConfigError``."""
    if not url:
        return ""
    kind, found, rest = url.partition("://")
    if not found or kind.split("+")[0] not in ("postgresql", "postgres"):
        # Never the URL itself: it holds a password.
        raise ConfigError(
            "GEOSEG_DATABASE: not a URL of PostgreSQL, postgresql://user:password@host/database; "
            "leave it out for SQLite"
        )
    return f"postgresql+asyncpg://{rest}"


def project_here() -> Path:
    """Geoseg's folder, which is the current one. Raises ``ConfigError`` where it is not."""
    here = Path.cwd()
    if not (here / "prefect.yaml").is_file():
        raise ConfigError(
            f"{here}: no prefect.yaml here; start the stack in geoseg's folder, where configs and "
            "deployments are"
        )
    return here


def require_ports(settings: StackSettings) -> None:
    """Raise ``ConfigError`` where somebody else listens on a port of ours."""
    for name, (variable, _) in PORTS.items():
        port = getattr(settings, name)
        if not _free(port):
            raise ConfigError(
                f"{variable}: port {port} of {LOOPBACK} is taken by another process; stop that one, "
                f"or choose another port: {variable}={port + 1000} make up"
            )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection of the last stack that is still in TIME_WAIT is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
