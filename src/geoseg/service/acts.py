"""What an operator does about orders: send them on their way again, release, publish again."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from geoseg.config.service import PublishConfig, ServiceConfig
from geoseg.errors import OrderError, OutputError, ProductError
from geoseg.feedback import Progress
from geoseg.io.store.objects import FileDigest
from geoseg.io.store.opening import open_store
from geoseg.pipeline.run import Record, Run
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import SENDABLE, STATES, Order, State
from geoseg.service.packing import Package, pack
from geoseg.service.publish import MANIFEST, Outlet, add, as_text, name_area, wanted
from geoseg.service.published_collection import Version, VersionId
from geoseg.service.versions import verify

ALL = ("--all", "all")

BY_ITSELF: tuple[State, ...] = ("failed", "waiting")
"""What many are sent from at once: cancelled and quarantined ones somebody meant to stop, so they go
by their number or where their state is named."""


@dataclass(frozen=True, slots=True)
class ActRequest:
    """What the operator asked for."""

    retry: str | None = None
    """A number, an area, a state, or all."""
    release: int | None = None
    republish: int | None = None
    area: str | None = None
    """Of several orders only those of this one."""


def act(
    service: ServiceConfig, ledger: Ledger, wanted: ActRequest, progress: Progress
) -> Iterator[str]:
    """Do it; yields what was done, nothing where nothing was asked for. Raises ``OrderError``."""
    if wanted.retry is not None:
        yield from _retry(service, ledger, wanted.retry, wanted.area)
    if wanted.release is not None:
        yield _sent(ledger.release(wanted.release))
    if wanted.republish is not None:
        done = republish(service, ledger, wanted.republish, progress)
        yield f"{done['version']} is published again, {done['files']} files were sent"
        yield f"collection: {done['collection']}"


def _retry(service: ServiceConfig, ledger: Ledger, which: str, area: str | None) -> Iterator[str]:
    if which.isdecimal():
        yield _sent(ledger.send(int(which)))
        return
    states, area = _chosen(service, which, area)
    orders = ledger.orders(area)
    sent = [order for order in orders if order.state in states]
    for order in sent:
        try:
            yield _sent(ledger.send(order.id))
        except OrderError as error:  # it has moved on meanwhile
            yield f"not sent: {error}"
    left = Counter(o.state for o in orders if o.state in SENDABLE and o.state not in states)
    if left:
        told = ", ".join(f"{number} {state}" for state, number in sorted(left.items()))
        yield f"not sent: {told}; name the state to send them (--retry {min(left)})"
    elif not sent:
        yield "no order is to be sent"


def _chosen(
    service: ServiceConfig, which: str, area: str | None
) -> tuple[Sequence[State], str | None]:
    """The states and the area that are meant."""
    if which in ALL:
        return BY_ITSELF, _known(service, area) if area else None
    by_name = {name: name for name in SENDABLE}
    if which in by_name:
        return (by_name[which],), _known(service, area) if area else None
    if which in STATES:
        raise OrderError(
            f"--retry {which}: this is for orders that are {' or '.join(SENDABLE)}, not {which}"
        )
    return BY_ITSELF, _known(service, which)


def _known(service: ServiceConfig, name: str) -> str:
    """The area, or an error that names what there is."""
    if name in service.areas:
        return name
    choices = [*service.areas, *SENDABLE]
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the areas are {', '.join(service.areas)}"
    raise OrderError(
        f"{name!r} is no number of an order, no area of the service, and no state such as failed; "
        f"{hint}"
    )


def _sent(order: Order) -> str:
    return f"order {order.id} ({order.area}) is sent on its way by the next poll"


def republish(service: ServiceConfig, ledger: Ledger, order_id: int, progress: Progress) -> Record:
    """Publish the lost version of an order again; returns ``version``, ``destination``, ``collection``
    (addresses) and ``files``, how many were sent.

    Raises ``OrderError`` for an order that was not published, or whose version is whole;
    ``OutputError`` where its results are gone, ``ProductError`` where they are others by now;
    ``BusyError``, ``RemoteError``.
    """
    order = ledger.order(order_id)
    if order.state != "published":
        raise OrderError(
            f"order {order.id} is {order.state}; this is for one that is published and got lost"
        )
    run = _results(order, progress)
    place = VersionId(order.area, order.season, order.sequence, order.fingerprint)
    with run.alone():
        record = _put_back(run, place, service.publish, progress)
    ledger.published_again(order.id, record["destination"])
    return record


def _results(order: Order, progress: Progress) -> Run:
    """The order's finished run. No folder is made where there is none."""
    if not (order.config.is_file() and order.output.is_dir()):
        raise OutputError(
            f"{order.output}: the results of order {order.id} are gone (they go when a newer map of the "
            f"area is published), so {order.version} cannot be published again; restore its folder at "
            "the destination from a backup"
        )
    return Run.open(order.config, order.output, progress)


def _put_back(run: Run, place: VersionId, config: PublishConfig, progress: Progress) -> Record:
    outlet = Outlet(open_store(config.destination, config.endpoint), place.area, config)
    with outlet.store.lock(place.area):
        collection = outlet.published()
        listed = collection.find(place.version)
        if listed:
            _require_lost(outlet, listed)
            sent = _mend(outlet, listed, pack(run, place), progress)
        elif wanted(outlet, collection, place):
            sent = add(outlet, pack(run, place), place, progress)["files"]
        else:
            raise OrderError(
                f"{place.version} has left the collection for newer versions; raise 'publish.keep' "
                f"({config.keep}) to have it among them again"
            )
        name_area(outlet)
    return {
        "version": place.version,
        "destination": outlet.store.address,
        "collection": outlet.store.url(outlet.collection),
        "files": sent,
    }


def _require_lost(outlet: Outlet, listed: Version) -> None:
    manifest = outlet.store.read(f"{outlet.area}/{listed.folder}/{MANIFEST}")
    troubles = [what for _, what in verify(outlet.store, outlet.area, listed) if what]
    if manifest and not troubles:
        raise OrderError(
            f"{outlet.store.url(f'{outlet.area}/{listed.key}')} is there and whole; nothing is published "
            "again"
        )


def _mend(outlet: Outlet, listed: Version, package: Package, progress: Progress) -> int:
    """Put what is missing or damaged into the folder that the collection names; says how many files.

    The bytes must be those that readers were promised.
    """
    store, known = outlet.store, FileDigest(listed.size, listed.sha256)
    if package.files[-1].sum != known:
        raise ProductError(
            f"{package.files[-1].source}: the results have changed since {listed.name} was published "
            f"(its item had SHA-256 {known.sha256[:12]}...), so they are not that version; restore its "
            "folder at the destination from a backup"
        )
    sent = 0
    with store.staged(f"{outlet.area}/{listed.folder}") as stage:
        with progress.start("publish", len(package.files), "files") as step:
            for file in package.files:
                key = f"{stage}/{file.name}"
                if store.sum(key) != file.sum:
                    store.put(file.source, key, file.sum, file.media)
                    sent += 1
                step.advance(note=file.name)
        _list_files(outlet, f"{stage}/{MANIFEST}", package)
    return sent


def _list_files(outlet: Outlet, key: str, package: Package) -> None:
    """See that the manifest is there as it was."""
    text, found = as_text(package.manifest), outlet.store.read(key)
    if found is None or found.content != text:
        outlet.store.write(key, text, found.tag if found else None)
