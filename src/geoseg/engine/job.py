"""What every block of a run shares, kept in a file so that a block's task is three small values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from geoseg import __version__
from geoseg.config import ImageryConfig
from geoseg.errors import OutputError
from geoseg.imagery.scenes import Scene, select
from geoseg.io import files
from geoseg.model.bundle import identify, load_card
from geoseg.tiling import Lattice, Plan


class Job(BaseModel):
    """One prediction of one grid by one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    imagery: ImageryConfig
    bundle: Path
    bundle_sha256: str
    height: int
    width: int
    stride: int
    core: int
    margin: int
    block: int
    precision: Literal["fp32", "bf16"]
    threads: int
    """Threads of the network in a worker; fixed, since kernels may sum in another order with more."""
    folder: Path
    """Where blocks and receipts go; its name ends with the fingerprint."""
    fingerprint: str

    @property
    def plan(self) -> Plan:
        """The blocks."""
        return Plan(
            Lattice(self.height, self.width, self.core, self.margin, self.stride), self.block
        )

    @property
    def file(self) -> Path:
        """Where the job itself is kept."""
        return self.folder / "job.json"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What the config says of prediction, with the bundle to use."""

    imagery: ImageryConfig
    bundle: Path
    core: int
    margin: int
    block: int
    precision: Literal["fp32", "bf16"]
    threads: int


def create_job(settings: JobSettings, scenes: tuple[Scene, ...], work: Path) -> Job:
    """Fix a job under ``work`` and write it down.

    Its fingerprint covers geoseg's version, the input files (path, size, mtime), the model bundle
    and whatever can move a pixel, plus the block size, which names the pieces. Raises
    ``ModelError`` where the model does not fit the imagery, ``ConfigError`` where the lattice is
    impossible.
    """
    card = load_card(settings.bundle)
    card.require(scenes[0].bands, len(scenes), str(scenes[0].files[0]))
    grid = scenes[0].grid
    numbers = {
        "core": settings.core,
        "margin": settings.margin,
        "block": settings.block,
        "precision": settings.precision,
        "threads": settings.threads,
    }
    inputs = [[scene.id, [files.identity(path) for path in scene.files]] for scene in scenes]
    imagery = settings.imagery.model_dump(mode="json")
    bundle_sha256 = identify(settings.bundle)
    fingerprint = files.digest([__version__, inputs, imagery, bundle_sha256, numbers])
    job = Job(
        imagery=settings.imagery,
        bundle=settings.bundle.resolve(),
        bundle_sha256=bundle_sha256,
        height=grid.height,
        width=grid.width,
        stride=card.network.stride,
        folder=work.resolve() / f"blocks-{fingerprint[:16]}",
        fingerprint=fingerprint,
        **numbers,
    )
    assert len(job.plan) > 0  # builds the plan: an impossible lattice ends here, not in a worker
    files.write_json(job.file, job.model_dump(mode="json", exclude_unset=True))
    return job


@lru_cache(maxsize=4)
def open_job(file: Path) -> tuple[Job, tuple[Scene, ...]]:
    """A job and its scenes, read once per process; ``OutputError`` where the file is gone."""
    content = files.read_json(file)
    if content is None:
        raise OutputError(f"{file} is missing; every worker must see the run's folder at this path")
    job = Job.model_validate(content)
    return job, select(job.imagery)
