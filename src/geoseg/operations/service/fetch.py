"""The first step of an order's run: have the files that were chosen, and no others, where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg.config.service import ServiceConfig
from geoseg.errors import ChangedInputError, OrderError
from geoseg.feedback import Progress
from geoseg.imagery.catalogs.folder import checksum, found_file
from geoseg.io import files, web
from geoseg.io.hosts import Hosts
from geoseg.operations.run import Record
from geoseg.operations.service.orders import Order
from geoseg.operations.service.placing import FETCH


def fetch_order(service: ServiceConfig, order: Order, progress: Progress) -> Record:
    """Fetch what is remote and not there yet; check that what was in the folder is still the same.

    Raises ``ChangedInputError`` for a file that was replaced since the order was made: the next look
    makes another order of it. ``ConfinedError`` for a host that is not allowed, ``RemoteError``.
    """
    listed = files.read_json(order.config.parent / FETCH)
    if listed is None:
        raise OrderError(
            f"{order.config.parent / FETCH}: missing or no JSON, so order {order.id} has no files; "
            "take its folder out of the way and send it on its way again once it is made anew"
        )
    for entry in listed["given"]:
        _require_same(entry, order)
    missing = [entry for entry in listed["fetch"] if not _there(entry)]
    hosts, size = _hosts(service, order.area), 0
    with progress.start("fetch", len(missing), "files") as step:
        for entry in missing:
            target = Path(entry["target"])
            wanted = web.Wanted(entry["size"], entry["checksum"])
            size += web.fetch(entry["href"], target, hosts, wanted)
            step.advance(note=target.parent.name)
    return {"fetched": len(missing), "there": len(listed["fetch"]) - len(missing), "bytes": size}


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
    except FileNotFoundError:
        raise ChangedInputError(
            f"{path}: gone since order {order.id} was made; put it back, or wait for the next look"
        ) from None
    if not same:
        raise ChangedInputError(
            f"{path}: replaced since order {order.id} was made; the next look at the folder makes "
            "another order of it"
        )
