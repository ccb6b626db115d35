"""What a run can be told: votes of several networks, mirrored views, probabilities, formats, limits."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.config import ClassEntry, ImageryConfig, PredictConfig
from geoseg.engine import block as blocks
from geoseg.engine import planning, sizing
from geoseg.engine.block import part_path, predict_block, read_receipt
from geoseg.engine.planning import PrecisionDecision, PrecisionRequest, choose
from geoseg.errors import ChangedInputError, MemoryLimitError, ModelError, OutputError
from geoseg.imagery.cube import read_cube
from geoseg.imagery.scenes import select
from geoseg.legend import NODATA
from geoseg.model.bundle import identify, load
from geoseg.model.predictor import Predictor
from tests.support.engine_season import (
    DATES,
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
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    first, second = (make_bundle(tmp_path_factory.mktemp("bundle"), seed) for seed in (1, 2))
    return first, second


def _shares(imagery: ImageryConfig, bundles: tuple[Path, ...], work: Path) -> np.ndarray:
    job = plan(imagery, bundles, work, ("probabilities",)).job
    predict_here(job)
    return whole_map(job)


def test_probabilities_stand_behind_class_and_confidence(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    found = _shares(imagery, bundles[:1], tmp_path)
    mapped = found[0] != NODATA
    assert found.shape == (5, HEIGHT, WIDTH)
    assert (found[:, ~mapped] == NODATA).all()
    assert (found[2:, mapped].max(axis=0) == found[1][mapped]).all()
    sums = found[2:, mapped].astype(int).sum(axis=0)
    assert sums.min() >= 98, "each share is rounded down"
    assert sums.max() <= 100
    plain = plan(imagery, bundles[0], tmp_path / "plain").job
    predict_here(plain)
    np.testing.assert_array_equal(whole_map(plain), found[:2])


def test_an_ensemble_is_the_mean_of_its_members(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two, both = (
        _shares(imagery, members, tmp_path / str(n))
        for n, members in enumerate((bundles[:1], bundles[1:], bundles))
    )
    mapped = both[0] != NODATA
    mean = (one[2:, mapped].astype(float) + two[2:, mapped]) / 2
    # Each of the three is rounded down by less than 1.
    assert np.abs(both[2:, mapped] - mean).max() < 1
    assert (one[0] != both[0]).any()
    assert (two[0] != both[0]).any()


def test_members_that_know_other_things_cannot_vote(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    others = tuple(ClassEntry(code=c, name=f"tree {c}", color="#123456") for c in (4, 2, 9))
    other = make_bundle(tmp_path / "other", classes=others)
    with pytest.raises(
        ModelError, match=r"model\.ensemble: .*other and .* differ in their classes"
    ):
        plan(imagery, (bundles[0], other), tmp_path)


@pytest.mark.parametrize("wanted", [{"blend": "hann"}, {"flips": True}], ids=str)
def test_blocks_and_lanes_move_no_byte(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path, wanted: dict[str, object]
) -> None:
    maps = []
    for block, concurrency in ((32, 1), (64, 3), (224, 2)):
        job = plan(imagery, bundles[0], tmp_path / str(block), block=block, **wanted).job
        predict_here(job, concurrency)
        maps.append(whole_map(job))
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], maps[0])


def test_patches_without_data_are_not_computed(
    imagery: ImageryConfig,
    bundles: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    original = Predictor.probabilities

    def counted(self: Predictor, batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.shape)
        return original(self, batch)

    monkeypatch.setattr(Predictor, "probabilities", counted)
    folder = tmp_path / "holes"
    holes = make_imagery(folder)
    # A second season of the same grid whose first 64 columns are empty on both dates.
    from geoseg.io.raster import geotiffs, rasters

    for name in DATES:
        path = folder / f"{name}.tif"
        info = rasters.describe(path)
        values, _ = rasters.read(path, [1, 2], info.grid.window)
        values[:, :, :64] = 0
        spec = geotiffs.RasterSpec("uint16", 2, 0, info.bands)
        with geotiffs.create(path, info.grid, spec) as target:
            target.write(values, info.grid.window)
    job = plan(holes, bundles[0], tmp_path / "work", block=224).job
    predict_here(job)
    assert len(seen) == 5 * 5, "of 7 columns of cores, 2 have no data"


def test_auto_takes_bf16_only_where_it_gives_the_same_map(
    imagery: ImageryConfig,
    bundles: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "native", lambda device: "bf16")
    named = tuple((folder, identify(folder)) for folder in bundles[:1])

    def chosen(agreement: float) -> PrecisionDecision:
        answer = choose(PrecisionRequest(imagery, named, "auto", agreement))
        assert isinstance(answer, PrecisionDecision)
        return answer

    easy = chosen(0.5)
    assert easy.precision == "bf16"
    assert easy.agreement is not None
    assert 0.5 < easy.agreement < 1, "weights at random: some pixels stand on the edge"
    strict = chosen(1.0)
    assert (strict.precision, strict.agreement) == ("fp32", easy.agreement)
    assert choose(PrecisionRequest(imagery, named, "bf16", 1.0)).precision == "bf16", "told so"  # type: ignore[union-attr]
    monkeypatch.setattr(planning, "native", lambda device: "fp32")
    assert chosen(0.5) == PrecisionDecision("fp32", planning.accelerator.device())


def test_another_format_is_another_run(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    prints = [
        plan(imagery, bundles[0], tmp_path, **wanted).job.fingerprint
        for wanted in (
            {},
            {"precision": "bf16"},
            {"margin": 64},
            {"flips": True},
            {"blend": "hann"},
        )
    ]
    assert len(set(prints)) == len(prints)
    same = plan(imagery, bundles[0], tmp_path, memory="3GB", tries=2, agreement=0.5)
    assert same.job.fingerprint == prints[0]


def test_a_block_that_does_not_fit_is_refused(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(
        MemoryLimitError,
        match=r"predict\.block: 64 px of 4 channels .* need \d\.\d GiB; .* may use 0\.5 GiB\. Choose",
    ):
        plan(imagery, bundles[0], tmp_path, memory="0.5GiB")
    assert not list(tmp_path.iterdir()), "nothing was started"


def test_auto_gives_up_cache_before_block_and_block_before_the_run(
    imagery: ImageryConfig, bundles: tuple[Path, Path]
) -> None:
    from geoseg.engine.planning import make_lattice
    from geoseg.model.bundle import load_card
    from geoseg.model.tracing import activation_bytes

    card = load_card(bundles[0])
    wanted = PredictConfig(core=256, margin=64)
    lattice = make_lattice(wanted, (card,), 9000, 9000)
    load_of = sizing.MemoryModel(
        imagery=sizing.Imagery(12, 60, 120, (512, 512)),
        lattice=lattice,
        classes=8,
        footprint=activation_bytes(card.network, 4, "fp32"),
        members=1,
        threads=3,
        concurrency=2,
    )
    ample = sizing.fit(load_of, "auto", None)
    assert (ample.block, ample.cache) == (1024, load_of.ideal_cache(1024))
    limits = [ample.needs - 1, load_of.bytes(1024, sizing.CACHE_LEAST), 0]
    limits[2] = limits[1] - 1
    sizes = [sizing.fit(load_of, "auto", limit) for limit in limits]
    assert all(size.needs <= limit for size, limit in zip(sizes, limits, strict=True))
    blocks = [size.block for size in sizes]
    assert blocks == [1024, 1024, 768], "the cache went first"
    with pytest.raises(MemoryLimitError, match="256 px"):
        sizing.fit(load_of, "auto", 2**29)


def test_an_input_that_goes_away_ends_the_run_at_once(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    season = make_imagery(tmp_path / "season")
    job = plan(season, bundles[0], tmp_path / "work").job
    predict_block(str(job.file), 0, 0)
    path = tmp_path / "season" / f"{DATES[1]}.tif"
    content, times = path.read_bytes(), path.stat()
    path.unlink()
    with pytest.raises(
        ChangedInputError, match=re.escape(str(path)) + r" went away .*same command"
    ):
        predict_here(job)
    path.write_bytes(content)
    with pytest.raises(ChangedInputError, match=r"06-01\.tif changed while the run"):
        predict_here(job)
    assert len([b for b in job.plan if read_receipt(job, b)]) == 1
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert predict_here(job).resumed == 1


def test_no_room_ends_the_run_at_once(
    imagery: ImageryConfig,
    bundles: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = plan(imagery, bundles[0], tmp_path, block=32).job
    blocks = list(job.plan)
    calls = []

    def full(*_: object) -> None:
        calls.append(time.monotonic())
        raise OutputError("no room")

    monkeypatch.setattr("geoseg.engine.block._write_block", full)
    with pytest.raises(OutputError, match="no room"):
        predict_here(job)
    assert len(calls) < 8 < len(blocks), "those in flight, and no more"


@pytest.mark.parametrize("meanwhile", [False, True])
def test_torn_files_of_who_was_killed_are_removed(
    imagery: ImageryConfig,
    bundles: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: bool,
) -> None:
    """A run before this one, or a worker of this one beside others."""
    job = plan(imagery, bundles[0], tmp_path, block=224).job
    torn = job.folder / ".r0000_c0000.1234abcd.part.tif"
    read = blocks.read_receipt

    def killed(*given: Any) -> Any:
        torn.write_bytes(b"half")
        return read(*given)

    if meanwhile:
        monkeypatch.setattr(blocks, "read_receipt", killed)
    else:
        torn.write_bytes(b"half")
    predict_here(job)
    assert not torn.exists()
    assert {path.name for path in job.folder.iterdir()} == {
        "job.json", "r0000_c0000.tif", "r0000_c0000.json",
    }  # fmt: skip


def test_no_more_networks_at_once_than_lanes(
    imagery: ImageryConfig,
    bundles: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most, now, lock = 0, 0, threading.Lock()
    original = Predictor.probabilities

    def watched(self: Predictor, batch: torch.Tensor) -> torch.Tensor:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        try:
            return original(self, batch)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(Predictor, "probabilities", watched)
    job = plan(imagery, bundles[0], tmp_path).job
    predict_here(job, concurrency=2)
    assert most == 2


def test_out_of_memory_halves_the_batch(bundles: tuple[Path, Path]) -> None:
    """As on a GPU: there is none here, so a network that refuses more than two patches."""
    _, network = load(bundles[0])
    sizes = []

    class Small(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            result: torch.Tensor = network(x)
            return result

    batch = torch.randn(7, 4, 32, 32)
    found = Predictor(Small(), 16).probabilities(batch)
    assert sizes == [7, 3, 1, 2, 4, 2, 2]
    np.testing.assert_allclose(found, Predictor(network, 16).probabilities(batch), atol=1e-5)

    class Full(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        ModelError, match=r"one patch of 32 x 32 pixels; choose a smaller predict\.core"
    ):
        Predictor(Full(), 16).probabilities(batch)


def test_a_worker_without_the_planned_device_says_so(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    job = plan(imagery, bundles[0], tmp_path).job
    text = job.file.read_text().replace('"device": "cpu"', '"device": "cuda"')
    job.file.write_text(text)
    with pytest.raises(ModelError, match="planned on a CUDA device and this worker has none"):
        predict_block(str(job.file), 2, 2)


def test_one_read_of_open_files_is_as_good_as_another(imagery: ImageryConfig) -> None:
    from geoseg.grid import Window
    from geoseg.io.raster.open_rasters import OpenRasters

    scenes, kept = select(imagery), OpenRasters()
    for window in (Window(0, 0, 150, 203), Window(30, 17, 64, 90), Window(149, 202, 1, 1)):
        plain, cached = read_cube(scenes, window), read_cube(scenes, window, kept.read)
        np.testing.assert_array_equal(plain.values, cached.values)
        np.testing.assert_array_equal(plain.valid, cached.valid)
    kept.close()
    assert read_cube(scenes, Window(0, 0, 2, 2), kept.read).values.shape == (2, 2, 2, 2)


def test_block_files_keep_their_place(
    imagery: ImageryConfig, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    job = plan(imagery, bundles[0], tmp_path).job
    assert {part_path(job.folder, block).name for block in job.plan} == {
        f"r{row:04d}_c{col:04d}.tif" for row in range(3) for col in range(4)
    }
