"""Break runs in all known ways: `python -m benchmarks.faults --kills 20 --seed 1 --json FILE`.

Real processes and real signals, at random moments of a small map. After each fault the same command
is run again until it ends well; then the map must be the undisturbed one to the byte, no finished
block may have been computed again, and no temporary file and no process may be left. Exits with 1
where anything of this does not hold.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.faults.catalogue import Fault, schedule
from benchmarks.faults.season import BLOCKS, make_season
from benchmarks.faults.table import Row, markdown, plain
from benchmarks.faults.trial import trial, undisturbed


def main() -> int:
    """All trials, the table, the JSON."""
    given = _arguments()
    # Told to end, it takes along what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    faults = [fault for fault in schedule(given.kills) if given.only in fault.name]
    with tempfile.TemporaryDirectory(prefix="geoseg-faults-") as folder:
        rows = _try_all(Path(folder), faults, given.seed)
    kills = sum(row.kills for row in rows)
    problems = {row.fault: row.problems for row in rows if row.problems}
    print(f"\n{markdown(rows)}\n\n{BLOCKS} blocks a run, {kills} kills, seed {given.seed}")
    for fault, found in problems.items():
        print("\n".join(f"NOT AS IT SHOULD BE, {fault}: {problem}" for problem in found))
    if given.json:
        content = {
            "machine": machine.describe(),
            "seed": given.seed,
            "blocks": BLOCKS,
            "kills": kills,
            "faults": plain(rows),
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if problems else 0


def _try_all(folder: Path, faults: list[Fault], seed: int) -> list[Row]:
    season = make_season(folder / "season")
    wanted = undisturbed(season, folder / "undisturbed")
    rows = {fault.name: Row(fault.name) for fault in faults}
    for number, fault in enumerate(faults, 1):
        row = rows[fault.name]
        row.skipped = fault.impossible()
        if row.skipped:
            continue
        with trial(season, folder / f"{number}", wanted, f"{seed} {number}") as made:
            fault.strike(made)
        row.add(made)
        state = "; ".join(made.problems) or f"ended after {made.seconds:.1f} s, resumed, identical"
        print(f"{number}/{len(faults)} {fault.name}: {state}", flush=True)
    return list(rows.values())


def _arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=summary)
    parser.add_argument("--kills", type=int, default=20, help="random kills at least [20]")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments [1]")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--only", default="", help="only faults with this in their name")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
