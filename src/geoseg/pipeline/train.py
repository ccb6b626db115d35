"""The step that trains a model, unless the config names one or it was trained before."""

from __future__ import annotations

from geoseg import __version__
from geoseg.engine.tiling_error import measure_tiling_error
from geoseg.imagery.labels import Labels
from geoseg.io import files
from geoseg.io.access import versions
from geoseg.learning.split import Split
from geoseg.learning.train import TrainingRequest, draw_samples, train
from geoseg.model.bundle import annotate, load_card
from geoseg.pipeline.labels import labels_of, split_of
from geoseg.pipeline.run import Record, Run


def train_model(run: Run) -> Record:
    """Train a model into the run's folder, unless the config names one or it is there already."""
    if run.config.model.named:
        return {"bundle": str(run.bundle), "trained": False}
    fingerprint = _training_fingerprint(run)
    if _trained(run, fingerprint):
        run.progress.say(f"train: {run.folder.model} is finished for this input; using it")
        record = run.recorded("train")
    else:
        record = _train(run, fingerprint)
    _measure_seam(run)
    return record


def _train(run: Run, fingerprint: str) -> Record:
    with run.step("train") as record:
        result = train(_request(run, labels_of(run), fingerprint), run.progress)
        record.update(bundle=str(result.bundle), trained=True, validation=result.card.metrics)
    return record


def _request(run: Run, labels: Labels, fingerprint: str = "") -> TrainingRequest:
    return TrainingRequest(
        scenes=run.scenes,
        labels=labels,
        legend=run.legend,
        split=run.config.split,
        model=run.config.model,
        train=run.config.train,
        work=run.folder.work / "samples",
        bundle=run.folder.model,
        scored=bool(run.config.split.test) and not run.config.truth,
        fingerprint=fingerprint,
    )


def require_split(run: Run, labels: Labels) -> Split:
    """How training or, with a model that is named, scoring parts the labels, all of which it reads.

    Raises what they would: ``ConfigError``, ``LabelError``, ``ModelError``.
    """
    if run.config.model.named:
        return split_of(run, labels)
    return draw_samples(_request(run, labels)).source.split


def _measure_seam(run: Run) -> None:
    """Put into the card what the default margin costs on this imagery, unless it is there."""
    card = load_card(run.folder.model)
    if card.context is None or card.context.tiling_error is not None:
        return
    tiling_error = measure_tiling_error(run.folder.model, run.scenes, card.context.margin)
    context = card.context.model_copy(update={"tiling_error": tiling_error})
    annotate(run.folder.model, card.model_copy(update={"context": context}))


def _trained(run: Run, fingerprint: str) -> bool:
    card = run.folder.model / "card.json"
    return card.is_file() and load_card(run.folder.model).fingerprint == fingerprint


def _training_fingerprint(run: Run) -> str:
    """Hash of everything a training is given, and of the geoseg that does it."""
    config = run.config
    assert config.labels is not None
    inputs = [path for scene in run.scenes for path in scene.files]
    inputs += [config.labels.file, *([config.labels.fields] if config.labels.fields else [])]
    sections = {"imagery", "legend", "labels", "split", "model", "train"}
    # Threads change no weight.
    settings = config.model_dump(mode="json", include=sections, exclude={"train": {"threads"}})
    return files.digest([__version__, versions.of(inputs), settings])
