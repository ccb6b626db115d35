"""What a finished map must pass before it is published.

A gate that fails raises nothing: whoever asked decides. Each says in words what was found, also where
it has no limit to judge by, or nothing to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from geoseg.analysis.change.compare import agreement
from geoseg.analysis.control_points import score_points
from geoseg.config.service import ControlConfig, GatesConfig
from geoseg.errors import GridMismatchError, ProductError, RasterError
from geoseg.grid import Grid
from geoseg.io import files
from geoseg.io.raster import rasters
from geoseg.legend import NODATA
from geoseg.pipeline.quality import completeness
from geoseg.pipeline.run import Run
from geoseg.product.areas import count_classes
from geoseg.product.report.format import count, part
from geoseg.product.seams import seam_score

SCHEMA = "geoseg-gates-1"
"""Of ``gates.json``: keys may be added to a version, none is taken away or changes its meaning."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says."""

    name: str
    value: float | None
    """What was measured; None where it could not be."""
    limit: float | None
    """What it is judged by: a least share, of ``seam`` a largest score; None: not judged."""
    passed: bool
    """False where the value is beyond its limit, or where control points were named and none of them
    can be used; what has nothing to be judged by passes."""
    why: str
    """In words."""

    @property
    def judged(self) -> bool:
        """Whether there was something to judge, and to judge by."""
        return self.value is not None and self.limit is not None


@dataclass(frozen=True, slots=True)
class Release:
    """An operator's word that a map goes out though it fails."""

    at: str
    """When, UTC."""
    by: str
    """The command."""


def check_gates(
    run: Run, gates: GatesConfig, previous: Path | None, release: Release | None = None
) -> tuple[Verdict, ...]:
    """Measure and judge the run's map; writes ``gates.json``, which the report then tells.

    ``previous`` is the class raster that was published last; ``release`` is told where a gate fails.
    To be called before the report step. Memory is bounded by a strip of the map. Raises
    ``ProductError`` where there is no map, ``LabelError`` for control points that cannot be used.
    """
    if not run.folder.class_map.is_file() or not run.recorded("predict"):
        raise ProductError(f"{run.folder.class_map} is not there yet; predict it first")
    with run.step("gates") as record:
        verdicts = tuple(_verdicts(run, gates, previous))
        record["run_id"] = run.recorded("stitch").get("run_id")
        record["gates"] = [{**asdict(v), "judged": v.judged} for v in verdicts]
        failed = [verdict.name for verdict in verdicts if not verdict.passed]
        passed = not failed
        record["released"] = {"gates": failed, **asdict(release)} if release and failed else None
        told = {"schema": SCHEMA, "passed": passed, **record}
        files.write_json(run.folder.gates, told)
    return verdicts


def _verdicts(run: Run, gates: GatesConfig, previous: Path | None) -> Iterator[Verdict]:
    class_map = run.folder.class_map
    grid = rasters.describe(class_map).grid
    pixels = count_classes(class_map)
    mapped = int(pixels.sum() - pixels[NODATA])
    yield _completeness(run, mapped, gates.completeness)
    yield _share(mapped, grid, gates.mapped)
    yield _seam(run, gates.seam)
    yield _agreement(class_map, previous, gates.agreement)
    if gates.control:
        yield _control(run, gates.control)


def _least(name: str, value: float | None, limit: float | None, what: str) -> Verdict:
    """A share that must reach its limit."""
    if value is None or limit is None:
        return Verdict(name, value, limit, True, f"{what}; no limit is set")
    passed = value >= limit
    rule = "as required" if passed else "too few"
    return Verdict(name, value, limit, passed, f"{what}; at least {part(limit)}: {rule}")


def _completeness(run: Run, mapped: int, limit: float) -> Verdict:
    whole = completeness(run.recorded("predict"), mapped)
    what = (
        f"{part(whole.share)} of the {count(whole.pixels_with_data)} pixels with data have a class "
        f"({count(whole.holes)} have none)"
    )
    return _least("completeness", whole.share, limit, what)


def _share(mapped: int, grid: Grid, limit: float) -> Verdict:
    share = mapped / grid.window.size
    what = f"{part(share)} of the {count(grid.window.size)} pixels of the grid have a class"
    return _least("mapped", share, limit, what)


def _seam(run: Run, limit: float | None) -> Verdict:
    score = seam_score(run.folder.class_map, int(run.recorded("predict")["core"])).score
    if score is None:
        why = "no border between patches lies on the map, or the class changes nowhere: not judged"
        return Verdict("seam", None, limit, True, why)
    what = f"the class changes {score:.2f} times as often at the borders of patches as elsewhere"
    if limit is None:
        return Verdict("seam", score, None, True, f"{what}; no limit is set")
    passed = score <= limit
    rule = "as required" if passed else "too often, look for straight lines in the map"
    return Verdict("seam", score, limit, passed, f"{what}; at most {limit:.2f}: {rule}")


def _agreement(class_map: Path, previous: Path | None, limit: float | None) -> Verdict:
    def unjudged(why: str) -> Verdict:
        return Verdict("agreement", None, limit, True, f"{why}: not judged")

    if previous is None:
        return unjudged("no map of this area and season has been published before")
    try:
        found = agreement(previous, class_map)
    except GridMismatchError as error:
        return unjudged(f"the last published map lies on another grid ({_first(error)})")
    except RasterError as error:
        return unjudged(f"the last published map cannot be compared ({_first(error)})")
    if found.share is None:
        return unjudged("no pixel has a class on this map and on the last published one")
    what = (
        f"{part(found.share)} of the {count(found.both)} pixels with a class on this map and on the "
        "last published one have the same"
    )
    return _least("agreement", found.share, limit, what)


def _first(error: Exception) -> str:
    """What differs, without files and remedies."""
    return str(error).partition(": ")[2].partition(" (of ")[0].partition(". ")[0] or str(error)


def _control(run: Run, control: ControlConfig) -> Verdict:
    legend, name = run.legend, control.file.name
    score = score_points(
        run.folder.class_map, legend, control.file, control.attribute, control.layer
    )
    left = [
        f"{count(number)} {what}"
        for number, what in ((score.unmapped, "without a class on the map"),
                             (score.unknown, "without a class in the file"))
        if number
    ]  # fmt: skip
    aside = f" (left out: {', '.join(left)})" if left else ""
    if score.interval is None:
        why = f"no point of {name} can be used{aside}; the accuracy cannot be shown"
        return Verdict("control", None, control.accuracy, False, why)
    low, high = score.interval
    what = (
        f"the map is right at {count(score.right)} of {count(score.used)} control points{aside}: "
        f"{part(score.accuracy)}, with 95 % confidence {part(low)} to {part(high)}"
    )
    return _least("control", score.accuracy, control.accuracy, what)
