"""One poll of every area: what has come, whether it makes a map, and what became of the orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass

from geoseg.config.service import AreaConfig, ServiceConfig
from geoseg.errors import GeosegError, LedgerError
from geoseg.feedback import Progress
from geoseg.imagery.catalogs import folder, stac
from geoseg.imagery.catalogs.found import CatalogItem
from geoseg.io import files, logs
from geoseg.pipeline.run import Record
from geoseg.redaction import redact
from geoseg.service.choose import choose, judge, why_not
from geoseg.service.dispatch import Dispatcher, dispatch, reconcile
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_folder import OrderFolder, Template, load_template, write_order
from geoseg.service.orders import ACTIVE, ItemRecord, Order, Selection

LONGEST = 500
"""Characters of a fault that are kept."""

AT_ONCE = 4
"""Areas whose sources are looked at at the same time: most of it is waiting for servers."""


@dataclass(frozen=True)
class _Look:
    """What there is for an area at this moment."""

    template: Template
    known: Sequence[ItemRecord]
    found: tuple[CatalogItem, ...]


def poll(
    service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher, progress: Progress
) -> Record:
    """Look at every area once, order the maps that can be made, look after the orders under way.

    An area that fails stops no other, whatever it fails of; the record's ``failed`` says why, and
    the ledger keeps it. Raises ``LedgerError``.
    """
    waiting: dict[str, str] = {}
    failed: dict[str, str] = {}
    done: Counter[str] = Counter()
    asked: set[int] = set()
    step = progress.start("watch", len(service.areas), "areas")
    with ThreadPoolExecutor(AT_ONCE) as pool, step:
        areas = {
            pool.submit(copy_context().run, _attend, service, ledger, dispatcher, name): name
            for name in service.areas
        }
        for ended in as_completed(areas):  # a source that hangs holds up no other
            name = areas[ended]
            try:
                outcome = ended.result()
                waiting[name] = outcome.stands
                done["seen"] += outcome.seen
                if outcome.order:
                    asked.add(outcome.order)
            except LedgerError:
                pool.shutdown(cancel_futures=True)
                raise
            except Exception as error:  # noqa: BLE001 - the last resort of an area: the others go on
                failed[name] = _failure(name, error)
            season = service.areas[name].season.name
            if ledger.note(name, season, waiting.get(name) or failed[name]):
                progress.say(f"{name}: {waiting.get(name) or failed[name]}")
            step.advance()
    record = {
        "areas": len(service.areas),
        "waiting": _in_order(service, waiting),
        "failed": _in_order(service, failed),
    }
    done["claimed"] += len(asked)
    try:
        done.update(reconcile(service, ledger, dispatcher, asked))
    except LedgerError:
        raise
    except GeosegError as error:
        record["unreconciled"] = str(error)
        progress.say(f"orders under way were not looked after: {error}")
    return {**record, **done}


def _failure(name: str, error: Exception) -> str:
    """Why an area could not be looked at. What no user can mend leaves its traceback in the log."""
    if isinstance(error, GeosegError | OSError):  # the latter: its storage is away
        text = str(error)
    else:
        logs.log.error("%s: a fault of geoseg; the other areas go on", name, exc_info=error)
        text = redact(f"a fault of geoseg: {type(error).__name__}: {error}"[:LONGEST])
    return files.plain(text)


def _in_order(service: ServiceConfig, told: Mapping[str, str]) -> dict[str, str]:
    """By area as the service file has them, not as they ended."""
    return {name: told[name] for name in service.areas if name in told}


@dataclass(frozen=True)
class _Outcome:
    """What a poll has come to in an area."""

    stands: str
    """How the area stands."""
    seen: int = 0
    """Images that are new or have changed."""
    order: int = 0
    """The order that was made, and whose run was asked for."""


def _look(service: ServiceConfig, ledger: Ledger, name: str) -> _Look:
    area = service.areas[name]
    template = load_template(area)
    known = ledger.item_records(name, area.season.name)
    slots = area.season.windows()
    if area.drop:
        wanted = folder.FolderQuery(area.drop, slots, template.bands, template.names)
        before = {(s.found.item, s.found.stamp): s.found for s in known if s.found.version}
        found = folder.poll(wanted, lambda item, stamp: before.get((item, stamp)))
    else:
        assert area.stac is not None, "an area has one source"
        found = stac.poll(area.stac, template.bands, slots)
    return _Look(template, known, tuple(judge(one, area.ready) for one in found))


def _attend(
    service: ServiceConfig,
    ledger: Ledger,
    dispatcher: Dispatcher,
    name: str,
) -> _Outcome:
    """Look at an area, record what was found, order a map where there is one."""
    area, now = service.areas[name], _look(service, ledger, name)
    seen = ledger.see(name, area.season.name, now.found, now.known)
    chosen = choose(now.found, area.season.windows(), area.ready)
    if chosen.lacking:
        return _Outcome(chosen.lacking, seen)
    stands, order = _order(service, ledger, name, now, chosen.selection)
    if order is None:
        return _Outcome(stands, seen)
    dispatch(ledger, dispatcher, order)
    return _Outcome(stands, seen, order.id)


def _order(
    service: ServiceConfig, ledger: Ledger, name: str, now: _Look, selection: Selection
) -> tuple[str, Order | None]:
    """How an area with an image for each slot stands, and the order where one was made for them."""
    area, season = service.areas[name], service.areas[name].season.name
    fingerprint = _fingerprint(name, area, now.template, selection)
    orders = [order for order in ledger.orders(name) if order.season == season]
    made = [o for o in orders if o.fingerprint == fingerprint and o.state != "superseded"]
    if made:
        return _told(made[0]), None
    unwanted = why_not(_last(orders), selection, now.template.fingerprint, area.ready)
    if unwanted:
        return unwanted, None
    place = OrderFolder.of(service, name, fingerprint)
    write_order(place, name, area, now.template, _images(now.found, selection))
    order = ledger.claim(
        name, season, fingerprint, selection, place.config, place.output,
        now.template.fingerprint,
    )  # fmt: skip
    if order is None:  # another watcher was quicker
        return "another watcher has just ordered this map", None
    return _told(order), order


def _fingerprint(name: str, area: AreaConfig, template: Template, selection: Selection) -> str:
    images = [[choice.slot, choice.item, choice.version] for choice in selection]
    return files.digest([name, area.season.name, template.fingerprint, images])


def _images(found: Sequence[CatalogItem], selection: Selection) -> list[CatalogItem]:
    by_name = {(one.item, one.version): one for one in found}
    return [by_name[choice.item, choice.version] for choice in selection]


def _last(orders: Sequence[Order]) -> Order | None:
    """The newest order that has made a map, or is about to."""
    counting = [o for o in orders if o.state in (*ACTIVE, "published")]
    return counting[-1] if counting else None


def _told(order: Order) -> str:
    """How an order stands, in the note of its area; not by its state, which changes by itself."""
    return f"order {order.id} has the newest images"
