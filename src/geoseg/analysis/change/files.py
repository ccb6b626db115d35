"""Two finished maps compared: matrix, picture, raster and parcels in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.analysis.change.chart import write_chart
from geoseg.analysis.change.compare import MapPair, open_pair, write_change
from geoseg.analysis.change.parcels import write_changed_parcels
from geoseg.analysis.change.tables import change_lines, change_record, change_table
from geoseg.analysis.parcels.files import default_confidence
from geoseg.errors import OutputError
from geoseg.feedback import Progress
from geoseg.io import files
from geoseg.io.vector.parcel_layers import describe_layer


@dataclass(frozen=True)
class ChangeRequest:
    """What is compared."""

    before: Path
    after: Path
    above: float | None = None
    """Least confidence (percent) of both maps for a change to count; None: all count."""
    parcels: Path | None = None
    """Parcels to say the change of."""
    layer: str | None = None


def compare_files(request: ChangeRequest, folder: Path, progress: Progress) -> tuple[str, ...]:
    """Write ``change.tif``, ``transitions.csv``, ``transitions.png``, ``change.json`` and, with
    parcels, ``change_parcels.gpkg`` into the folder; returns what was produced and found.

    Raises ``RasterError``, ``GridMismatchError``, ``ParcelError``, ``OutputError``.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; --output names the folder of the results")
    confidences = default_confidence(request.before), default_confidence(request.after)
    with open_pair(request.before, request.after, confidences, request.above) as pair:
        record = _write(request, pair, folder, progress)
    verdicts = record.get("parcels", {}).items()
    return (
        f"change: {folder / 'change.tif'}",
        *change_lines(record),
        *(f"  {count} parcels {verdict}" for verdict, count in verdicts),
    )


def _write(
    request: ChangeRequest, pair: MapPair, folder: Path, progress: Progress
) -> dict[str, Any]:
    # A layer that cannot be used is told before the work.
    layer = describe_layer(request.parcels, request.layer) if request.parcels else None
    matrix = write_change(pair, folder / "change.tif", progress)
    names = {"before": request.before.name, "after": request.after.name, "above": request.above}
    record = names | change_record(matrix)
    files.write_text(folder / "transitions.csv", change_table(matrix))
    title = f"{request.before.stem} to {request.after.stem}"
    write_chart(matrix, folder / "transitions.png", title)
    if layer:
        target = folder / "change_parcels.gpkg"
        record["parcels"] = write_changed_parcels(pair, layer, target, progress)
    files.write_json(folder / "change.json", record)
    return record
