"""The page of a Dask cluster that shows its workers, where it has one."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

LOOK_SECONDS = 3
"""How long the page may take to answer."""

_MISSING = b"needs bokeh"
"""What a scheduler without the library for it serves in place of the page."""


def dashboard(client: Client) -> str:
    """Link to the dashboard; empty where no page answers there.

    Every scheduler names one, also one that was started without it: there is a web server in any
    case, if only to say that the scheduler is healthy.
    """
    try:
        link = client.dashboard_link
    except (KeyError, ValueError, OSError):  # a template of the user's with a name nobody knows
        return ""
    return link if link and serves(link) else ""


def serves(link: str) -> bool:
    """Whether a dashboard answers at a link."""
    # Asked directly: what is beyond a proxy is no scheduler of this network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(link, timeout=LOOK_SECONDS) as answer:
            return _MISSING not in answer.read(4096)
    except (OSError, ValueError):
        return False
