"""The step that says the crop of each parcel of the config's layer."""

from __future__ import annotations

from geoseg.analysis.parcels.check import ParcelRequest, check_parcels, require_parcels
from geoseg.analysis.parcels.projection import ParcelProjector
from geoseg.analysis.parcels.verdicts import Limits
from geoseg.pipeline.run import Record, Run


def check_run(run: Run) -> Record:
    """The config's parcels against the run's map; an empty record where it names none."""
    request = _request(run)
    if request is None:
        # What an earlier config asked for is no part of this run.
        (run.folder.work / "parcels.json").unlink(missing_ok=True)
        return {}
    with run.step("parcels") as record:
        summary = check_parcels(request, run.folder.parcels, run.progress)
        record["parcels"] = summary.to_dict()
    return record


def require_run(run: Run) -> None:
    """``ParcelError`` where the config's parcels cannot be used: told before the map is made."""
    request = _request(run)
    if request is not None:
        layer, _ = require_parcels(request, run.legend)
        ParcelProjector(layer, run.scenes[0].grid, str(run.scenes[0].files[0]))


def _request(run: Run) -> ParcelRequest | None:
    section = run.config.parcels
    if section is None:
        return None
    return ParcelRequest(
        run.folder.class_map,
        run.folder.confidence,
        section.file,
        section.layer,
        section.declared,
        section.mapping,
        Limits(section.above, section.share, section.mapped),
    )
