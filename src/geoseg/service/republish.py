"""A version that was published and got lost comes back: the same files under the same name, from the
results of its order. Killed anywhere, the same call comes to the same end, as publishing does."""

from __future__ import annotations

from geoseg.config.service import PublishConfig, ServiceConfig
from geoseg.errors import OrderError, OutputError, ProductError
from geoseg.feedback import Progress
from geoseg.io.store.objects import FileDigest, open_store
from geoseg.pipeline.run import Record, Run
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from geoseg.service.packing import Package, pack
from geoseg.service.publish import MANIFEST, Outlet, add, as_text, name_area, wanted
from geoseg.service.published_collection import Version, VersionId
from geoseg.service.versions import verify


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
