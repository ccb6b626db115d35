"""Whether a finished map is sound as a map, apart from its classes: no seams, no holes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from geoseg.pipeline.run import Record, Run
from geoseg.product.seams import seam_score


@dataclass(frozen=True, slots=True)
class Completeness:
    """What of a map is there."""

    blocks: int
    """Blocks that were predicted."""
    planned: int
    """Blocks that cover the grid."""
    pixels_with_data: int
    """Pixels of the predicted blocks that could be mapped, as their receipts count them."""
    pixels_mapped: int
    """Pixels of the class raster that have a class."""

    @property
    def holes(self) -> int:
        """Pixels with data but without a class on the map."""
        return self.pixels_with_data - self.pixels_mapped

    @property
    def share(self) -> float | None:
        """Mapped of those with data, 0 to 1; None where no pixel has data."""
        return self.pixels_mapped / self.pixels_with_data if self.pixels_with_data else None

    def to_dict(self) -> Record:
        """All of it as JSON values."""
        return {**asdict(self), "holes": self.holes, "share": self.share}


def completeness(predicted: Record, pixels_mapped: int) -> Completeness:
    """From the record of the predict step and the pixels counted in the class raster.

    ``predicted`` has ``blocks`` (of the plan) and ``pixels``; blocks that were given up stand by
    their ids in ``missing``, where the run's policy allows any.
    """
    planned = int(predicted["blocks"])
    missing = len(predicted.get("missing") or ())
    return Completeness(planned - missing, planned, int(predicted["pixels"]), pixels_mapped)


def recorded_gates(run: Run) -> list[Record]:
    """What the quality gates said of the run's map; empty where they were not asked about this one."""
    found: list[Record] = _of_gates(run).get("gates") or []
    return found


def recorded_release(run: Run) -> Record | None:
    """Where the map goes out though gates fail: ``gates``, their names; ``at``, when an operator said
    so, and ``by``, with which command."""
    found: Record | None = _of_gates(run).get("released")
    return found


def _of_gates(run: Run) -> Record:
    record = run.recorded("gates")
    return record if record.get("run_id") == run.recorded("stitch").get("run_id") else {}


def map_quality(run: Run, pixels_mapped: int) -> Record:
    """``seam`` and ``completeness`` of the run's map; empty where no prediction is on record.

    ``pixels_mapped`` is the number of pixels that have a class. Raises ``RasterError``.
    """
    predicted = run.recorded("predict")
    if not predicted:
        return {}
    core = int(predicted["core"])
    return {
        "seam": {"core": core, **asdict(seam_score(run.folder.class_map, core))},
        "completeness": completeness(predicted, pixels_mapped).to_dict(),
    }
