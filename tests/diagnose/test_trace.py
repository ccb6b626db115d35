"""One pixel from bands to polygon: what ``trace`` tells is what the block was made of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config import ClassEntry
from geoseg.diagnose.trace import Point, lines, trace
from geoseg.engine import worker_context
from geoseg.engine.block import part_path, probabilities
from geoseg.engine.job import Job, open_job
from geoseg.engine.probe import block_at, patches_at, predict_pixel
from geoseg.errors import ChangedInputError, ConfigError, OutputError
from geoseg.grid import Grid, Window
from geoseg.io import files, plain_yaml
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import NODATA
from geoseg.model.bundle import ModelCard, save
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization
from geoseg.pipeline import predict, stitch, vectorize
from geoseg.pipeline.run import Run

Command = Callable[..., tuple[int, str, str]]
Traced = dict[str, Any]

HEIGHT, WIDTH, CORE = 100, 131, 32
BANDS = ("red", "nir")
DATES = ("2025-04-01", "2025-06-01", "2025-08-01")
# South and west of zero: both numbers of a place have a sign.
GRID = Grid("EPSG:32719", Affine(10, 0, 360_000, 0, -10, 6_300_000), HEIGHT, WIDTH)
EMPTY, BARE, HIDDEN, CLEAR = (5, 5), (50, 60), (70, 80), (40, 100)
"""Row and column without data on any date, without nir on the first, under a cloud on the second."""
VARIANTS = {
    "crop": {},
    "hann": {"core": 64, "blend": "hann"},
    "flips": {"flips": True, "layers": ["confidence_margin", "entropy", "probabilities"]},
    "hann of two": {"blend": "hann", "layers": ["probabilities"], "block": 96},
}


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with imagery and two models; three dates of two bands, the second with clouds."""
    folder = tmp_path_factory.mktemp("area")
    rng = np.random.default_rng(3)
    for name in DATES:
        values = rng.integers(1, 4000, (2, HEIGHT, WIDTH)).astype(np.uint16)
        values[:, :40, :40] = 0
        if name == DATES[0]:
            values[1, 45:55, 50:70] = 0
        write(folder / "images" / f"{name}.tif", values, 0)
        clouds = np.zeros((1, HEIGHT, WIDTH), dtype=np.uint8)
        clouds[0, 60:80, 75:90] = 2 if name == DATES[1] else 0
        write(folder / "clouds" / f"{name}.tif", clouds, None)
    for seed in (1, 2):
        save_bundle(folder / f"model{seed}", seed, DATES)
    return folder


def write(path: Path, values: np.ndarray, nodata: float | None, grid: Grid = GRID) -> None:
    spec = geotiffs.RasterSpec(str(values.dtype), len(values), nodata, BANDS[: len(values)])
    with geotiffs.create(path, grid, spec) as target:
        target.write(values, grid.window)


def save_bundle(folder: Path, seed: int, dates: tuple[str, ...]) -> None:
    """A network with random weights, its batch norm used to something."""
    torch.manual_seed(seed)
    channels = 2 * len(dates)
    spec = NetworkSpec(
        encoder="resnet18", depth=3, decoder_channels=(16, 8, 8), channels=channels, classes=3
    )
    network = build(spec)
    network(torch.randn(4, channels, 64, 64))
    normalization = Normalization(
        transform="asinh",
        knee=(1000.0 * seed,) * channels,
        mean=(1.2,) * channels,
        std=(0.5,) * channels,
    )
    classes = tuple(ClassEntry(code=c, name=f"crop {c}", color="#123456") for c in (4, 2, 9))
    card = ModelCard(
        network=spec, bands=BANDS, dates=dates, normalization=normalization, classes=classes
    )
    save(folder, network, card)


@dataclass(frozen=True)
class Mapped:
    """A finished run."""

    config: Path
    out: Path

    def trace(self, first: float, second: float, by_pixel: bool = False) -> Traced:
        found = trace(self.config, self.out, Point(first, second, by_pixel))
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        return found

    def pixel(self, place: tuple[int, int]) -> Traced:
        """``place``: row and column."""
        return self.trace(place[1], place[0], by_pixel=True)

    @property
    def job_file(self) -> Path:
        return Path(files.read_json(self.out / "work" / "predict.json")["job"])

    @property
    def job(self) -> Job:
        return open_job(self.job_file)[0]

    def written(self, row: int, col: int) -> list[int]:
        """The layers of the block's file at a pixel."""
        block = block_at(self.job, row, col)
        inner = Window(row - block.core.row, col - block.core.col, 1, 1)
        bands = range(1, self.job.bands + 1)
        return rasters.read(part_path(self.job.folder, block), bands, inner)[0][:, 0, 0].tolist()

    def copy(self, folder: Path) -> Mapped:
        """The same run in another folder, to be broken."""
        shutil.copytree(self.out, folder)
        for path in folder.glob("work/**/*.json"):
            path.write_text(path.read_text().replace(str(self.out), str(folder)))
        return Mapped(self.config, folder)


