"""Publishing by hand: gates, the report that tells them, and the next version of a season."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from geoseg.config.service import GatesConfig, PublishConfig
from geoseg.errors import GateError, OutputError
from geoseg.io import configs
from geoseg.io.store.objects import Store
from geoseg.io.store.opening import open_store
from geoseg.pipeline.describe import describe_products
from geoseg.pipeline.report import write_reports
from geoseg.pipeline.run import Run
from geoseg.service.gates import Verdict, check_gates
from geoseg.service.publish import publish_map, read_collection
from geoseg.service.published_collection import VersionId
from geoseg.service.versions import highest_sequence, last_published


def release(
    run: Run, area: str, season: str, config: PublishConfig, gates: Path | None
) -> Iterator[str]:
    """Check the run's map and publish it; yields what was found and done.

    Raises ``GateError`` where the map fails a gate; ``ConfigError``, ``LabelError``,
    ``OutputError``, ``RemoteError``.
    """
    wanted = configs.load_gates(gates) if gates else GatesConfig()
    place = next_place(run, area, season, config)
    previous = last_published(config, area, season, run.folder.work)
    verdicts = check_gates(run, wanted, previous)
    write_reports(run)
    describe_products(run)
    yield from (f"{verdict.name:<13} {_word(verdict)}: {verdict.why}" for verdict in verdicts)
    require(verdicts, run)
    done = publish_map(run, place, config, run.progress)
    yield f"version: {done['version']}"
    yield f"item: {done['item']}" if done["published"] else "not published: newer ones are there"
    yield f"collection: {done['collection']}"


def next_place(run: Run, area: str, season: str, config: PublishConfig) -> VersionId:
    """The place after the last version; that of the run's own map where it is published already.

    Raises ``OutputError`` where the run has no map.
    """
    made = str(run.recorded("stitch").get("run_id") or "")
    if not made:
        raise OutputError(f"{run.folder.class_map} is not there yet; finish it with 'geoseg run'")
    place = VersionId(area, season, 1, made)
    store = open_store(config.destination, config.endpoint)
    sequence = _own_sequence(store, place) or highest_sequence(store, area, season) + 1
    return VersionId(place.area, place.season, sequence, made)


def _own_sequence(store: Store, place: VersionId) -> int:
    """That of the run's own version, where it is published, or a try of it was broken off; else 0."""
    collection = read_collection(store, place.area)
    begun = set(store.folders(place.area)) - {retired.folder for retired in collection.retired}
    names = {*(version.name for version in collection.versions), *begun}
    own = re.compile(rf"{re.escape(place.season)}-(\d+)-{place.fingerprint[:8]}(\.\d+)?")
    return max((int(found[1]) for name in names if (found := own.fullmatch(name))), default=0)


def require(verdicts: tuple[Verdict, ...], run: Run) -> None:
    """Raise ``GateError`` unless the map passed every gate."""
    failed = [f"  {verdict.name}: {verdict.why}" for verdict in verdicts if not verdict.passed]
    if failed:
        raise GateError(
            f"{run.folder.class_map} is not published, for it fails {len(failed)} of "
            f"{len(verdicts)} gates:\n"
            + "\n".join(failed)
            + f"\nThe map is kept; {run.folder.report} "
            "has the details. Mend its input, or set other limits in the gates."
        )


def _word(verdict: Verdict) -> str:
    return "FAILED" if not verdict.passed else "passed" if verdict.judged else "-"
