"""The report in a real browser: nothing fetched, no error, no sideways scrolling, and the map works."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.grid import Grid
from geoseg.io.raster import geotiffs
from geoseg.legend import PALETTE, Legend, LegendClass
from geoseg.product.pictures import MapPictures, map_pictures
from geoseg.product.report.write import to_plain, write_report
from tests.support.chromium import PROGRAM, Tab, browser
from tests.support.report_content import content

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on the path to show pages in")

LEGEND = Legend((LegendClass(1, "wheat", "#e69f00"), LegendClass(2, "<maize>", "#56b4e9")))


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, tiny_grid: Grid) -> MapPictures:
    """Wheat left, maize right, no data in the upper left corner."""
    folder = tmp_path_factory.mktemp("pictures")
    codes = np.ones((1, tiny_grid.height, tiny_grid.width), np.uint8)
    codes[:, :, 24:] = 2
    codes[:, :5, :5] = 255
    paths = folder / "c.tif", folder / "p.tif"
    for path, values in zip(
        paths, (codes, np.where(codes == 255, 255, 70).astype(np.uint8)), strict=True
    ):
        with geotiffs.create(path, tiny_grid, geotiffs.RasterSpec("uint8", nodata=255)) as target:
            target.write(values, tiny_grid.window)
    return map_pictures(*paths, LEGEND)


def plain() -> dict[str, Any]:
    told: dict[str, Any] = to_plain(content())
    told["grid"].update(width=48, height=40)
    told["confidence"]["places"][0].update(col=20.0, row=20.0)
    return told


def many() -> dict[str, Any]:
    """Forty classes with names of all kinds, sixty images, everything off."""
    told = plain()
    names = [f'Класс «{i}» "озимая" пшеница\'' if i % 2 else f"class {i}" for i in range(40)]
    names[4] = "a name " + "without_end_" * 20
    told["title"] = 'Посевы «2025» & <b>"all"</b> ' + "without_end_" * 20
    told["areas"] = [
        {**told["areas"][0], "code": i, "name": name, "color": PALETTE[i % 20], "share": 0.025}
        for i, name in enumerate(names)
    ]
    test_scores = told["scores"]["test_scores"]
    test_scores["confusion"] = [[1000 if i == j else 3 for j in range(40)] for i in range(40)]
    test_scores["classes"] = [
        {**test_scores["classes"][0], "code": i, "name": name, "precision": 0.1}
        for i, name in enumerate(names)
    ]
    told["inputs"] = [
        {"id": f"scene_{i}_" * 8, "date": f"20{20 + i // 12}-{i % 12 + 1:02d}-11",
         "files": ["f" * 90 + ".tif"] * 3, "clear_share": i / 100}
        for i in range(60) if i not in (20, 21, 22)
    ]  # fmt: skip
    told["plan"].update(precision="bf16", agreement=0.5)
    return told


def bare() -> dict[str, Any]:
    """No CRS, no dates, no scores, one class."""
    told = plain()
    told["grid"].update(crs=None)
    told["areas"] = [{**told["areas"][0], "hectares": None, "share": 1.0}]
    told["confidence"]["places"][0].update(lon=None, lat=None, hectares=None)
    told["inputs"][0]["date"] = None
    for key in ("scores", "baselines", "polygons", "vectors", "parcels", "change"):
        told[key] = None
    return told


KINDS = {"full": plain, "many": many, "bare": bare, "name": lambda: {"name": "only"}}


@pytest.fixture(params=KINDS)
def page(request: pytest.FixtureRequest, tmp_path: Path, pictures: MapPictures) -> Path:
    write_report(copy.deepcopy(KINDS[request.param]()), tmp_path, pictures)
    return tmp_path / "report.html"


@pytest.fixture
def full(tmp_path: Path, pictures: MapPictures) -> Path:
    write_report(plain(), tmp_path, pictures)
    return tmp_path / "report.html"


def overhang(tab: Tab) -> list[str]:
    """What sticks out of the window on the right, except where it can be scrolled in place."""
    found: list[str] = tab.ask("""
        [...document.querySelectorAll("main *")].filter((e) => !e.closest(".scroll, pre, .frame")
            && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
          .map((e) => e.tagName + " " + e.className)""")
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_quiet_and_fits(tab: Tab, page: Path, width: int, dark: bool) -> None:
    tab.said.clear()
    tab.asked.clear()
    tab.screen(width, dark=dark, phone=width < 600)
    tab.open(page)
    assert tab.said == []
    assert {url for url in tab.asked if not url.startswith("data:")} == {page.as_uri()}
    assert tab.ask("document.documentElement.scrollWidth") <= width
    assert overhang(tab) == []
    background = tab.ask("getComputedStyle(document.body).backgroundColor")
    shade = [int(n) for n in background.strip("rgb()").split(",")]
    assert (max(shade) < 60) == dark


def test_the_policy_keeps_the_network_out(tab: Tab, full: Path) -> None:
    """A page that did fetch something would be noticed."""
    text = full.read_text(encoding="utf-8")
    full.write_text(text.replace("<main>", "<main><img src='http://127.0.0.1:9/x.png' alt=''>"))
    tab.said.clear()
    tab.open(full)
    assert any("Content Security Policy" in line for line in tab.said)
    full.write_text(text.replace("<main>", "<main><script>document.title = 'run'</script>"))
    tab.open(full)
    assert tab.ask("document.title") != "run"


COLOR = "getComputedStyle(document.documentElement).getPropertyValue('--%s').trim()"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out(tab: Tab, full: Path, dark: bool) -> None:
    """At least 4.5 : 1, WCAG 2.2's AA (success criterion 1.4.3)."""
    tab.screen(1280, dark=dark)
    tab.open(full)
    pairs = [("ink", "page"), ("soft", "page"), ("soft", "soft-page"), ("accent", "page"),
             ("warn", "warn-page"), ("ink", "warn-page"), ("soft", "track")]  # fmt: skip
    for front, back in pairs:
        first, second = (_luminance(tab.ask(COLOR % name)) for name in (front, back))
        contrast = (max(first, second) + 0.05) / (min(first, second) + 0.05)
        assert contrast >= 4.5, (front, back, contrast)


def _luminance(color: str) -> float:
    """WCAG's relative luminance of ``#rrggbb``."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def box(tab: Tab, selector: str) -> dict[str, float]:
    found: dict[str, float] = tab.ask(
        f"document.querySelector('{selector}').getBoundingClientRect().toJSON()"
    )
    return found


def test_the_map_zooms_and_stays_in_its_frame(tab: Tab, full: Path) -> None:
    tab.screen(1280)
    tab.open(full)
    tab.ask("document.querySelector('.frame').focus()")
    frame, before = box(tab, ".frame"), box(tab, ".sheet")
    tab.ask("document.querySelector('[data-act=in]').click()")
    after = box(tab, ".sheet")
    assert after["width"] == pytest.approx(1.5 * before["width"], rel=0.01)
    assert after["x"] + after["width"] / 2 == pytest.approx(
        before["x"] + before["width"] / 2, abs=2
    )
    for key in ["ArrowLeft"] * 20 + ["ArrowUp"] * 20:
        tab.call("Input.dispatchKeyEvent", type="keyDown", key=key)
    moved = box(tab, ".sheet")
    assert moved["x"] == pytest.approx(frame["x"], abs=2)
    assert moved["y"] == pytest.approx(frame["y"], abs=2)
    for key in ("+", "+", "0"):
        tab.call("Input.dispatchKeyEvent", type="keyDown", key=key)
    assert box(tab, ".sheet") == pytest.approx(before, abs=0.5)


def test_two_fingers_zoom(tab: Tab, full: Path) -> None:
    tab.screen(360, phone=True)
    tab.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    try:
        tab.open(full)
        tab.ask("document.querySelector('.frame').scrollIntoView({block: 'center'})")
        frame, before = box(tab, ".frame"), box(tab, ".sheet")
        x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2

        def touch(kind: str, *gaps: float) -> None:
            points = [{"x": x + gap, "y": y, "id": i} for i, gap in enumerate(gaps)]
            tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

        touch("touchStart", -20)
        touch("touchStart", -20, 20)
        for gap in range(25, 65, 5):
            touch("touchMove", -gap, gap)
        touch("touchEnd")
        assert box(tab, ".sheet")["width"] > 2 * before["width"]
    finally:
        tab.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_the_layers_the_legend_and_the_pointer(tab: Tab, full: Path) -> None:
    tab.screen(1280)
    tab.open(full)
    shown = "[...document.querySelectorAll('.sheet img')].map((e) => getComputedStyle(e).display)"
    assert tab.ask(shown) == ["block", "none"]
    tab.ask("document.getElementById('layer-confidence').click()")
    assert tab.ask(shown) == ["none", "block"]
    tab.ask("document.getElementById('layer-classes').click()")

    tab.ask("document.querySelector('.frame').scrollIntoView({block: 'center'})")
    sheet = box(tab, ".sheet")

    def told(across: float, down: float) -> str:
        place = {
            "x": sheet["x"] + across * sheet["width"],
            "y": sheet["y"] + down * sheet["height"],
        }
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        return str(tab.ask("document.querySelector('.readout').textContent"))

    assert told(0.25, 0.5).startswith("wheat · 52.3")
    assert told(0.75, 0.5).startswith("<maize> · 52.3")
    assert told(0.02, 0.02).startswith("no data · ")

    tab.ask("document.querySelector('.legend button[data-color=\"#56b4e9\"]').click()")
    veiled = """(() => { const c = document.querySelector('.sheet canvas'), g = c.getContext('2d');
        const a = (x, y) => g.getImageData(x, y, 1, 1).data[3] > 0;
        return [c.hidden, a(0, 0), a(12, 20), a(40, 20)]; })()"""
    assert tab.ask(veiled) == [False, False, True, False]
    tab.ask("document.querySelector('.legend button[data-color=\"#56b4e9\"]').click()")
    assert tab.ask("document.querySelector('.sheet canvas').hidden") is True


def test_without_script_the_map_is_a_picture(tab: Tab, full: Path) -> None:
    tab.screen(1280)
    try:
        tab.open(full, script=False)
        assert box(tab, ".sheet img")["width"] > 300
        assert box(tab, ".scale i")["width"] > 30
        assert tab.ask("getComputedStyle(document.querySelector('.tools')).display") == "none"
        # Choosing a layer needs no script.
        tab.ask("document.getElementById('layer-confidence').click()")
        shown = "getComputedStyle(document.querySelector('img.of-confidence')).display"
        assert tab.ask(shown) == "block"
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)


def test_it_prints_light_and_within_the_paper(tab: Tab, page: Path, tmp_path: Path) -> None:
    tab.screen(690, dark=True)  # A4 less its margins, at 96 dots an inch
    tab.open(page)
    try:
        tab.media(dark=True, kind="print")
        assert tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.ask("document.documentElement.scrollWidth") <= 690
        assert tab.pdf(tmp_path / "page.pdf").stat().st_size > 5000
    finally:
        tab.media()
