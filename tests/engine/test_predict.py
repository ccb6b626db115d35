"""Blocks, from reading to receipt: the same bytes however the work is cut, and nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from distributed import Client

from geoseg.config import ImageryConfig
from geoseg.engine.block import part_path, predict_block, read_receipt
from geoseg.engine.executors.cluster import ClusterSettings, connect
from geoseg.engine.executors.dask import DaskExecutor
from geoseg.engine.job import Job
from geoseg.engine.predict import Outcome, predict
from geoseg.engine.stitch import decide
from geoseg.errors import BlockError, ModelError, OutputError, RasterError
from geoseg.feedback import Silent
from geoseg.io import files
from geoseg.legend import NODATA, Legend, LegendClass
from tests.support.engine_season import (
    HEIGHT,
    WIDTH,
    make_bundle,
    make_imagery,
    plan,
    predict_here,
    whole_map,
)


@pytest.fixture(scope="module")
def imagery(tmp_path_factory: pytest.TempPathFactory) -> ImageryConfig:
    return make_imagery(tmp_path_factory.mktemp("imagery"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def _job(imagery: ImageryConfig, bundle: Path, work: Path, block: int = 64) -> Job:
    return plan(imagery, bundle, work, block=block).job


def predict_on(client: Client, job: Job, tries: int) -> Outcome:
    return predict(job, DaskExecutor.on(client, {}), tries, Silent())


@pytest.fixture(scope="module")
def reference(imagery: ImageryConfig, bundle: Path, tmp_path_factory: pytest.TempPathFactory):
    job = _job(imagery, bundle, tmp_path_factory.mktemp("reference"), block=32)
    predict_here(job)
    return whole_map(job)


def test_nodata_in_nodata_out(reference: np.ndarray) -> None:
    missing = np.zeros((HEIGHT, WIDTH), dtype=bool)
    missing[:40, :30] = True
    assert (reference[:, missing] == NODATA).all()
    assert set(np.unique(reference[0][~missing])) <= {4, 2, 9}
    assert reference[1][~missing].max() <= 100
    assert len(np.unique(reference[0][~missing])) > 1


@pytest.mark.parametrize("block", [64, 96, 256])
def test_block_size_moves_no_byte(
    imagery: ImageryConfig, bundle: Path, tmp_path: Path, reference: np.ndarray, block: int
) -> None:
    job = _job(imagery, bundle, tmp_path, block)
    predict_here(job)
    np.testing.assert_array_equal(whole_map(job), reference)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two worker processes."""
    with connect(ClusterSettings(workers=2)) as client:
        yield client


def test_workers_move_no_byte(
    imagery: ImageryConfig, bundle: Path, tmp_path: Path, reference: np.ndarray, client: Client
) -> None:
    job = _job(imagery, bundle, tmp_path)
    outcome = predict_on(client, job, 3)
    assert outcome.blocks == len(job.plan) == 12
    assert outcome.pixels == HEIGHT * WIDTH - 40 * 30
    np.testing.assert_array_equal(whole_map(job), reference)


@pytest.mark.slow
def test_the_only_worker_dies_and_another_comes(
    imagery: ImageryConfig, bundle: Path, tmp_path: Path, reference: np.ndarray
) -> None:
    """Dask leaves the blocks waiting for the one that died: they are sent anew."""
    job = _job(imagery, bundle, tmp_path)
    with connect(ClusterSettings(workers=1)) as client:
        (worker,) = client.run(os.getpid).values()

        def kill() -> None:
            while not list(job.folder.glob("r*.json")):
                time.sleep(0.01)
            os.kill(worker, signal.SIGKILL)

        killer = Thread(target=kill)
        killer.start()
        outcome = predict_on(client, job, 3)
        killer.join()
        assert worker not in client.run(os.getpid).values()
    assert outcome.blocks == len(job.plan)
    np.testing.assert_array_equal(whole_map(job), reference)


def test_finished_blocks_are_not_done_again(
    imagery: ImageryConfig, bundle: Path, tmp_path: Path
) -> None:
    job = _job(imagery, bundle, tmp_path)
    predict_here(job)
    blocks = list(job.plan)
    torn, unproven, foreign = (part_path(job.folder, block) for block in blocks[:3])
    whole = [path.read_bytes() for path in (torn, unproven, foreign)]
    torn.write_bytes(whole[0][:-10])
    unproven.with_suffix(".json").unlink()
    receipt = json.loads(foreign.with_suffix(".json").read_text())
    files.write_json(foreign.with_suffix(".json"), {**receipt, "fingerprint": "of another run"})
    times = {path: path.stat().st_mtime_ns for path in job.folder.glob("r*.tif")}

    outcome = predict_here(job)
    assert outcome.resumed == len(blocks) - 3
    assert [path.read_bytes() for path in (torn, unproven, foreign)] == whole
    redone = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert redone == {torn, unproven, foreign}


def test_another_input_is_another_run(imagery: ImageryConfig, bundle: Path, tmp_path: Path) -> None:
    job = _job(imagery, bundle, tmp_path)
    predict_block(str(job.file), 0, 0)
    assert imagery.folder is not None
    path = imagery.folder / "2025-06-01.tif"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # delivered again: same bytes, another time
    again = _job(imagery, bundle, tmp_path)
    assert again.fingerprint != job.fingerprint
    assert read_receipt(again, again.plan.block_at(0, 0)) is None


def test_damaged_input_is_named(
    imagery: ImageryConfig, bundle: Path, tmp_path: Path, client: Client
) -> None:
    assert imagery.folder is not None
    folder = tmp_path / "images"
    folder.mkdir()
    for path in imagery.folder.glob("*.tif"):
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = folder / "2025-06-01.tif"
    damaged.write_bytes(damaged.read_bytes()[:40_000])
    job = _job(ImageryConfig(folder=folder), bundle, tmp_path / "work")
    with pytest.raises(RasterError, match=r"block r\d+_c\d+: .*2025-06-01\.tif cannot be read"):
        predict_on(client, job, 3)


def test_poison_block_is_named_and_the_rest_is_kept(
    imagery: ImageryConfig, bundle: Path, tmp_path: Path, client: Client
) -> None:
    job = _job(imagery, bundle, tmp_path)
    blocks = list(job.plan)
    # A folder where the block's file should go: writing it fails whatever is tried.
    (part_path(job.folder, blocks[4]) / "in the way").mkdir(parents=True)
    with pytest.raises((BlockError, OutputError), match=blocks[4].id):
        predict_on(client, job, 2)
    done = [block.id for block in blocks if read_receipt(job, block)]
    assert done == [block.id for block in blocks if block != blocks[4]]


def test_model_of_other_bands(imagery: ImageryConfig, bundle: Path, tmp_path: Path) -> None:
    swapped = imagery.model_copy(update={"bands": ("nir", "red")})
    with pytest.raises(ModelError, match=r"bands nir, red, the model needs red, nir"):
        _job(swapped, bundle, tmp_path)


def test_confidence_is_the_winners_percent() -> None:
    legend = Legend((LegendClass(4, "a", "#000000"), LegendClass(2, "b", "#000000")))
    probabilities = np.array([[[0.25, 0.5, 1.0, 0.9]], [[0.75, 0.5, 0.0, 0.1]]], dtype=np.float32)
    mapped = np.array([[True, True, True, False]])
    assert decide(torch.from_numpy(probabilities), mapped, legend).tolist() == [
        [[2, 4, 4, 255]],
        [[75, 50, 100, 255]],
    ]
