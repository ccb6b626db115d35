"""From single runs to medians, ratios and a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.floor import Floor
from benchmarks.measure import Usage
from benchmarks.reference import Difference


@dataclass
class Series:
    """All runs of one program."""

    name: str
    precision: str
    runs: list[Usage] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    """For geoseg only."""
    failure: str = ""
    """Why it was given up."""

    @property
    def is_geoseg(self) -> bool:
        """Whether it is geoseg in some setting."""
        return self.name.startswith("geoseg")

    @property
    def is_headline(self) -> bool:
        """Whether it is geoseg as its users start it; runs with one or two workers are for scaling."""
        return self.name == f"geoseg-{self.precision}"

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return median(run.seconds for run in self.runs)

    @property
    def peak_rss_mb(self) -> float:
        """Median peak of resident memory."""
        return median(run.peak_rss_mb for run in self.runs)

    def floor_seconds(self, cores: int) -> float:
        """Median floor."""
        return median(floor.seconds(cores) for floor in self.floors)

    def to_dict(self, cores: int) -> dict[str, Any]:
        """The series as it goes into the file."""
        if not self.runs:
            return {"failure": self.failure}
        content: dict[str, Any] = {
            "precision": self.precision,
            "runs": len(self.runs),
            "seconds": _spread(run.seconds for run in self.runs),
            "cpu_seconds": _spread(run.cpu_seconds for run in self.runs),
            "peak_rss_mb": _spread(run.peak_rss_mb for run in self.runs),
            "peak_pss_mb": _spread(run.peak_pss_mb for run in self.runs),
            "load_before": max(round(run.load_before, 2) for run in self.runs),
            # Maps do not change from run to run; were one to, the worst counts.
            "differs": max(d.overall for d in self.differences),
            "differs_rim": max(d.rim for d in self.differences),
        }
        if version := self.runs[0].said.get("version"):
            content["version"] = version
        if self.floors:
            last = self.floors[-1]
            content["floor"] = {
                "seconds": _spread(floor.seconds(cores) for floor in self.floors),
                "forward_cpu": _spread(floor.forward for floor in self.floors),
                "decode_cpu": _spread(floor.decode for floor in self.floors),
                "convert_cpu": _spread(floor.convert for floor in self.floors),
                "patches": last.patches,
                "computed": round(last.computed, 4),
                "batch": last.batch,
            }
        if self.failure:
            content["failure"] = self.failure
        return content


def _spread(values: Iterable[float]) -> dict[str, float]:
    numbers = list(values)
    spread = {"median": median(numbers), "min": min(numbers), "max": max(numbers)}
    return {key: round(value, 3) for key, value in spread.items()}


def ratios_to_floor(series: Sequence[Series], cores: int) -> dict[str, float]:
    """Median wall time over median floor, by precision."""
    return {
        one.precision: round(one.seconds / one.floor_seconds(cores), 3)
        for one in series
        if one.floors and one.is_headline
    }


def speedups(series: Sequence[Series]) -> dict[str, float]:
    """How many times faster than the fastest peer, by precision; empty without peers."""
    peers = [one.seconds for one in series if one.runs and not one.is_geoseg]
    ours = [one for one in series if one.runs and one.is_headline]
    return {one.precision: round(min(peers) / one.seconds, 2) for one in ours} if peers else {}


def memory(series: Sequence[Series]) -> dict[str, float]:
    """Median peak of resident memory (MiB) by program."""
    return {one.name: round(one.peak_rss_mb, 1) for one in series if one.runs}


def scaling(series: Sequence[Series]) -> dict[str, float]:
    """How many times faster two workers are than one, by precision."""
    by_name = {one.name: one for one in series if one.runs}
    pairs = {
        one.precision: (one, by_name.get(f"geoseg-{one.precision}-2w"))
        for one in by_name.values()
        if one.name.endswith("-1w")
    }
    return {
        precision: round(one.seconds / two.seconds, 3)
        for precision, (one, two) in pairs.items()
        if two
    }


def table(series: Sequence[Series], cores: int) -> str:
    """The runs for people: medians, and the range of the wall times."""
    peers = [one.seconds for one in series if one.runs and not one.is_geoseg]
    rows = [
        f"{'program':<18} {'seconds':>8} {'min..max':>15} {'CPU s':>8} {'peak MiB':>9} "
        f"{'differs':>10} {'rim 64':>10} {'floor s':>8} {'x floor':>7} {'x peer':>7}"
    ]
    for one in series:
        if one.failure:
            rows.append(f"{one.name:<18} failed: {one.failure.strip().splitlines()[-1][:90]}")
        if not one.runs:
            continue
        times = [run.seconds for run in one.runs]
        floor = one.floor_seconds(cores) if one.floors else None
        rows.append(
            f"{one.name:<18} {one.seconds:>8.2f} {f'{min(times):.2f}..{max(times):.2f}':>15} "
            f"{median(run.cpu_seconds for run in one.runs):>8.2f} {one.peak_rss_mb:>9.0f} "
            f"{max(d.overall for d in one.differences):>10.4%} "
            f"{max(d.rim for d in one.differences):>10.4%} "
            + (f"{floor:>8.2f} {one.seconds / floor:>7.2f} " if floor else f"{'':>8} {'':>7} ")
            + (f"{min(peers) / one.seconds:>7.2f}" if peers else "")
        )
    return "\n".join(rows)