def finish(config: dict[str, Any], folder: Path) -> Mapped:
    path = folder / "x.yaml"
    path.write_text(plain_yaml.dump(config))
    run = Run.open(path, folder / "out")
    predict.predict_blocks(run, workers=0)
    stitch.finish_map(run)
    vectorize.vectorize_map(run)
    return Mapped(path, run.folder.root)


def season(area: Path, predict: dict[str, Any], models: tuple[int, ...] = (1,)) -> dict[str, Any]:
    named = [str(area / f"model{seed}") for seed in models]
    wanted = {"core": CORE, "margin": 32, "block": 64, "precision": "fp32", **predict}
    layers = wanted.pop("layers", [])
    return {
        "name": "x",
        "imagery": {
            "folder": str(area / "images"),
            "masks": {"folder": str(area / "clouds"), "pattern": "{date}.tif", "invalid": [2]},
        },
        "model": {"bundle": named[0]} if len(named) == 1 else {"ensemble": named},
        "predict": wanted,
        "products": {"layers": layers},
    }


@pytest.fixture(scope="module", params=VARIANTS)
def variant(
    request: pytest.FixtureRequest, area: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapped:
    models = (1, 2) if request.param == "hann of two" else (1,)
    folder = tmp_path_factory.mktemp("variant")
    return finish(season(area, VARIANTS[request.param], models), folder)


@pytest.fixture(scope="module")
def mapped(area: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return finish(season(area, {}), tmp_path_factory.mktemp("mapped"))


@pytest.fixture
def copied(mapped: Mapped, tmp_path: Path) -> Iterator[Mapped]:
    yield mapped.copy(tmp_path / "copy")
    worker_context.close()


def agreements(found: Traced) -> dict[str, bool | None]:
    return {entry["file"]: entry["agrees"] for entry in found["files"]}


# What it computes is what the block holds.


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, HEIGHT - 1), col=st.integers(0, WIDTH - 1))
def test_any_pixel_is_as_in_its_block(variant: Mapped, row: int, col: int) -> None:
    found = predict_pixel(str(variant.job_file), row, col)
    written = variant.written(row, col)
    assert found.layers.tolist()[: len(written)] == written
    assert (found.probabilities is None) == (written[0] == NODATA) == (row < 40 and col < 40)


@pytest.mark.parametrize("where", [(0, 0), (0, 2), (1, 1)])
def test_probabilities_are_those_of_the_block_bit_for_bit(
    variant: Mapped, where: tuple[int, int]
) -> None:
    bench = worker_context.worker_context_of(variant.job_file, 1)
    plan = bench.job.plan
    block = plan.block_at(*(min(n, most - 1) for n, most in zip(where, plan.shape, strict=True)))
    cube = bench.read(block.extent)
    patches = list(plan.lattice.patches(block.core))
    with probabilities(bench, block, patches, cube) as found:
        whole = found.numpy()
    mapped = cube.mapped[block.core.within(block.extent)]
    rng = np.random.default_rng(8)
    border = [i for i in (0, CORE - 1, CORE) if i < min(block.core.shape)]
    chosen = [(r, c) for r in border for c in border]
    chosen += zip(*(rng.integers(0, side, 10).tolist() for side in block.core.shape), strict=True)
    compared = 0
    for row, col in chosen:
        place = block.core.row + row, block.core.col + col
        here = predict_pixel(str(variant.job_file), *place).probabilities
        if mapped[row, col]:
            assert here is not None
            assert here.tolist() == whole[:, row, col].tolist()
            assert here.sum() == pytest.approx(1, abs=1e-5)
            compared += 1
    assert compared >= 5


def test_files_and_polygon_agree(variant: Mapped) -> None:
    for place in [CLEAR, EMPTY, HIDDEN, (31, 64), (32, 63), (HEIGHT - 1, WIDTH - 1)]:
        found = variant.pixel(place)
        assert set(agreements(found).values()) == {True}, found["files"]
        assert len(found["polygons"]) == (place != EMPTY)
        text = list(lines(found))
        assert not any("differs" in line for line in text)
        assert ("probabilities" in agreements(found)) == ("probabilities" in variant.job.layers)


