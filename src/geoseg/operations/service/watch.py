"""One look at every area: what has come, whether it makes a map, and what became of the orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from geoseg.config.service import AreaConfig, ServiceConfig
from geoseg.errors import GeosegError, LedgerError
from geoseg.feedback import Progress
from geoseg.imagery.catalogs import folder, stac
from geoseg.imagery.catalogs.found import Found
from geoseg.io import files
from geoseg.operations.run import Record
from geoseg.operations.service.choose import choose, judge, why_not
from geoseg.operations.service.dispatch import Dispatcher, dispatch
from geoseg.operations.service.ledger import Ledger
from geoseg.operations.service.orders import ACTIVE, Order, Selection, Sighting
from geoseg.operations.service.placing import Place, write_order
from geoseg.operations.service.reconcile import reconcile
from geoseg.operations.service.template import Template, load_template

AT_ONCE = 4
"""Areas whose sources are looked at at the same time: most of it is waiting for servers."""


@dataclass(frozen=True)
class _Look:
    """What there is for an area at this moment."""

    template: Template
    known: Sequence[Sighting]
    found: tuple[Found, ...]


def poll(
    service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher, progress: Progress
) -> Record:
    """Look at every area once, order the maps that can be made, look after the orders under way.

    An area that fails (its source is down, its config is wrong) stops no other; the record's
    ``failed`` says why, and the ledger keeps it; ``all_failed``: no other is left. Raises
    ``LedgerError``.
    """
    waiting: dict[str, str] = {}
    failed: dict[str, str] = {}
    done: Counter[str] = Counter()
    step = progress.start("watch", len(service.areas), "areas")
    with ThreadPoolExecutor(AT_ONCE) as pool, step:
        looks = {name: pool.submit(_look, service, ledger, name) for name in service.areas}
        for name, look in looks.items():
            try:
                waiting[name] = _attend(service, ledger, dispatcher, name, look, done)
            except LedgerError:
                pool.shutdown(cancel_futures=True)
                raise
            except (GeosegError, OSError) as error:  # the latter: its storage is away
                failed[name] = str(error)
            season = service.areas[name].season.name
            if ledger.note(name, season, waiting.get(name) or failed[name]):
                progress.say(f"{name}: {waiting.get(name) or failed[name]}")
            step.advance()
    record = {
        "areas": len(service.areas),
        "waiting": waiting,
        "failed": failed,
        "all_failed": len(failed) == len(service.areas),
    }
    try:
        done.update(reconcile(service, ledger, dispatcher))
    except LedgerError:
        raise
    except GeosegError as error:
        record["unreconciled"] = str(error)
        progress.say(f"orders under way were not looked after: {error}")
    return {**record, **done}


def _look(service: ServiceConfig, ledger: Ledger, name: str) -> _Look:
    area = service.areas[name]
    template = load_template(area)
    known = ledger.sightings(name, area.season.name)
    slots = area.season.windows()
    if area.drop:
        wanted = folder.Wanted(area.drop, slots, template.bands, template.names)
        before = {(s.found.item, s.found.stamp): s.found for s in known if s.found.version}
        found = folder.look(wanted, lambda item, stamp: before.get((item, stamp)))
    else:
        assert area.stac is not None, "an area has one source"
        found = stac.look(area.stac, template.bands, slots)
    return _Look(template, known, tuple(judge(one, area.ready) for one in found))


def _attend(
    service: ServiceConfig,
    ledger: Ledger,
    dispatcher: Dispatcher,
    name: str,
    look: Future[_Look],
    done: Counter[str],
) -> str:
    """Record what was found for an area, order a map where there is one; says how it stands."""
    area, now = service.areas[name], look.result()
    season, slots = area.season.name, area.season.windows()
    done["seen"] += ledger.see(name, season, now.found, now.known)
    chosen = choose(now.found, slots, area.ready)
    if chosen.lacking:
        return chosen.lacking
    fingerprint = _fingerprint(name, area, now.template, chosen.selection)
    orders = [order for order in ledger.orders(name) if order.season == season]
    made = [o for o in orders if o.fingerprint == fingerprint and o.state != "superseded"]
    if made:
        return _told(made[0])
    unwanted = why_not(_last(orders), chosen.selection, now.template.fingerprint, area.ready)
    if unwanted:
        return unwanted
    place = Place.of(service, name, fingerprint)
    write_order(place, name, area, now.template, _images(now.found, chosen.selection))
    order = ledger.claim(
        name, season, fingerprint, chosen.selection, place.config, place.output,
        now.template.fingerprint,
    )  # fmt: skip
    if order is None:  # another watcher was quicker
        return "another watcher has just ordered this map"
    done["claimed"] += 1
    dispatch(ledger, dispatcher, order)
    return _told(order)


def _fingerprint(name: str, area: AreaConfig, template: Template, selection: Selection) -> str:
    images = [[choice.slot, choice.item, choice.version] for choice in selection]
    return files.digest([name, area.season.name, template.fingerprint, images])


def _images(found: Sequence[Found], selection: Selection) -> list[Found]:
    by_name = {(one.item, one.version): one for one in found}
    return [by_name[choice.item, choice.version] for choice in selection]


def _last(orders: Sequence[Order]) -> Order | None:
    """The newest order that has made a map, or is about to."""
    counting = [o for o in orders if o.state in (*ACTIVE, "published")]
    return counting[-1] if counting else None


def _told(order: Order) -> str:
    """How an order stands, in the note of its area; not by its state, which changes by itself."""
    return f"order {order.id} has the newest images"
