"""Training on a tiny season: what goes in, what must not, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.config import ImageryConfig, LabelsConfig, ModelConfig, SplitConfig, TrainConfig
from geoseg.errors import ConfigError, EmptySelectionError, LabelError, OutputError, RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import read_cube, to_features
from geoseg.imagery.labels import open_labels
from geoseg.imagery.scenes import select
from geoseg.io.raster import geotiffs, rasters
from geoseg.learning import samples as samples_module
from geoseg.learning.accelerator import Accelerator
from geoseg.learning.batches import Loader
from geoseg.learning.compare import Sampling, random_forest
from geoseg.learning.evaluate import HeldBack, Truth, evaluate
from geoseg.learning.fitting import Trainer
from geoseg.learning.metrics import Scores
from geoseg.learning.samples import Cells, Samples, Source, cut, draw
from geoseg.learning.split import Part, plan_split
from geoseg.learning.statistics import fit_normalization
from geoseg.learning.train import TrainingRequest, TrainingResult, train
from geoseg.legend import NODATA, UNKNOWN, Legend, LegendClass
from geoseg.model.bundle import load, load_card
from geoseg.model.networks import NetworkSpec, build
from geoseg.model.predictor import Predictor
from geoseg.normalization import Normalization
from geoseg.pipeline.run import Run
from geoseg.pipeline.train import train_model

HEIGHT, WIDTH, FIELD = 120, 155, 15
GRID = Grid(CRS.from_epsg(32631).to_wkt(), Affine(10, 0, 5e5, 0, -10, 5.6e6), HEIGHT, WIDTH)
LEGEND = Legend(
    tuple(LegendClass(c, n, "#123456") for c, n in ((3, "wheat"), (1, "maize"), (7, "beet")))
)
MODEL = ModelConfig(encoder="resnet18", depth=3, decoder_channels=(16, 16, 16))
TRAIN = TrainConfig(
    patch=32, batch=8, epochs=10, learning_rate=5e-3, drop_dates=0.2, threads=1, seed=4
)
SPLIT = SplitConfig(tile=24, buffer=2, validation=0.25, test=0.2)


@dataclass(frozen=True)
class Season:
    """Three dates of two bands over fields of three crops."""

    folder: Path
    truth: NDArray[np.int16]
    """Model indices of every pixel."""

    def source(self, split: SplitConfig = SPLIT) -> Source:
        scenes = select(ImageryConfig(folder=self.folder))
        labels = open_labels(
            LabelsConfig(file=self.folder / "known" / "labels.tif"), scenes[0].grid, LEGEND
        )
        return Source(scenes, labels, plan_split(labels, GRID, 3, split), 3)

    def request(self, out: Path) -> TrainingRequest:
        source = self.source()
        return TrainingRequest(
            source.scenes, source.labels, LEGEND, SPLIT, MODEL, TRAIN, out / "work", out / "model",
            fingerprint="abc",
        )  # fmt: skip


def _write(path: Path, values: NDArray[np.generic], nodata: float) -> None:
    bands = values.shape[0] if values.ndim == 3 else 1
    spec = geotiffs.RasterSpec(str(values.dtype), bands, nodata)
    with geotiffs.create(path, GRID, spec) as target:
        target.write(values, GRID.window)


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Season:
    folder = tmp_path_factory.mktemp("season")
    random = np.random.default_rng(7)
    shape = (-(-HEIGHT // FIELD), -(-WIDTH // FIELD))
    crops = random.integers(0, 3, shape).repeat(FIELD, 0).repeat(FIELD, 1)[:HEIGHT, :WIDTH]
    known = (random.random(shape) < 0.6).repeat(FIELD, 0).repeat(FIELD, 1)[:HEIGHT, :WIDTH]
    for date in range(3):
        level = random.integers(500, 3000, (2, 3))[:, crops]
        values = (level + random.normal(0, 400, (2, HEIGHT, WIDTH))).clip(1).astype(np.uint16)
        row, col = random.integers(0, 90, 2)
        values[:, row : row + 40, col : col + 40] = 0
        values[:, :, :5] = 0
        _write(folder / f"2025-0{4 + date}-01.tif", values, 0)
    codes = LEGEND.codes[crops]
    _write(folder / "known" / "labels.tif", np.where(known, codes, np.uint8(NODATA)), NODATA)
    # Any attempt to read the truth in training ends in a RasterError.
    (folder / "known" / "truth.tif").write_bytes(b"not a raster")
    return Season(folder, crops.astype(np.int16))


@pytest.fixture(scope="module")
def cut_samples(season: Season, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    config = TRAIN.model_copy(update={"overlap": 0.25})
    return cut(draw(season.source(), config), tmp_path_factory.mktemp("samples"), Silent())


@pytest.fixture(scope="module")
def trained(season: Season, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(season.request(tmp_path_factory.mktemp("trained")), Silent())


def test_targets_are_the_labels_of_their_part_and_no_others(
    season: Season, cut_samples: Samples
) -> None:
    known, parts = season.source().targets(GRID.window)
    mapped = np.arange(WIDTH) >= 5  # no date has data in the first columns
    shown = np.zeros((HEIGHT, WIDTH), dtype=bool)
    counted = np.zeros((HEIGHT, WIDTH), dtype=int)
    for number, window in enumerate(cut_samples.windows):
        place = window.within(GRID.window)
        for targets, part in ((cut_samples.train, Part.TRAIN),
                              (cut_samples.validation, Part.VALIDATION)):  # fmt: skip
            used = targets[number] != UNKNOWN
            assert (parts[place][used] == part).all()
            np.testing.assert_array_equal(targets[number][used], season.truth[place][used])
        shown[place] |= cut_samples.train[number] != UNKNOWN
        counted[place] += cut_samples.validation[number] != UNKNOWN
    np.testing.assert_array_equal(shown, (parts == Part.TRAIN) & mapped)
    np.testing.assert_array_equal(counted, (parts == Part.VALIDATION) & mapped)
    for part in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        counts = np.bincount(known[parts == part], minlength=3)
        np.testing.assert_array_equal(cut_samples.pixels[part], counts)


def test_samples_hold_the_imagery_as_it_is(season: Season, cut_samples: Samples) -> None:
    for number in (0, len(cut_samples) - 1):
        rows, cols = cut_samples.windows[number].within(GRID.window)
        values, valid = rasters.read(season.folder / "2025-05-01.tif", [1, 2], GRID.window)
        np.testing.assert_array_equal(cut_samples.values[number, 1], values[:, rows, cols])
        np.testing.assert_array_equal(cut_samples.valid[number, 1], valid[rows, cols])
    assert cut_samples.values.dtype == np.uint16


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_cells_cover_the_grid_once_and_samples_stay_inside(overlap: float) -> None:
    cells = Cells.of(GRID, TRAIN.model_copy(update={"overlap": overlap}))
    seen = np.zeros((HEIGHT, WIDTH), dtype=int)
    for number in range(cells.across * -(-HEIGHT // cells.step)):
        cell, extent = cells.cell(number), cells.extent(number)
        seen[cell.within(GRID.window)] += 1
        assert extent.clip(GRID.window) == extent
        assert cell.clip(extent) == cell
    assert (seen == 1).all()


def test_a_season_smaller_than_a_sample_is_filled_up_with_nothing(
    season: Season, tmp_path: Path
) -> None:
    config = TRAIN.model_copy(update={"patch": 192})
    small = cut(draw(season.source(), config), tmp_path, Silent())
    assert small.values.shape == (1, 3, 2, 192, 192)
    assert not small.valid[0, :, HEIGHT:].any()
    assert (small.train[0, :, WIDTH:] == UNKNOWN).all()
    assert (small.train[0, :HEIGHT, :WIDTH] != UNKNOWN).any()


def test_the_number_of_samples_is_limited(season: Season, tmp_path: Path) -> None:
    config = TRAIN.model_copy(update={"max_samples": 4})
    few = cut(draw(season.source(), config), tmp_path, Silent())
    assert len(few) == 4
    assert few.holding(Part.TRAIN)
    assert few.holding(Part.VALIDATION)


def test_statistics_are_those_of_the_valid_pixels(cut_samples: Samples) -> None:
    for transform in ("none", "asinh"):
        found = fit_normalization(cut_samples, transform)
        for date in range(3):
            for band in range(2):
                channel = 2 * date + band
                pixels = cut_samples.values[:, date, band][cut_samples.valid[:, date]]
                assert found.knee[channel] == pytest.approx(
                    np.median(pixels) if transform == "asinh" else 1, rel=0.1
                )
                stretched = pixels / found.knee[channel]
                stretched = np.arcsinh(stretched) if transform == "asinh" else stretched
                assert found.mean[channel] == pytest.approx(stretched.mean(), rel=1e-5)
                assert found.std[channel] == pytest.approx(stretched.std(), rel=1e-4)


def test_a_constant_and_an_empty_channel_are_left_alone(cut_samples: Samples) -> None:
    values, valid = np.array(cut_samples.values), np.array(cut_samples.valid)
    values[:, 0], valid[:, 1] = 77, False
    odd = replace(cut_samples, values=values, valid=valid)
    found = fit_normalization(odd, "none")
    assert found.mean[:4] == (77, 77, 0, 0)
    assert found.std[:4] == (1, 1, 1, 1)


def test_labels_turn_with_the_imagery(cut_samples: Samples) -> None:
    values = np.repeat(cut_samples.train[:, np.newaxis, np.newaxis] + 1, 2, axis=2)
    valid = np.ones_like(cut_samples.valid[:, :1])
    marked = replace(cut_samples, values=np.asarray(values), valid=valid)
    same = Normalization(transform="none", knee=(1, 1), mean=(0, 0), std=(1, 1))
    loader = Loader(marked, same, TRAIN)
    numbers = marked.holding(Part.TRAIN)
    seen = 0
    for batch in loader.training(numbers, epoch=3):
        assert batch.features.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(batch.features[:, 1].numpy() - 1, batch.target.numpy())
        seen += len(batch.target)
    assert seen == len(numbers)


def test_epochs_differ_and_repeat_with_the_seed(cut_samples: Samples) -> None:
    loader = Loader(cut_samples, fit_normalization(cut_samples, "none"), TRAIN)
    numbers = cut_samples.holding(Part.TRAIN)
    first, again, other = (
        torch.cat([batch.features.contiguous() for batch in loader.training(numbers, epoch)])
        for epoch in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    alone = [next(iter(loader.training(numbers[:1], epoch))).features for epoch in range(8)]
    assert sum(torch.equal(alone[0], features) for features in alone[1:]) < 4
    blank = ~other.view(len(numbers), 3, -1).any(dim=2)  # 3 dates a sample
    assert 0 < int(blank.sum()) < 0.5 * blank.numel()
    assert not blank.all(dim=1).any()


def test_training_beats_chance_and_the_best_epoch_comes_back(
    season: Season, trained: TrainingResult
) -> None:
    card = load_card(trained.bundle)
    assert card == trained.card
    assert card.fingerprint == "abc"
    assert card.metrics["overall_accuracy"] > 0.8
    best = max(card.history, key=lambda entry: (entry["mean_iou"], entry["overall_accuracy"]))
    assert card.metrics["mean_iou"] == pytest.approx(best["mean_iou"], abs=1e-6)
    assert card.training["best_epoch"] == best["epoch"]
    assert card.training["pixels"]["train"].keys() == {"wheat", "maize", "beet"}
    assert not season.request(trained.bundle.parent).work.exists()


def test_the_saved_weights_have_the_recorded_score(
    season: Season, trained: TrainingResult, tmp_path: Path
) -> None:
    card, network = load(trained.bundle)
    samples = cut(draw(season.source(), TRAIN), tmp_path, Silent())
    loader = Loader(samples, card.normalization, TRAIN)
    fit = Trainer(network, loader, LEGEND, Accelerator.choose(TRAIN))
    scores = fit.validate()
    assert scores.to_dict() == card.metrics
    assert scores.pixels == sum(card.training["pixels"]["validation"].values()) - _empty(season)


def _empty(season: Season) -> int:
    """Validation pixels in the columns where no date has data."""
    _, parts = season.source().targets(GRID.window)
    return int((parts[:, :5] == Part.VALIDATION).sum())


def test_training_twice_gives_the_same_weights(season: Season, tmp_path: Path) -> None:
    short = TRAIN.model_copy(update={"epochs": 2})
    weights = []
    for name in ("one", "two"):
        request = replace(season.request(tmp_path / name), train=short)
        weights.append(load(train(request, Silent()).bundle)[1].state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_run_with_other_threads_keeps_its_model(season: Season, tmp_path: Path) -> None:
    def trained(**settings: int) -> bytes:
        chosen = {"patch": 32, "epochs": 1, **settings}
        content = {
            "name": "m",
            "imagery": {"folder": str(season.folder)},
            "legend": [{"code": c.code, "name": c.name} for c in LEGEND.classes],
            "labels": {"file": str(season.folder / "known" / "labels.tif")},
            "split": {"tile": 24, "validation": 0.25},
            "model": {"depth": 3, "decoder_channels": [8, 8, 8]},
            "train": chosen,
        }
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
        run = Run.open(tmp_path / "m.yaml", tmp_path / "out")
        train_model(run)
        return (run.folder.model / "card.json").read_bytes()

    first = trained(threads=1)
    assert trained(threads=2) == first  # with its date and seconds: it was not trained again
    assert trained(threads=2, seed=9) != first


class _Waning(Trainer):
    """A fit whose second epoch is its best, by decree; remembers the weights of each epoch."""

    def validate(self) -> Scores:
        state = self._average.state_dict()
        self.seen = [*getattr(self, "seen", []), {n: t.clone() for n, t in state.items()}]
        right = {1: 5, 2: 9}.get(len(self.seen), 7)
        return Scores(LEGEND, np.array([[right, 10 - right, 0], [0, 10, 0], [0, 0, 10]]))


def test_training_stops_when_nothing_gets_better_and_keeps_the_best(cut_samples: Samples) -> None:
    config = TRAIN.model_copy(update={"epochs": 30, "patience": 3})
    loader = Loader(cut_samples, fit_normalization(cut_samples, "none"), config)
    network = build(
        NetworkSpec(encoder="resnet18", depth=3, decoder_channels=(8, 8, 8), channels=6, classes=3)
    )
    fit = _Waning(network, loader, LEGEND, Accelerator.choose(config))
    found = fit.run(Silent())
    assert (found.best_epoch, len(found.history)) == (2, 5)
    assert found.scores.confusion[0, 0] == 9
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, fit.seen[1][name]), name
    assert any((fit.seen[1][name] != fit.seen[4][name]).any() for name in fit.seen[1])


def test_what_cannot_be_trained_on_is_named(
    season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = season.request(tmp_path)
    with pytest.raises(ConfigError, match=r"train\.patch: 36 .* the nearest is 32"):
        train(replace(request, train=TRAIN.model_copy(update={"patch": 36})), Silent())
    with pytest.raises(LabelError, match=r"validation: raise split\.validation"):
        train(replace(request, split=SplitConfig(validation=0.0)), Silent())
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(samples_module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(OutputError, match=r"train\.max_samples"):
        train(request, Silent())


def _map(path: Path, indices: NDArray[np.integer]) -> Path:
    _write(path, LEGEND.to_codes(indices), NODATA)
    return path


def test_a_map_is_scored_on_what_training_never_saw(season: Season, tmp_path: Path) -> None:
    source = season.source()
    truth = Truth(_map(tmp_path / "truth.tif", season.truth), LEGEND, source.labels)
    labelled = source.labels.read(GRID.window)[0] != UNKNOWN
    wrong = np.where(labelled, (season.truth + 1) % 3, season.truth)
    scores = evaluate(_map(tmp_path / "a.tif", wrong), LEGEND, truth)
    assert scores.overall_accuracy == 1  # only labelled pixels are wrong
    assert scores.pixels == int((~labelled).sum())
    wrong = np.where(labelled, season.truth, (season.truth + 1) % 3)
    wrong[60:] = UNKNOWN
    scores = evaluate(_map(tmp_path / "b.tif", wrong), LEGEND, truth)
    assert scores.overall_accuracy == 0
    assert scores.unmapped == int((~labelled[60:]).sum())
    assert scores.pixels == int((~labelled[:60]).sum())


def test_without_a_truth_the_held_back_labels_score(season: Season, tmp_path: Path) -> None:
    source = season.source()
    held_back = source.targets(GRID.window)[1] == Part.TEST
    wrong = np.where(held_back, season.truth, (season.truth + 1) % 3)
    scores = evaluate(
        _map(tmp_path / "a.tif", wrong), LEGEND, HeldBack(source.labels, source.split)
    )
    assert (scores.overall_accuracy, scores.pixels) == (1, int(held_back.sum()))
    assert scores.source == "test_split"
    nothing = HeldBack(source.labels, season.source(SplitConfig(tile=24)).split)
    with pytest.raises(EmptySelectionError, match=r"split\.test"):
        evaluate(tmp_path / "a.tif", LEGEND, nothing)


def test_training_and_scoring_read_the_truth_differently(season: Season) -> None:
    broken = Truth(season.folder / "known" / "truth.tif", LEGEND)
    with pytest.raises(RasterError, match=r"truth\.tif"):
        broken.read(GRID.window)


@pytest.mark.parametrize("side", [40, 512])
@pytest.mark.parametrize("most", [60, 1000, 10**6])
def test_drawn_pixels_are_known_distinct_and_in_proportion(
    season: Season, most: int, side: int
) -> None:
    def read(window: Window) -> NDArray[np.int16]:
        known = season.truth[window.within(GRID.window)].copy()
        known[:, ::7] = UNKNOWN
        return known

    drawn = np.full((HEIGHT, WIDTH), UNKNOWN)
    for window, flat, known in Sampling(GRID, read, 3, most, 0, side).draw():
        part = drawn[window.within(GRID.window)]
        rows, cols = np.divmod(flat, window.width)
        assert len(np.unique(flat)) == len(flat)
        np.testing.assert_array_equal(read(window)[rows, cols], known)
        part[rows, cols] = known
    candidates = np.bincount(np.concatenate([
        read(window)[read(window) != UNKNOWN] for window in GRID.windows(side, side)
    ]))  # fmt: skip
    expected = np.minimum(candidates * most / candidates.sum(), candidates)
    assert (np.abs(np.bincount(drawn[drawn != UNKNOWN]) - expected) <= 1).all()
    middle = np.argwhere(drawn != UNKNOWN).mean(axis=0) / (HEIGHT, WIDTH)
    assert (np.abs(middle - 0.5) < 0.15).all()


def test_the_forest_learns_from_the_training_part(season: Season) -> None:
    source = season.source()
    same = Normalization(transform="none", knee=(1,) * 6, mean=(0,) * 6, std=(1,) * 6)
    reference = HeldBack(source.labels, source.split)
    found = random_forest(source, LEGEND, same, reference, Silent())
    _, parts = source.targets(GRID.window)
    assert found.train_pixels == int((parts[:, 5:] == Part.TRAIN).sum())
    assert found.scores.pixels == int((parts[:, 5:] == Part.TEST).sum())
    assert found.scores.overall_accuracy > 0.6
    again = random_forest(source, LEGEND, same, reference, Silent())
    assert again.scores.to_dict() == found.scores.to_dict()
    assert found.to_dict()["trees"] == 100


def test_a_map_by_the_trained_network_is_better_than_chance(
    season: Season, trained: TrainingResult, tmp_path: Path
) -> None:
    card, network = load(trained.bundle)
    source = season.source()
    features, mapped = to_features(read_cube(source.scenes, GRID.window), card.normalization)
    stride = card.network.stride
    pads = [(0, 0), *((0, -side % stride) for side in mapped.shape)]
    padded = torch.from_numpy(np.pad(features, pads, mode="reflect")[np.newaxis])
    found = Predictor(network, stride).probabilities(padded)[0].numpy()
    found = found[:, : mapped.shape[0], : mapped.shape[1]]
    indices = np.where(mapped, found.argmax(axis=0), UNKNOWN)
    truth = Truth(_map(tmp_path / "truth.tif", season.truth), LEGEND, source.labels)
    scores = evaluate(_map(tmp_path / "map.tif", indices), LEGEND, truth)
    assert scores.overall_accuracy > 0.8
    assert scores.unmapped == int((truth.read(GRID.window)[:, :5] != UNKNOWN).sum())
