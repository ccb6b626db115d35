"""What runs have left in the service's work folder, once a newer map of the area is published.

Without it every map would leave its blocks and its products for good. Maps that were quarantined, and
orders that failed, stay, also once they are superseded: somebody may want to look.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from geoseg.config.service import ServiceConfig
from geoseg.io import files, locks
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_folder import FETCH
from geoseg.service.orders import Order

DONE = ("published", "superseded")


def clean_up(service: ServiceConfig, ledger: Ledger, newest: Order) -> int:
    """Remove the blocks of the order that was just published, the folders of older ones of its area
    and season, and the images fetched for none that is left; returns how many were removed.

    A folder in which a run still works is left for the next time.
    """
    same = [order for order in ledger.orders(newest.area) if order.season == newest.season]
    done = [order for order in same if order.state in DONE and order.id < newest.id]
    old = [order for order in done if not _to_be_looked_at(ledger, order)]
    removed = sum(_remove(service, order) for order in old)
    for blocks in newest.output.glob("work/blocks-*"):
        shutil.rmtree(blocks, ignore_errors=True)
    kept = [order for order in same if order not in old]
    return removed + sum(map(_delete, _unused(service, newest, kept)))


def _to_be_looked_at(ledger: Ledger, order: Order) -> bool:
    """Whether it was superseded only after it had ended badly."""
    told = [what.partition(":")[0] for _, what in ledger.history(order.id)]
    return order.state == "superseded" and not {"failed", "quarantined"}.isdisjoint(told)


def _remove(service: ServiceConfig, order: Order) -> bool:
    folder = order.config.parent
    # What the ledger says is only followed below the folder that is the service's own.
    if not folder.is_dir() or not folder.is_relative_to(service.work / order.area / order.season):
        return False
    return not locks.is_held(order.output) and _delete(folder)


def _delete(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _unused(service: ServiceConfig, newest: Order, kept: list[Order]) -> Iterator[Path]:
    """Folders of fetched images that no order names."""
    wanted = {
        Path(entry["target"]).parent
        for order in kept
        for entry in (files.read_json(order.config.parent / FETCH) or {}).get("fetch", ())
    }
    folders = (service.work / newest.area / newest.season / "imagery").glob("*")
    return (folder for folder in folders if folder.is_dir() and folder not in wanted)
