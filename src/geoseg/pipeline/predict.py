"""The step that predicts every block that has no receipt yet, here or on Dask workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from geoseg.engine.accelerator import memory_limit
from geoseg.engine.executors.cluster import ClusterSettings, connect
from geoseg.engine.executors.dask import DaskExecutor
from geoseg.engine.executors.executor import Executor
from geoseg.engine.executors.threads import ThreadExecutor
from geoseg.engine.planning import Planned, Request, plan_job
from geoseg.engine.predict import Outcome, predict
from geoseg.errors import EmptySelectionError
from geoseg.pipeline.run import Record, Run


def predict_blocks(run: Run, workers: int | None = None, scheduler: str = "") -> Record:
    """Plan the blocks and predict those that have no receipt yet.

    ``scheduler`` (an address) and ``workers`` (processes; 0: threads of this one) win over the config.
    """
    settings = ClusterSettings.of(run.config.cluster, workers, scheduler)
    with run.step("predict") as record:
        with _executor(settings) as executor:
            planned = plan_job(_request(run), run.scenes, run.folder.work, executor)
            _announce(run, planned, executor)
            if executor.dashboard:
                run.progress.note({"dashboard": executor.dashboard})
            outcome = predict(planned.job, executor, run.config.predict.tries, run.progress)
        if not outcome.pixels:
            raise EmptySelectionError(
                f"{run.scenes[0].files[0]} and the other dates: no pixel has data on any date, so "
                "there is nothing to map; check 'imagery.nodata' and the masks with 'geoseg inspect'"
            )
        record.update(_recorded(planned, outcome), workers=settings.address or settings.workers)
    return record


@contextmanager
def _executor(settings: ClusterSettings) -> Iterator[Executor]:
    """Threads of this process, or the workers that the settings name."""
    if not settings.dask:
        with ThreadExecutor.open(settings.concurrency) as executor:
            yield executor
        return
    local = not settings.address and not settings.class_path
    limit = memory_limit() if local else None
    share = limit // max(1, settings.workers or 1) if limit else None
    absent = settings.absent_seconds
    with connect(settings) as client:
        yield DaskExecutor.on(client, settings.resources, share, absent)


def _request(run: Run) -> Request:
    config = run.config
    return Request(config.imagery, run.bundles, config.predict, config.products.layers)


def _announce(run: Run, planned: Planned, executor: Executor) -> None:
    """What was decided, in one line, before the long part."""
    job, choice = planned.job, planned.choice
    same = (
        "" if choice.agreement is None else f" ({choice.agreement:.3%} of the classes as in fp32)"
    )
    run.progress.say(
        f"predict: {choice.precision}{same} on {choice.device}, {len(job.plan)} blocks of {job.block} "
        f"px, cores of {job.pixels.core} px, margin {job.pixels.margin} px, {executor.threads} at once, "
        f"at most {planned.size.needs / 2**30:.1f} GiB a process"
    )


def _recorded(planned: Planned, outcome: Outcome) -> Record:
    job, choice, pixels = planned.job, planned.choice, planned.job.pixels
    return {
        "blocks": outcome.blocks,
        "resumed": outcome.resumed,
        "pixels": outcome.pixels,
        "core": pixels.core,
        "margin": pixels.margin,
        "blend": pixels.blend,
        "block": job.block,
        "precision": pixels.precision,
        "agreement": choice.agreement,
        "backend": f"torch, {pixels.device}",
        "networks": len(job.bundles),
        "flips": pixels.flips,
        "memory": planned.size.needs,
        "job": str(job.file),
        "fingerprint": job.fingerprint,
    }
