"""One trial: a run that is disturbed, and the same command again until the map is there."""

from __future__ import annotations

import random
import re
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults import processes
from benchmarks.faults.season import BLOCKS, NAME, Season
from geoseg.io import files

PRODUCTS = (f"{NAME}_class.tif", f"{NAME}_confidence.tif")
START_SECONDS, END_SECONDS = 120, 150
"""How long a run may take to its first block, and from there to its end."""
ORPHAN_SECONDS = 15
"""How long children may outlive a killed parent: each has to notice."""
AGAIN = 3
"""How often the same command is given again at most."""

Map = dict[str, str]
"""Product to SHA-256."""
Blocks = dict[str, tuple[int, int]]
"""Finished block to inode and time of change (ns) of its file."""


def map_of(output: Path) -> Map:
    """The products' checksums; those that are there."""
    paths = [output / name for name in PRODUCTS]
    return {path.name: files.sha256(path) for path in paths if path.is_file()}


@dataclass
class Trial:
    """What one disturbed run did, and what was wrong with it."""

    season: Season
    folder: Path
    wanted: Map
    chance: random.Random
    command: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kills: int = 0
    codes: list[int] = field(default_factory=list)
    """Exit codes in their order; that of a run killed by a signal is minus the signal's number."""
    seconds: float = 0
    """From the fault to the end of the run."""
    before: Blocks = field(default_factory=dict)
    """Blocks that were finished when the fault came or, where the run ended of it, at that end."""
    recomputed: int = 0
    """Of these, how many were written again."""
    identical: bool = False
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _run: subprocess.Popen[bytes] | None = None
    _struck: float = 0
    _verified: bool = False

    @property
    def output(self) -> Path:
        """Folder of the results."""
        return self.folder / "out"

    @property
    def log(self) -> Path:
        """What the run under way has said."""
        return self.folder / f"run-{len(self.codes)}.log"

    @property
    def run(self) -> subprocess.Popen[bytes]:
        """The run under way."""
        assert self._run, "nothing was started"
        return self._run

    # --- the parts of a trial -----------------------------------------------------------------

    def start(self, *command: str) -> None:
        """Start ``geoseg COMMAND`` (without one: the last again) on the season, into ``output``."""
        if command:
            place = [str(self.season.config), "--output", str(self.output)]
            self.command = [command[0], *place, *command[1:]]
        self._run = self.spawn("geoseg", self.command, self.log, self.env)

    def spawn(
        self, module: str, arguments: list[str], log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A process of this trial."""
        return processes.start(self.mark, module, arguments, log, env or {})

    def moment(self, least: int = 1, most: int = BLOCKS * 3 // 4) -> None:
        """Wait for a random moment while blocks are predicted."""
        count = self.chance.randint(least, most)
        self.wait_for_blocks(count)
        time.sleep(self.chance.uniform(0, 0.1))
        if self.run.poll() is not None:
            raise RuntimeError(f"the run ended before the fault: {self.said()}")
        self.before = self.finished()
        self._struck = time.monotonic()

    def wait_for_blocks(self, count: int) -> None:
        """Wait until so many blocks have a receipt."""
        processes.until(
            lambda: self.run.poll() is not None or self._receipts() >= count, START_SECONDS
        )
        if self._receipts() < count:
            raise RuntimeError(f"no {count} blocks in {START_SECONDS} s: {self.said()}")

    def kill(self, *victims: psutil.Process) -> None:
        """One kill -9, of one process or of several at once."""
        processes.kill(*victims)
        self.kills += 1

    def end(self, code: int, says: str = "", within: float = END_SECONDS) -> None:
        """The run is to end by itself, like this, and soon; what it says ``says`` is a pattern."""
        try:
            self.run.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self.problems.append(f"no end within {within:.0f} s")
            processes.kill(*processes.marked(self.mark))
            self.run.wait()
        self.seconds = time.monotonic() - self._struck
        self._see_end(code, says)
        if code:
            self.before = self.finished()

    def resume(self) -> None:
        """The same command again, until it ends well."""
        for _ in range(AGAIN):
            self.start()
            code = self.run.wait(timeout=START_SECONDS + END_SECONDS)
            self._see_end(0, "")
            if not code:
                return

    def verify(self) -> None:
        """What is to hold after every trial, whatever was done to the run; looked at once."""
        if self._verified:
            return
        self._verified = True
        self.identical = map_of(self.output) == self.wanted
        self._expect(self.identical, f"another map: {map_of(self.output)}")
        after = self.finished()
        self.recomputed = sum(after.get(name) != state for name, state in self.before.items())
        self._expect(not self.recomputed, f"{self.recomputed} finished blocks were written again")
        # The lock's file stays and means nothing: the lock itself is the kernel's.
        left = sorted(path.name for path in self.output.rglob(".*") if path.name != ".lock")
        self._expect(not left, f"temporary files stay behind: {left}")
        self.see_no_orphan()

    # --- what is looked at ---------------------------------------------------------------------

    def said(self) -> str:
        """The end of what the run printed."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""

    def finished(self) -> Blocks:
        """Blocks with a receipt, and which file each is."""
        states = {}
        for receipt in self.output.glob("work/blocks-*/r*.json"):
            status = receipt.with_suffix(".tif").stat()
            states[receipt.stem] = (status.st_ino, status.st_mtime_ns)
        return states

    def _receipts(self) -> int:
        return sum(1 for _ in self.output.glob("work/blocks-*/r*.json"))

    def see_no_orphan(self, besides: Sequence[psutil.Process] = ()) -> None:
        """After the run nothing of it lives on; give its children some seconds to notice."""

        def left() -> list[psutil.Process]:
            return [each for each in processes.marked(self.mark) if each not in besides]

        processes.until(lambda: not left(), ORPHAN_SECONDS)
        orphans = left()
        names = [processes.command(process)[-80:] for process in orphans]
        self._expect(not orphans, f"processes live on: {names}")
        processes.kill(*orphans)

    def _see_end(self, code: int, says: str) -> None:
        said = self.said()
        found = self.run.returncode
        self.codes.append(found)
        self._expect(found == code, f"exit code {found} and not {code}: {said[-600:]}")
        self._expect(re.search(says, said, re.S), f"{says!r} is not said: {said[-600:]}")
        self._expect("Traceback" not in said, f"a traceback is shown: {said[:1500]}")
        lines = said.splitlines()
        repeated = [line for line in lines if re.search(r"ERROR|TIFF", line)]
        self._expect(len(repeated) <= 3, f"{len(repeated)} lines like {repeated[-1:]}")

    def _expect(self, holds: object, problem: str) -> None:
        if not holds:
            self.problems.append(problem)


@contextmanager
def trial(season: Season, folder: Path, wanted: Map, seed: int | str) -> Iterator[Trial]:
    """A trial in a folder of its own; whatever it started is gone at the end."""
    folder.mkdir(parents=True)
    made = Trial(season, folder, wanted, random.Random(seed))
    try:
        yield made
        made.verify()
    finally:
        processes.kill(*processes.marked(made.mark))


def undisturbed(season: Season, folder: Path) -> Map:
    """The map that every trial is to end with."""
    with trial(season, folder, {}, 0) as made:
        made.start("predict")
        code = made.run.wait(timeout=START_SECONDS + END_SECONDS)
        if code:
            raise RuntimeError(f"the undisturbed run failed: {made.said()}")
        made.wanted = map_of(made.output)
    return made.wanted
