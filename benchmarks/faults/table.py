"""What came of the trials, by fault: a row of the table and of the JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from benchmarks.faults.trial import Trial


@dataclass
class Row:
    """All trials of one fault."""

    fault: str
    times: int = 0
    kills: int = 0
    done_before: list[int] = field(default_factory=list)
    """Blocks finished when the fault came, or when the run had ended of it."""
    recomputed: int = 0
    """Of these, written again, over all trials."""
    identical: int = 0
    """Trials with the bytes of the undisturbed map."""
    codes: list[list[int]] = field(default_factory=list)
    """Exit codes of the first run, and of the same command again."""
    seconds: list[float] = field(default_factory=list)
    """From the fault to the end of the run."""
    problems: list[str] = field(default_factory=list)
    skipped: str = ""

    def add(self, trial: Trial) -> None:
        """Count one more."""
        self.times += 1
        self.kills += trial.kills
        self.done_before.append(len(trial.before))
        self.recomputed += trial.recomputed
        self.identical += trial.identical
        self.codes.append(trial.codes)
        self.seconds.append(round(trial.seconds, 1))
        self.problems += trial.problems


HEADER = ("fault", "times", "done before", "recomputed", "identical", "exit codes", "seconds")


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = [HEADER, ("---",) * len(HEADER), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> tuple[str, ...]:
    if row.skipped:
        return (row.fault, "0", *[""] * 4, f"skipped: {row.skipped}")
    codes = {", then ".join(str(code) for code in each) for each in row.codes}
    return (
        row.fault,
        str(row.times),
        _span(row.done_before),
        str(row.recomputed),
        f"{row.identical} of {row.times}",
        "; ".join(sorted(codes)),
        _span(row.seconds),
    )


def _span(values: list[int] | list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def plain(rows: Iterable[Row]) -> list[dict[str, object]]:
    """The rows as JSON values."""
    return [asdict(row) for row in rows]
