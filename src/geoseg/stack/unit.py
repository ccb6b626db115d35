"""The unit file by which systemd starts the stack at boot; nothing in it is secret."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.stack.settings import StackFolder, project_here
from geoseg.stack.supervisor import value

_READ_ONLY = ("/usr", "/etc", "/boot", "/efi")
"""What ``ProtectSystem=full`` locks."""


def unit(folder: StackFolder, user: str | None = None) -> str:
    """A unit for this checkout, this environment's Python and the stack's folder.

    It is for the systemd of whoever asks; with ``user`` for the machine's, which runs it as that
    user (as the one who asks where it is empty). Raises ``ConfigError``, and ``StackError`` for a
    folder that cannot be named in it.
    """
    project = project_here()
    head, service, target = (
        _for_the_machine(folder, project, user) if user is not None else _for_the_user()
    )
    return f"""\
{head}
StartLimitIntervalSec=0

[Service]
Type=notify
WorkingDirectory={value(project)}
Environment={_quoted(f"GEOSEG_STATE={folder.root}")}
ExecStart={_quoted(sys.executable)} -m geoseg.stack run
{service}# 'make down' ends it with 0, and it stays so; after anything else it is started anew.
Restart=on-failure
RestartSec=10
# SIGTERM goes to the one that stops the others in their order; what is left then is killed.
KillMode=mixed
# A run or a Dask worker without memory is started again by those who watch over it.
OOMPolicy=continue
TimeoutStartSec=300
TimeoutStopSec=180
NoNewPrivileges=yes

[Install]
WantedBy={target}
"""


def _for_the_user() -> tuple[str, str, str]:
    head = """\
# python -m geoseg.stack unit > ~/.config/systemd/user/geoseg.service
# systemctl --user daemon-reload && systemctl --user enable --now geoseg
# loginctl enable-linger    (else it starts at the first login and ends with the last)
[Unit]
Description=geoseg: Prefect and Dask"""
    return head, "", "default.target"


def _for_the_machine(folder: StackFolder, project: Path, user: str) -> tuple[str, str, str]:
    places = (project, folder.root)
    locked = any(place.is_relative_to(top) for place in places for top in _READ_ONLY)
    head = f"""\
# python -m geoseg.stack unit --system | sudo tee /etc/systemd/system/geoseg.service
# sudo systemctl daemon-reload && sudo systemctl enable --now geoseg
[Unit]
Description=geoseg: Prefect and Dask
Wants=network-online.target
After=network-online.target postgresql.service
RequiresMountsFor={_quoted(folder.root)}"""
    service = f"User={_name(user, folder)}\nProtectSystem={'no' if locked else 'full'}\n"
    return head, service, "multi-user.target"


def _name(user: str, folder: StackFolder) -> str:
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_name
    except KeyError:
        raise ConfigError(
            f"--system: this machine has no user {user or os.getuid()!r}; name the one whom "
            f"{folder.root} belongs to"
        ) from None


def _quoted(text: object) -> str:
    """A word as systemd reads it. What supervisord refuses (quotes, percent signs) is refused here."""
    return '"' + value(text).replace("\\", "\\\\") + '"'