def test_patches_on_a_border(mapped: Mapped, variant: Mapped) -> None:
    inside, border, corner = (32, 96), (32, 64), (64, 64)
    places = [inside, border, corner]
    assert [len(mapped.pixel(place)["patches"]) for place in places] == [1, 1, 1]
    [patch] = mapped.pixel(border)["patches"]
    assert patch["core"] == {"row": 32, "col": 64, "height": 32, "width": 32}
    assert patch["extent"] == {"row": 0, "col": 32, "height": 96, "width": 96}
    lattice = variant.job.plan.lattice
    if lattice.core == 64:  # mixed over 16 pixels on each side of a border
        assert [len(variant.pixel(place)["patches"]) for place in places] == [1, 2, 4]
    for place in [*places, (0, 0), (HEIGHT - 1, WIDTH - 1), (47, 48), (48, 47)]:
        pixel = Window(*place, 1, 1)
        kept = [p for p in lattice.patches(lattice.window) if pixel.clip(p.kept) == pixel]
        assert list(patches_at(lattice, *place)) == kept


# What it tells.


def test_a_pixel_with_everything(mapped: Mapped) -> None:
    found = mapped.pixel(CLEAR)
    row, col = CLEAR
    place = found["place"]
    assert (place["x"], place["y"]) == (360_000 + 10 * col + 5, 6_300_000 - 10 * row - 5)
    assert place["crs"].startswith("EPSG:32719")
    assert found["block"]["id"] == "r0000_c0001"
    assert found["block"]["receipt"] is True
    assert found["block"]["fingerprint"] == mapped.job.fingerprint
    for date in found["dates"]:
        assert (date["valid"], date["reasons"]) == (True, [])
        path = mapped.job.imagery.folder / f"{date['id']}.tif"
        raw = rasters.read(path, [1, 2], Window(row, col, 1, 1))[0][:, 0, 0]
        assert [band["band"] for band in date["bands"]] == list(BANDS)
        assert [band["raw"] for band in date["bands"]] == raw.tolist()
        normalized = [band["normalized"][0] for band in date["bands"]]
        assert normalized == pytest.approx((np.arcsinh(raw / 1000) - 1.2) / 0.5, rel=1e-5)
    shares = {entry["code"]: entry["probability"] for entry in found["probabilities"]}
    decision = found["decision"]
    assert list(shares) == [4, 2, 9]
    assert decision["code"] == max(shares, key=lambda code: shares[code])
    assert decision["name"] == f"crop {decision['code']}"
    assert decision["confidence"] == int(np.float32(shares[decision["code"]]) * np.float32(100))
    [polygon] = found["polygons"]
    assert polygon["code"] == decision["code"]
    assert polygon["area_ha"] == pytest.approx(polygon["pixels"] * 0.01)


def test_longitude_and_latitude_find_the_pixel(mapped: Mapped) -> None:
    rng = np.random.default_rng(0)
    for row, col in zip(rng.integers(0, HEIGHT, 5), rng.integers(0, WIDTH, 5), strict=True):
        place = mapped.pixel((int(row), int(col)))["place"]
        assert place["lon"] < 0 > place["lat"]
        again = mapped.trace(place["lon"], place["lat"])["place"]
        assert (again["row"], again["col"]) == (row, col)


@pytest.mark.parametrize(
    ("place", "number", "reason"),
    [
        (BARE, 0, "nodata (0) in nir"),
        (HIDDEN, 1, "masked with 2 in 2025-06-01.tif"),
        (EMPTY, 0, "nodata (0) in red"),
    ],
)
def test_why_a_date_is_missing(
    mapped: Mapped, place: tuple[int, int], number: int, reason: str
) -> None:
    found = mapped.pixel(place)
    date = found["dates"][number]
    assert date["valid"] is False
    assert reason in date["reasons"]
    assert [band["normalized"] for band in date["bands"]] == [[0.0], [0.0]]
    assert [d["valid"] for d in found["dates"]].count(False) == (3 if place == EMPTY else 1)
    assert f"not valid, so 0 for the network: {reason}" in "\n".join(lines(found))


def test_nodata_everywhere(mapped: Mapped) -> None:
    found = mapped.pixel(EMPTY)
    assert found["decision"] == {"code": NODATA, "name": None, "confidence": None}
    assert found["probabilities"] == found["polygons"] == []
    text = "\n".join(lines(found))
    assert "  class raster      nodata           agrees" in text
    assert "none: no date is valid here" in text
    assert "255, no class" in text


