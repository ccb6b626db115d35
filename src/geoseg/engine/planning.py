"""From what a config asks for to a job: lattice, number format, block, cache and batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from geoseg.config import ImageryConfig, PredictConfig, RunConfig
from geoseg.config.products import Layer
from geoseg.engine import accelerator, sizing
from geoseg.engine.ensemble import Ensemble, EnsembleSpec, load_cards
from geoseg.engine.executors.executor import Executor, concurrency_of
from geoseg.engine.inputs import to_device
from geoseg.engine.job import Job, Pixels, files_of, save_job
from geoseg.engine.sizing import Imagery, MemoryModel, MemoryPlan
from geoseg.engine.worker_context import concurrency_on
from geoseg.errors import GeosegError
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import Cube, read_cube
from geoseg.imagery.scenes import Scene, select
from geoseg.io.access import confine, versions
from geoseg.model.bundle import ModelCard, identify
from geoseg.model.context import DEFAULT_MARGIN, PRECISIONS, Precision
from geoseg.model.footprint import Footprint
from geoseg.model.precision import native
from geoseg.tiling import Lattice, Plan


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be mapped, with which networks, and how."""

    imagery: ImageryConfig
    bundles: tuple[Path, ...]
    predict: PredictConfig
    layers: tuple[Layer, ...] = ()
    """Wanted besides class and confidence."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A job, and why it is as it is."""

    job: Job
    choice: PrecisionDecision
    size: MemoryPlan


def plan_job(
    request: Request, scenes: tuple[Scene, ...], work: Path, executor: Executor
) -> Planned:
    """Decide what the config leaves open, and write the job down under ``work``.

    Number format and device are those of a worker of ``executor``. Raises ``ModelError`` where a model
    does not fit the imagery, ``ConfigError`` where the lattice is impossible, ``MemoryLimitError``
    where a block does not fit a worker.
    """
    cards = load_cards(request.bundles)
    cards[0].require(scenes[0].bands, len(scenes), str(scenes[0].files[0]))
    lattice = make_lattice(request.predict, cards, scenes[0].grid.height, scenes[0].grid.width)
    bundles = tuple((folder.resolve(), identify(folder)) for folder in request.bundles)
    choice = _choose(request, bundles, executor)
    at_once = (
        executor.per_process,
        concurrency_on(choice.device, concurrency_of(executor.per_process)),
    )
    load = _load(cards, scenes, lattice, choice.precision, at_once)
    wanted = request.predict
    memory = executor.memory if wanted.memory == "auto" else int(wanted.memory)
    size = sizing.fit(load, wanted.block, memory)
    job = save_job(
        work,
        {
            "imagery": request.imagery,
            "scene_files": files_of(scenes),
            "inputs": versions.of(files_of(scenes)),
            "bundles": bundles,
            "height": lattice.height,
            "width": lattice.width,
            "classes": len(cards[0].classes),
            "pixels": _pixels(lattice, choice, wanted.flips),
            "block": size.block,
            "layers": request.layers,
            "batch": sizing.batch(load, choice.device_memory),
            "cache": size.cache,
            "roots": confine.roots(),
        },
    )
    return Planned(job, choice, size)


