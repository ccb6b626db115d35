"""Faults of files and blocks: a full disk, inputs that change, a damaged tile, a poison block."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio

from benchmarks.faults.season import BLOCKS, CORNER, HEIGHT, TILE, WIDTH, make_season
from benchmarks.faults.trial import Trial

QUICK = 15
"""Seconds in which a run has to end that cannot go on."""
DISK, ENLARGED = "300k", "64m"
"""Room for about a third of the blocks; room for everything."""
POISON = Path(__file__).parent / "poison"
POISON_SECONDS = 240
"""A worker that dies takes some seconds to come back, and it dies twice in each of three tries."""


def full_disk(trial: Trial) -> None:
    """No space left, then more of it."""
    with _small_disk(trial.output):
        trial.start("predict", "--workers", trial.chance.choice(("0", "2")))
        trial.moment(1, 3)
        trial.end(2, r"cannot be written.*[Ff]ree (some )?space", within=QUICK)
        _mount("-o", f"remount,size={ENLARGED}", str(trial.output))
        trial.resume()
        trial.verify()


def cannot_mount() -> str:
    """Why there can be no small disk here; empty where there can."""
    if os.geteuid():
        return "only root may mount a small disk"
    made = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "this machine allows no mounts" if made.returncode else ""


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def deleted_input(trial: Trial) -> None:
    """An input file goes away, and comes back as it was."""
    path = _own_season(trial)
    trial.start("predict", "--workers", trial.chance.choice(("0", "2")))
    trial.moment(most=BLOCKS // 2)
    hidden = path.rename(path.with_suffix(".away"))
    trial.end(2, f"{path.name} went away", within=QUICK)
    hidden.rename(path)
    trial.resume()


def replaced_input(trial: Trial) -> None:
    """An input file is delivered anew with the same size, and put back with its old time."""
    path = _own_season(trial)
    content, times = path.read_bytes(), path.stat()
    trial.start("predict", "--workers", trial.chance.choice(("0", "2")))
    trial.moment(most=BLOCKS // 2)
    another = path.with_suffix(".new")
    another.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    another.replace(path)
    trial.end(2, f"{path.name} changed while", within=QUICK)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    trial.resume()


def damaged_tile(trial: Trial) -> None:
    """A block that can never be read; mended, that one block is computed."""
    path = _own_season(trial)
    content, times = path.read_bytes(), path.stat()
    path.write_bytes(_with_damage(path, content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    trial.start("predict", "--workers", trial.chance.choice(("0", "2")))
    trial.moment(1, 3)
    trial.end(2, f"block {CORNER}: .*{path.name} cannot be read")
    _see_all_but(trial, CORNER)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    trial.resume()


def poison_block(trial: Trial) -> None:
    """A block that kills each worker that takes it."""
    # In the middle: with neighbours in flight, and others still to come.
    poison = f"r{trial.chance.randint(1, 3):04}_c{trial.chance.randint(1, 5):04}"
    path = [str(POISON), *filter(None, [os.environ.get("PYTHONPATH")])]
    trial.env.update(PYTHONPATH=os.pathsep.join(path), GEOSEG_FAULTS_POISON=poison)
    trial.start("predict", "--workers", "2")
    trial.moment(1, 1)
    trial.end(3, f"block {poison} failed again and again", within=POISON_SECONDS)
    _see_all_but(trial, poison)
    trial.env.clear()
    trial.resume()


def _see_all_but(trial: Trial, block: str) -> None:
    done = trial.finished()
    if block in done or len(done) != BLOCKS - 1:
        trial.problems.append(f"{len(done)} of {BLOCKS} blocks are done, wanted all but {block}")


def _own_season(trial: Trial) -> Path:
    """A copy of the season for this trial alone; returns the image to be broken."""
    trial.season = make_season(trial.folder / "season", trial.season.folder / "model")
    return trial.chance.choice(trial.season.images)


def _with_damage(path: Path, content: bytes) -> bytes:
    """The file with its last tile overwritten, in the last row and column: its size is the same."""
    with rasterio.open(path) as source:
        row, col = (HEIGHT - 1) // TILE, (WIDTH - 1) // TILE
        place = f"BLOCK_OFFSET_{col}_{row}", f"BLOCK_SIZE_{col}_{row}"
        offset, size = (int(source.get_tag_item(item, "TIFF", bidx=1)) for item in place)
    return content[:offset] + b"\xff" * size + content[offset + size :]
