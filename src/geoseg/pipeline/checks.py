"""What a run checks before it reads a pixel: one list, for the run itself and for ``geoseg inspect``.

What a step finds out by itself, before its long part, is asked of that step's own function here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.engine import planning
from geoseg.engine.accelerator import memory_limit
from geoseg.engine.ensemble import load_cards
from geoseg.engine.executors.cluster import ClusterSettings, check
from geoseg.engine.executors.executor import concurrency_of
from geoseg.engine.worker_context import concurrency_on
from geoseg.io.raster import rasters
from geoseg.pipeline.run import Run
from geoseg.tiling import Plan

if TYPE_CHECKING:
    from geoseg.imagery.labels import Labels
    from geoseg.imagery.survey import Survey
    from geoseg.learning.split import Split


def require_input(run: Run, scheduler: str = "") -> Labels | None:
    """Open all that the config names, see that it fits together, and return the labels.

    Raises what the steps would raise later, some of them after hours.
    """
    scenes = run.scenes
    _require_fit(run)
    check(ClusterSettings.of(run.config.cluster, scheduler=scheduler))
    plan_blocks(run)
    if run.config.parcels:
        from geoseg.pipeline.parcels import require_run  # noqa: PLC0415

        require_run(run)
    if not run.config.labels:
        return None
    # Its imports take half a second, which mapping with a trained model need not wait for.
    from geoseg.imagery.labels import open_labels  # noqa: PLC0415

    return open_labels(run.config.labels, scenes[0].grid, run.legend)


def _require_fit(run: Run) -> None:
    """The model named and the truth must fit the imagery: ``ModelError``, ``GridMismatchError``."""
    config, scenes = run.config, run.scenes
    first = str(scenes[0].files[0])
    for card in load_cards(config.model.named):
        card.require(scenes[0].bands, len(scenes), first)
    if config.truth:
        grid = rasters.describe(config.truth).grid
        scenes[0].grid.require(grid, first, str(config.truth))


def plan_blocks(run: Run) -> Plan:
    """The blocks, as far as the config alone tells; ``ConfigError`` where they are impossible."""
    cards, grid = load_cards(run.config.model.named), run.scenes[0].grid
    return planning.block_plan(run.config, cards, grid.height, grid.width)


def require_room(run: Run, scheduler: str = "") -> None:
    """``MemoryLimitError`` where no block fits a worker, as far as that is known before one is there:
    of a model that is named, on this machine or in the memory that the config gives."""
    wanted, cards = run.config.predict, load_cards(run.config.model.named)
    settings = ClusterSettings.of(run.config.cluster, scheduler=scheduler)
    limit = None if wanted.memory == "auto" else int(wanted.memory)
    here = not settings.address and not settings.class_path
    if here and limit is None:
        limit = (memory_limit() or 0) // max(1, settings.workers or 1)
    if cards and limit:
        # Of a cluster's workers nothing is known yet: one block, one network.
        threads = settings.threads if here else 1
        concurrency = concurrency_on("cuda" if settings.gpus else "cpu", concurrency_of(threads))
        planning.require_room(wanted, cards, run.scenes, (threads, concurrency), limit)


def require_labels(run: Run, labels: Labels) -> Split:
    """Part the labels as training and scoring do, and see that there are some of each part needed.

    Reads all labels. Raises ``ConfigError``, ``LabelError`` and, for a network that there is not,
    ``ModelError``.
    """
    from geoseg.pipeline import train  # noqa: PLC0415  (what trains takes seconds to import)

    return train.require_split(run, labels)


def require_counts(run: Run, counts: Survey) -> None:
    """``LabelError`` where no label of a part of the split has data: found while samples are cut.

    ``counts`` are of the whole season.
    """
    if not counts.parts or run.config.model.named:
        return
    from geoseg.learning.samples import require_data  # noqa: PLC0415
    from geoseg.learning.split import Part  # noqa: PLC0415

    for part in (Part.TRAIN, Part.VALIDATION):
        require_data(part, counts.parts[part])
