"""The steps of a run, in their order. Each reads files, writes files, and leaves a small record.

A flow wraps each in a task; the command line calls them one by one. A step that was interrupted is
simply run again: training is skipped where its bundle is finished, blocks where they have receipts.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from geoseg import __version__
from geoseg.config import VectorsConfig
from geoseg.engine.tiling_error import measure_seam
from geoseg.errors import ProductError
from geoseg.feedback import Progress
from geoseg.imagery.labels import Labels, open_labels
from geoseg.io import files
from geoseg.io.access import versions
from geoseg.io.raster import rasters
from geoseg.learning.compare import random_forest
from geoseg.learning.evaluate import HeldBack, Reference, Truth, evaluate
from geoseg.learning.samples import Source
from geoseg.learning.split import Split, plan_split
from geoseg.learning.train import TrainingRequest, draw_samples, train
from geoseg.model.bundle import annotate, load_card
from geoseg.pipeline.run import Record, Run
from geoseg.product.raster import read_legend
from geoseg.product.vectors.polygons import Vectorized, vectorize


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
        result = train(_request(run, _labels(run), fingerprint), run.progress)
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
        scored=bool(run.config.split.held_back) and not run.config.truth,
        fingerprint=fingerprint,
    )


def require_split(run: Run, labels: Labels) -> Split:
    """How training or, with a model that is named, scoring parts the labels, all of which it reads.

    Raises what they would: ``ConfigError``, ``LabelError``, ``ModelError``.
    """
    if run.config.model.named:
        return _split(run, labels)
    return draw_samples(_request(run, labels)).source.split


def _measure_seam(run: Run) -> None:
    """Put into the card what the default margin costs on this imagery, unless it is there."""
    card = load_card(run.folder.model)
    if card.context is None or card.context.seam is not None:
        return
    seam = measure_seam(run.folder.model, run.scenes, card.context.margin)
    context = card.context.model_copy(update={"seam": seam})
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


def _labels(run: Run) -> Labels:
    assert run.config.labels is not None
    return open_labels(run.config.labels, run.scenes[0].grid, run.legend)


def _split(run: Run, labels: Labels) -> Split:
    return plan_split(labels, run.scenes[0].grid, len(run.legend), run.config.split)


def vectorize_map(run: Run) -> Record:
    """Turn the class raster into polygons; the record says how their areas differ from its own."""
    with run.step("vectorize") as record:
        maps = run.folder.class_map, run.folder.confidence
        found = vectorize(
            maps,
            run.legend,
            run.polygon_files,
            run.progress,
            run.config.vectors,
            run_id(run.folder.class_map),
        )
        record.update(asdict(found), files=[path.name for path in run.polygon_files])
    return record


def run_id(class_map: Path) -> str:
    """The run that made a class raster, as the raster says; empty where it does not."""
    return rasters.tags(class_map).get("GEOSEG_RUN", "")


def vectorize_file(
    class_map: Path,
    confidence: Path | None,
    output: Path | None,
    config: VectorsConfig,
    progress: Progress,
) -> tuple[tuple[Path, ...], Vectorized]:
    """Polygons of any class raster of geoseg's; returns the files and what is in them.

    ``output`` says the format by its suffix; without it there is a file of each of the config's.
    """
    stem = class_map.stem.removesuffix("_class")
    confidence = confidence or class_map.with_name(f"{stem}_confidence.tif")
    beside = tuple(class_map.with_name(f"{stem}_crops.{suffix}") for suffix in config.formats)
    files = (output,) if output else beside
    legend = read_legend(class_map)
    maps = class_map, confidence
    return files, vectorize(maps, legend, files, progress, config, run_id(class_map))


def evaluate_map(run: Run) -> Record:
    """Score the map, and the baseline, on pixels whose labels training never saw.

    The record has ``unseen`` and ``random_forest``, each only where the config gives what it needs.
    """
    if not run.folder.class_map.is_file():
        raise ProductError(f"{run.folder.class_map} is not there yet; predict it first")
    with run.step("evaluate") as record:
        labels = _labels(run) if run.config.labels else None
        split = _split(run, labels) if labels else None
        reference = _reference(run, labels, split)
        if reference:
            record["unseen"] = evaluate(run.folder.class_map, run.legend, reference).to_dict()
            if run.config.random_forest and labels and split:
                record["random_forest"] = _random_forest(run, labels, split, reference)
    return record


def _reference(run: Run, labels: Labels | None, split: Split | None) -> Reference | None:
    """The truth where it is given, else the labels held back, else nothing."""
    if run.config.truth:
        return Truth(run.config.truth, run.legend, labels)
    if labels and split and run.config.split.held_back:
        return HeldBack(labels, split)
    return None


def _random_forest(run: Run, labels: Labels, split: Split, reference: Reference) -> Record:
    source = Source(run.scenes, labels, split, len(run.legend))
    normalization = load_card(run.bundle).normalization
    forest = random_forest(source, run.legend, normalization, reference, run.progress)
    return forest.to_dict()