def test_numbers_that_json_has_not(area: Path, tmp_path: Path) -> None:
    """Floats with NaN, and a raster that lies nowhere: the pixel is named by column and row."""
    grid = Grid(None, Affine.identity(), 40, 50)
    values = np.random.default_rng(1).uniform(1, 4000, (2, 40, 50)).astype(np.float32)
    values[1, 7, 9] = np.nan
    values[0, 7, 10] = np.inf
    for name, seen in zip(DATES, (values, np.full_like(values, 5)), strict=False):
        write(tmp_path / "images" / f"{name}.tif", seen, None, grid)
    save_bundle(tmp_path / "model", 1, DATES[:2])
    config = season(area, {}) | {"model": {"bundle": str(tmp_path / "model")}}
    config["imagery"] = {"folder": str(tmp_path / "images")}
    bare = finish(config, tmp_path)
    found = bare.trace(9, 7, by_pixel=True)
    assert found["place"] == {
        "row": 7, "col": 9, "x": 9.5, "y": 7.5, "lon": None, "lat": None, "crs": "none"
    }  # fmt: skip
    assert found["dates"][0]["bands"][1]["raw"] == "nan"
    assert found["dates"][0]["reasons"] == ["nodata (nan) in nir"]
    assert set(agreements(found).values()) == {True}
    [polygon] = found["polygons"]
    assert polygon["area_ha"] is None
    assert "area_ha           none" in "\n".join(lines(found))
    assert bare.trace(10, 7, by_pixel=True)["dates"][0]["reasons"] == ["nodata (inf) in red"]
    with pytest.raises(ConfigError, match=r"no CRS .*--pixel COL ROW"):
        bare.trace(9, 7)


def test_two_networks_are_shown_apart(variant: Mapped) -> None:
    found = variant.pixel(CLEAR)
    inputs = [band["normalized"] for date in found["dates"] for band in date["bands"]]
    assert {len(values) for values in inputs} == {len(found["networks"])}
    if len(found["networks"]) == 2:
        assert all(first != second for first, second in inputs)
        assert sum(line.startswith("network") for line in lines(found)) == 2


# Places that are none.


def test_outside_the_grid(mapped: Mapped) -> None:
    place = mapped.pixel(CLEAR)["place"]
    lon, lat = place["lon"], place["lat"]
    with pytest.raises(ConfigError, match=r"outside the imagery, which spans longitudes -70\."):
        mapped.trace(lon + 1, lat)
    with pytest.raises(ConfigError, match="the longitude comes first"):
        mapped.trace(lat, lon)
    for wrong in ((lon, 95.0), (1e9, lat), (float("nan"), lat), (float("inf"), lat)):
        with pytest.raises(ConfigError, match="LON LAT"):
            mapped.trace(*wrong)
    for pixel in ((WIDTH, 0), (-1, 0), (0, HEIGHT), (0, -1), (1.5, 0), (float("nan"), 0)):
        with pytest.raises(ConfigError, match="COL from 0 to 130 and ROW from 0 to 99"):
            mapped.trace(*pixel, by_pixel=True)
    assert mapped.trace(WIDTH - 1, HEIGHT - 1, by_pixel=True)["place"]["row"] == HEIGHT - 1


# Files that are missing or say something else.


def test_a_changed_class_raster_differs(copied: Mapped) -> None:
    path = copied.out / "x_class.tif"
    before = copied.pixel(CLEAR)["decision"]["code"]
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as target:
        values = target.read(1)
        values[CLEAR] = 2 if before != 2 else 4
        target.write(values, 1)
    found = copied.pixel(CLEAR)
    assert agreements(found) == {
        "block file": True,
        "class raster": False,
        "confidence raster": True,
        "polygons": True,
    }
    text = list(lines(found))
    [line] = [line for line in text if line.startswith("  class raster")]
    assert line.split()[-2:] == [str(int(values[CLEAR])), "differs"]
    assert any("note: a file that differs" in line for line in text)
    assert set(agreements(copied.pixel(HIDDEN)).values()) == {True}


def test_a_changed_block_and_a_changed_polygon_layer(copied: Mapped, mapped: Mapped) -> None:
    block = block_at(copied.job, *CLEAR)
    path = part_path(copied.job.folder, block)
    with rasterio.open(path, "r+") as target:
        target.write((target.read(2) + 1).astype(np.uint8), 2)
    found = copied.pixel(CLEAR)
    assert found["block"]["receipt"] is False
    assert agreements(found)["block file"] is False
    path.write_bytes(b"torn")
    assert "cannot be read" in copied.pixel(CLEAR)["files"][0]["note"]
    shutil.copy(copied.out / "x_confidence.tif", copied.out / "x_class.tif")
    assert agreements(copied.pixel(CLEAR))["class raster"] is False
    (copied.out / "x_crops.gpkg").write_bytes(b"torn")
    with pytest.raises(OutputError, match=r"x_crops\.gpkg cannot be read .*geoseg vectorize"):
        copied.pixel(CLEAR)
    assert set(agreements(mapped.pixel(CLEAR)).values()) == {True}


