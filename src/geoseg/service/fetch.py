"""The first step of an order's run: have the files that were chosen, and no others, where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg.config.service import ServiceConfig
from geoseg.errors import ChangedInputError, OutputError
from geoseg.feedback import Progress
from geoseg.imagery.catalogs.folder import checksum, found_file
from geoseg.io import configs, files
from geoseg.io.access import web
from geoseg.io.access.hosts import Hosts
from geoseg.model.bundle import CARD
from geoseg.pipeline.run import Record
from geoseg.service.order_folder import FETCH
from geoseg.service.orders import Order


def fetch_order(service: ServiceConfig, order: Order, progress: Progress) -> Record:
    """Fetch what is remote and not there yet; check that what was in the folder is still the same.

    Raises what ``require_given`` does, ``ConfinedError`` for a host that is not allowed,
    ``RemoteError``.
    """
    listed = require_given(order)
    missing = [entry for entry in listed["fetch"] if not _there(entry)]
    hosts, size = _hosts(service, order.area), 0
    with progress.start("fetch", len(missing), "files") as step:
        for entry in missing:
            target = Path(entry["target"])
            wanted = web.Download(entry["size"], entry["checksum"])
            size += web.fetch(entry["href"], target, hosts, wanted)
            step.advance(note=target.parent.name)
    return {"fetched": len(missing), "there": len(listed["fetch"]) - len(missing), "bytes": size}


def require_given(order: Order) -> dict[str, Any]:
    """What the order's files are, if those that were given are there as they were, and the model.

    Raises ``OutputError`` where the order's own folder is away, ``ChangedInputError`` for a file that
    is away or was replaced since the order was made: in the end it is back, or the next poll has
    made another order of what is there. ``ConfigError`` for an order's config that is none.
    """
    path = order.config.parent / FETCH
    listed: dict[str, Any] | None = files.read_json(path)
    if listed is None or not order.config.is_file():
        raise OutputError(
            f"{order.config.parent}: order {order.id} needs {FETCH} and {order.config.name} there, and "
            "they are away or damaged; bring the folder back as it was"
        )
    for entry in listed["given"]:
        _require_same(entry, order)
    for bundle in configs.load(order.config).model.named:
        if not (bundle / CARD).is_file():
            raise ChangedInputError(
                f"{bundle / CARD}: the model of order {order.id} is away; bring its folder back"
            )
    return listed


def _hosts(service: ServiceConfig, area: str) -> Hosts:
    """Where an area's files may come from."""
    stac = service.areas[area].stac
    return Hosts.of(stac.url, *stac.hosts) if stac else Hosts.of()


def _there(entry: dict[str, Any]) -> bool:
    """Fetched before; a file is whole or not there, and a version of an item has its own folder."""
    return Path(entry["target"]).is_file()


def _require_same(entry: dict[str, Any], order: Order) -> None:
    path = Path(entry["target"])
    try:
        same = (
            found_file("", path).state == entry.get("state") or checksum(path) == entry["checksum"]
        )
    except OSError as error:
        raise ChangedInputError(
            f"{path}: gone since order {order.id} was made ({error.strerror}); bring it back, or "
            "another image for its slot: the next poll makes another order of that"
        ) from None
    if not same:
        raise ChangedInputError(
            f"{path}: replaced since order {order.id} was made; the next poll of the folder makes "
            "another order of it"
        )
