"""What every block of a run shares, kept in a file so that a block's task is a few small values."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg import __version__
from geoseg.config import ImageryConfig
from geoseg.config.products import Layer, band_count, band_slices
from geoseg.engine.ensemble import EnsembleSpec
from geoseg.errors import ChangedInputError, OutputError, ProductError
from geoseg.imagery.scenes import Scene, select
from geoseg.io import files
from geoseg.io.access import confine, versions
from geoseg.model.context import Precision
from geoseg.tiling import Lattice, Plan


class Pixels(BaseModel):
    """All settings that can move a pixel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stride: int
    core: int
    margin: int
    blend: int
    precision: Precision
    device: Literal["cpu", "cuda"]
    flips: bool


class Job(BaseModel):
    """One prediction of one grid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    imagery: ImageryConfig
    scene_files: tuple[Path, ...]
    """Every file of every scene."""
    inputs: tuple[versions.Part, ...]
    """Their version when the run was planned: these files, and all that they are read with."""
    bundles: tuple[tuple[Path, str], ...]
    """Folder and checksum of each network's model bundle."""
    height: int
    width: int
    classes: int
    pixels: Pixels
    block: int
    layers: tuple[Layer, ...]
    """What a block holds besides class and confidence."""
    batch: int
    """Patches of a block that go through the network together; 1 on a CPU."""
    cache: int
    """Bytes of decoded tiles that a process keeps."""
    roots: tuple[str, ...] = ()
    """The folders it was planned to keep to (``io.access.confine``), for workers that know of none."""
    folder: Path
    """Where blocks and receipts go; its name ends with the fingerprint."""
    fingerprint: str

    @property
    def plan(self) -> Plan:
        """The blocks."""
        p = self.pixels
        lattice = Lattice(self.height, self.width, p.core, p.margin, p.stride, p.blend)
        return Plan(lattice, self.block)

    @property
    def ensemble(self) -> EnsembleSpec:
        """The networks."""
        p = self.pixels
        return EnsembleSpec(self.bundles, p.precision, p.device, p.flips)

    @property
    def slices(self) -> dict[str, slice]:
        """Which bands of a block's file each layer has."""
        return band_slices(self.layers, self.classes)

    @property
    def bands(self) -> int:
        """Bands of a block's file."""
        return band_count(self.layers, self.classes)

    @property
    def run_id(self) -> str:
        """Fingerprint of the run: the same for the same imagery, models and settings, wherever the
        files lie and however the grid is cut into blocks. It travels with the products."""
        places: dict[str, Any] = {
            "folder": True,
            "masks": {"folder"},
            "scenes": {"__all__": {"file", "files", "mask"}},
        }
        settings = self.imagery.model_dump(mode="json", exclude=places)
        inputs = [(Path(path).name, size) for path, size, _ in self.inputs]
        models = [checksum for _, checksum in self.bundles]
        pixels = self.pixels.model_dump(mode="json")
        return files.digest([__version__, settings, inputs, models, pixels])

    @property
    def file(self) -> Path:
        """Where the job itself is kept."""
        return self.folder / "job.json"


def save_job(work: Path, content: dict[str, Any]) -> Job:
    """Fix a job under ``work`` and write it down. ``content``: its fields without the last two.

    Its fingerprint covers geoseg's version, that of the input files (paths, sizes, times), the model
    bundles and whatever can move a pixel, plus what names and shapes the blocks' files.
    """
    apart = {"batch", "cache", "bundles", "roots", "scene_files"}
    identity = {key: content[key] for key in content if key not in apart}
    plain = {key: _plain(value) for key, value in identity.items()}
    checksums = [checksum for _, checksum in content["bundles"]]
    fingerprint = files.digest([__version__, plain, checksums])
    folder = work.resolve() / f"blocks-{fingerprint[:16]}"
    job = Job(**content, folder=folder, fingerprint=fingerprint)
    assert len(job.plan) > 0  # builds the plan: an impossible lattice ends here, not in a worker
    files.write_json(job.file, job.model_dump(mode="json", exclude_unset=True))
    return job


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


@lru_cache(maxsize=4)
def open_job(file: Path) -> tuple[Job, tuple[Scene, ...]]:
    """A job and its scenes, read once per process.

    Raises ``OutputError`` where the file is gone, ``ChangedInputError`` where the imagery is not what
    the run was planned on.
    """
    content = files.read_json(file)
    if content is None:
        raise OutputError(f"{file} is missing; every worker must see the run's folder at this path")
    try:
        job = Job.model_validate(content)
    except ValidationError:
        raise ProductError(
            f"{file} was written by another version of geoseg; run predict again"
        ) from None
    confine.keep_to(job.roots)
    require_same_inputs(job)
    scenes = select(job.imagery)
    if files_of(scenes) != job.scene_files:
        raise ChangedInputError(
            f"{scenes[0].files[0].parent}: other files than those the run was planned on; when the "
            "season is whole, run the same command: it starts over with the new imagery"
        )
    return job, scenes


def files_of(scenes: tuple[Scene, ...]) -> tuple[Path, ...]:
    """The input files of a run, each once."""
    named = (path.absolute() for scene in scenes for path in scene.files)
    return tuple(dict.fromkeys(named))


def require_same_inputs(job: Job) -> None:
    """Raise ``ChangedInputError`` unless every input file is still as the run found it.

    So are those that they are read with: sidecars, the sources of a VRT.
    """
    found = versions.of(job.scene_files)
    if found == job.inputs:
        return
    before, now = ({name: known for name, *known in parts} for parts in (job.inputs, found))
    changed = next(name for name in [*before, *now] if before.get(name) != now.get(name))
    if now.get(changed, [-1])[0] < 0:
        raise ChangedInputError(
            f"{changed} went away while the run was under way; bring it back and run the same "
            "command: finished blocks are kept"
        )
    raise ChangedInputError(
        f"{changed} {'changed' if changed in before else 'came'} while the run was under way; when "
        "it is whole, run the same command: it starts over with the new imagery"
    )