def test_a_raster_of_another_size_is_none_of_the_run(copied: Mapped, area: Path) -> None:
    shutil.copy(area / "images" / f"{DATES[0]}.tif", copied.out / "x_class.tif")
    found = copied.pixel(CLEAR)
    assert agreements(found)["class raster"] is False
    assert "other bands or another size" in "\n".join(lines(found))


def test_what_is_not_there_yet_is_said(copied: Mapped) -> None:
    """As after a prediction that was interrupted: its job and some blocks, and no record."""
    for name in ("x_class.tif", "x_confidence.tif", "x_crops.gpkg", "work/predict.json"):
        (copied.out / name).unlink()
    [job_file] = copied.out.glob("work/blocks-*/job.json")
    (job_file.parent / "r0000_c0001.tif").unlink()
    found = copied.pixel(CLEAR)
    assert set(agreements(found).values()) == {None}
    assert found["block"]["receipt"] is False
    assert "\n".join(lines(found)).count("not there yet") == 4
    assert found["decision"]["name"]


def test_no_run(mapped: Mapped, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"predicted there.*'geoseg predict .*x\.yaml'"):
        trace(mapped.config, tmp_path / "none", Point(1, 1, by_pixel=True))
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_version(copied: Mapped) -> None:
    content = files.read_json(copied.job_file)
    copied.job_file.write_text(json.dumps({**content, "threads": 1}))
    with pytest.raises(OutputError, match="by another version of geoseg; run predict again"):
        copied.pixel(CLEAR)


def test_other_imagery_by_now(area: Path, tmp_path: Path) -> None:
    config = season(area, {})
    shutil.copytree(area / "images", tmp_path / "images")
    config["imagery"]["folder"] = str(tmp_path / "images")
    own = finish(config, tmp_path)
    (tmp_path / "images" / f"{DATES[1]}.tif").touch()
    open_job.cache_clear()
    worker_context.close()
    with pytest.raises(ChangedInputError, match=r"not what it was .*2025-06-01\.tif changed"):
        own.pixel(CLEAR)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the networks can be asked here")
def test_a_run_on_a_gpu_is_traced_without(copied: Mapped) -> None:
    content = files.read_json(copied.job_file)
    content["pixels"]["device"] = "cuda"
    copied.job_file.write_text(json.dumps(content))
    found = copied.pixel(CLEAR)
    assert found["decision"] is None
    assert set(agreements(found).values()) == {None}
    assert found["files"][1]["values"] != []
    assert "not computed: the run had a GPU" in "\n".join(lines(found))


# On the command line.


def test_command_line(geoseg: Command, mapped: Mapped) -> None:
    place = mapped.pixel(CLEAR)["place"]
    where = (f"{place['lon']:.9f}", f"{place['lat']:.9f}")
    assert where[0].startswith("-70.")
    output = ("-o", str(mapped.out))
    code, text, err = geoseg("trace", str(mapped.config), *where, *output)
    assert (code, err) == (0, "")
    assert f"  column, row       {CLEAR[1]}, {CLEAR[0]} (from 0)" in text
    assert text.count("agrees") == 4
    config, pixel = str(mapped.config), (str(CLEAR[1]), str(CLEAR[0]))
    for arguments in (
        (config, "--json", *where, *output),
        (*output, "--json", "--", config, *where),
        (config, *output, "--pixel", "--json", *pixel),
    ):
        code, text, _ = geoseg("trace", *arguments)
        assert code == 0
        found = json.loads(text)
        assert (found["place"]["row"], found["place"]["col"]) == CLEAR


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-60.5", "-33.4"), "LON LAT: -60.5 -33.4 is outside the imagery"),
        (("--pixel", "-1", "3"), "--pixel: column -1, row 3 is no pixel of the imagery"),
        (("--jsn", "1", "2"), "Invalid value for 'LON'"),
        (("-70.5",), "LAT"),
    ],
)
def test_mistakes_on_the_command_line(
    geoseg: Command,
    mapped: Mapped,
    arguments: tuple[str, ...],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command = ["trace", str(mapped.config), *arguments, "-o", str(mapped.out)]
    code, out, err = geoseg(*command)
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err