def make_lattice(
    wanted: PredictConfig, cards: tuple[ModelCard, ...], height: int, width: int
) -> Lattice:
    """The lattice of a grid; ``auto`` margins are the largest that the networks ask for."""
    stride = max(card.network.stride for card in cards)
    needed = max(-(-_margin(card) // stride) * stride for card in cards)
    margin = needed if wanted.margin == "auto" else wanted.margin
    blend = margin // 2 if wanted.blend == "hann" else 0
    return Lattice(height, width, wanted.core, margin, stride, blend)


def block_plan(config: RunConfig, cards: tuple[ModelCard, ...], height: int, width: int) -> Plan:
    """The blocks as the config gives them; ``ConfigError`` where they are impossible.

    What is left open is decided with the model and the workers at hand: without ``cards`` a margin
    is 0, and the block is the one that pays.
    """
    wanted = config.predict
    if cards:
        lattice = make_lattice(wanted, cards, height, width)
    else:
        margin = 0 if wanted.margin == "auto" else wanted.margin
        blend = margin // 2 if wanted.blend == "hann" else 0
        lattice = Lattice(height, width, wanted.core, margin, 2**config.model.depth, blend)
    block = sizing.block_that_pays(wanted.core) if wanted.block == "auto" else wanted.block
    return Plan(lattice, block)


def _margin(card: ModelCard) -> int:
    return card.context.margin if card.context else DEFAULT_MARGIN


def _pixels(lattice: Lattice, choice: PrecisionDecision, flips: bool) -> Pixels:
    return Pixels(
        stride=lattice.stride,
        core=lattice.core,
        margin=lattice.margin,
        blend=lattice.blend,
        precision=choice.precision,
        device=choice.device,
        flips=flips,
    )


def _choose(
    request: Request, bundles: tuple[tuple[Path, str], ...], executor: Executor
) -> PrecisionDecision:
    wanted = request.predict
    question = PrecisionRequest(
        request.imagery, bundles, wanted.precision, wanted.agreement, wanted.flips
    )
    answer = executor.submit(choose, question).result()
    if isinstance(answer, GeosegError):
        raise answer
    return answer


def _footprint(card: ModelCard, precision: Precision) -> Footprint:
    """As the card says; older cards do not, and tracing the network takes two seconds."""
    if card.context and precision in card.context.footprint:
        return card.context.footprint[precision]
    from geoseg.model.tracing import activation_bytes  # noqa: PLC0415

    return activation_bytes(card.network, card.network.channels, precision)


def _load(
    cards: tuple[ModelCard, ...],
    scenes: tuple[Scene, ...],
    lattice: Lattice,
    precision: Precision,
    at_once: tuple[int, int],
) -> MemoryModel:
    """``at_once``: blocks under way, and networks that compute, in one process."""
    prints = [_footprint(card, precision) for card in cards]
    threads, concurrency = at_once
    return MemoryModel(
        imagery=Imagery.of(scenes),
        lattice=lattice,
        classes=len(cards[0].classes),
        footprint=max(prints, key=lambda each: each.live_per_pixel),
        members=len(cards),
        threads=threads,
        concurrency=concurrency,
    )


def require_room(
    wanted: PredictConfig,
    cards: tuple[ModelCard, ...],
    scenes: tuple[Scene, ...],
    at_once: tuple[int, int],
    memory: int,
) -> None:
    """``MemoryLimitError`` where no block fits a process that may use ``memory`` bytes.

    As ``plan_job``, but that no worker is asked for the number format: the leaner one counts.
    """
    grid = scenes[0].grid
    lattice = make_lattice(wanted, cards, grid.height, grid.width)
    formats = PRECISIONS if wanted.precision == "auto" else (wanted.precision,)
    loads = [_load(cards, scenes, lattice, precision, at_once) for precision in formats]
    sizing.fit(min(loads, key=lambda load: load.patch_bytes), wanted.block, memory)


SAMPLES, SIDE = 4, 256
"""Patches compared, and their side in pixels."""


@dataclass(frozen=True, slots=True)
class PrecisionRequest:
    """What the config asks for."""

    imagery: ImageryConfig
    bundles: tuple[tuple[Path, str], ...]
    precision: Precision | Literal["auto"]
    agreement: float
    flips: bool = False


@dataclass(frozen=True, slots=True)
class PrecisionDecision:
    """What the machine gives."""

    precision: Precision
    device: Literal["cpu", "cuda"]
    agreement: float | None = None
    """Share of pixels with the same class in bf16 as in fp32; None where they were not compared."""
    device_memory: int | None = None
    """Free bytes of the GPU; None on a CPU."""


def choose(request: PrecisionRequest) -> PrecisionDecision | GeosegError:
    """Device and number format of this process; a user's mistake is an answer, as of a block.

    ``auto`` takes bf16 where the device computes it natively and, on patches of the run's own
    imagery, it gives at least ``request.agreement`` of the pixels the class that fp32 gives them.
    """
    device, free = accelerator.device(), accelerator.device_memory()
    if request.precision != "auto":
        return PrecisionDecision(request.precision, device, device_memory=free)
    if native(torch.device(device)) == "fp32":
        return PrecisionDecision("fp32", device, device_memory=free)
    try:
        same = _agreement(request, device)
    except GeosegError as error:
        return error
    precision: Precision = "bf16" if same is None or same >= request.agreement else "fp32"
    return PrecisionDecision(precision, device, same, free)


def _agreement(request: PrecisionRequest, device: Literal["cpu", "cuda"]) -> float | None:
    """Share of mapped pixels with one class in both formats; None where the patches have no data."""
    torch.set_num_threads(1)
    formats: tuple[Precision, Precision] = ("fp32", "bf16")
    both = [
        Ensemble.load(EnsembleSpec(request.bundles, precision, device, request.flips))
        for precision in formats
    ]
    same = total = 0
    for cube in _samples(request.imagery):
        raw = to_device(cube, both[0].device)
        first, second = (e.probabilities([raw])[0].argmax(dim=0).cpu().numpy() for e in both)
        same += int((first == second)[cube.mapped].sum())
        total += int(cube.mapped.sum())
    return same / total if total else None


def _samples(imagery: ImageryConfig) -> Iterator[Cube]:
    """Patches spread over the grid, those with some data."""
    scenes = select(imagery)
    found = 0
    for window in _spread(scenes[0].grid):
        cube = read_cube(scenes, window)
        if cube.mapped.any():
            found += 1
            yield cube
        if found == SAMPLES:
            return


def _spread(grid: Grid) -> Iterator[Window]:
    """Windows on the diagonal and beside it, from the middle outwards."""
    for part in (0.5, 0.25, 0.75, 0.1, 0.9):
        for other in (part, 1 - part):
            # On multiples of the side: a window then lies in one tile of most files.
            row, col = (
                int(p * n) // SIDE * SIDE for p, n in ((part, grid.height), (other, grid.width))
            )
            yield Window(row, col, SIDE, SIDE).clip(grid.window)
