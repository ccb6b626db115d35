"""The report: the same figures for people and for programs, whatever is missing."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.product.charts import line_chart
from geoseg.product.report import write_report

PICTURE = b"\x89PNG not looked into"


def scores(accuracy: float) -> dict[str, Any]:
    return {
        "source": "truth",
        "pixels": 1000,
        "unmapped": 3,
        "overall_accuracy": accuracy,
        "mean_iou": 0.8101,
        "mean_class_accuracy": 0.88,
        "macro_f1": 0.87,
        "kappa": 0.791,
        "classes": [
            {"code": 1, "name": "wheat", "pixels": 600, "iou": 0.9, "precision": 0.95,
             "recall": 0.94, "f1": 0.945},
            {"code": 2, "name": "<maize>", "pixels": 400, "iou": 0.72, "precision": None,
             "recall": 0.82, "f1": None},
        ],
        "confusion": [[564, 36], [72, 328]],
    }  # fmt: skip


def content() -> dict[str, Any]:
    return {
        "name": "demo",
        "title": "Crops of <script>alert(1)</script> & more",
        "created": "2024-11-05T10:11:12+00:00",
        "geoseg": "0.1.0",
        "grid": {"crs": "EPSG:32631", "width": 1800, "height": 1135,
                 "transform": [10.0, 0, 5e5, 0, -10.0, 5.8e6], "bounds": [0, 1, 2, 3]},
        "outputs": {"class": "demo_class.tif", "report": "report.html", "model": None},
        "inputs": [{"id": "2024-01-15", "date": dt.date(2024, 1, 15), "files": [Path("a/b.tif")]}],
        "areas": [
            {"code": 1, "name": "wheat", "color": "#e69f00", "pixels": 123456,
             "hectares": 1234.56, "share": 0.75, "mean_confidence": 91.27},
            {"code": 2, "name": "<maize>", "color": "#56b4e9", "pixels": 41152,
             "hectares": 411.52, "share": 0.25, "mean_confidence": None},
        ],
        "nodata_pixels": 777,
        "quality": {
            "seam": {"core": 512, "border_pairs": 2000, "border_changes": 50, "other_pairs": 90000,
                     "other_changes": 1800, "score": 1.25, "chance": 0.013671875},
            "completeness": {"blocks": 4, "planned": 4, "pixels_with_data": 164610,
                             "pixels_mapped": 164608, "holes": 2, "share": 164608 / 164610},
        },
        "polygons": 4321,
        "scores": {"unseen": scores(0.9314), "training": scores(0.977)},
        "baselines": {"random_forest": {"overall_accuracy": 0.7412, "mean_iou": 0.52,
                                        "pixels": 900, "trained_on": 400}},
        "model": {
            "card": {"network": {"encoder": "resnet18", "channels": 60}, "bands": ["red", "nir"],
                     "dates": ["2024-01-15"], "normalization": {"transform": "asinh"},
                     "training": {"samples": 312, "settings": {"seed": 0}},
                     "metrics": {"overall_accuracy": 0.93, "mean_iou": 0.81},
                     "context": {"reach": 311, "margin": 64, "exact_margin": 320,
                                 "seam": {"core": 256, "margin": 64, "pixels": 589824,
                                          "share": 0.00012}}},
            "history": [{"epoch": i, "loss": 1 / i, "overall_accuracy": 1 - 0.5 / i,
                         "mean_iou": 0.8 - 0.5 / i} for i in range(1, 13)],
        },
        "plan": {"blocks": 4, "core": 512, "margin": 64, "block": 1024, "workers": 2},
        "seconds": {"select": 0.4, "train": 402.0, "predict": 31.66},
        "versions": {"torch": "2.15.0"},
        "config": {"name": "demo"},
    }  # fmt: skip


class Page(HTMLParser):
    """Text, tags and what is fetched, of a page whose tags must be balanced."""

    VOID = ("meta", "img", "br", "line", "polyline", "input", "link")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"unclosed: {self._open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def render(folder: Path, told: dict[str, Any]) -> tuple[Page, dict[str, Any]]:
    (folder / "quicklook.png").write_bytes(PICTURE)
    write_report(told, folder, folder / "quicklook.png")
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    return page, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_the_page_shows_the_figures(tmp_path: Path) -> None:
    page, _ = render(tmp_path, content())
    for text in (
        "93.1 % overall accuracy, unseen pixels",
        "81.0 % mean IoU, unseen pixels",
        "1,646 hectares mapped",
        "4,321 polygons",
        "7 min 14 s for the whole run",
        "2024-11-05 10:11 UTC",
        "wheat 1,235 123,456 75.0 % 91.3 %",
        "<maize> 411.5 41,152 25.0 % –",
        "777 pixels hold no data",
        "Blocks 4 of 4 predicted",
        "164,608 of 164,610 with data have a class: 99.99 %, 2 holes",
        "Seam score 1.25",
        "2.50 % of 2,000 neighbouring pixels across the borders of patches, 2.00 % of 90,000 else",
        "1.4 % of all places the borders could have",
        "This map 93.1 % 81.0 %",
        "Random forest, pixel by pixel 74.1 % 52.0 %",
        "wheat 600 95.0 % 94.0 % 94.5 % 90.0 %",
        "94.0 6.0",
        "18.0 82.0",
        "kappa 0.791",
        "overall accuracy 97.7 %",
        "U-Net, encoder resnet18",
        "Samples 312",
        "train 6 min 42 s",
        "a/b.tif",
        "demo_class.tif",
        "torch 2.15.0",
    ):
        assert text in page.text, text
    assert page.count("polyline") == 3


def test_what_patches_cost_is_shown(tmp_path: Path) -> None:
    whole = content()
    page, _ = render(tmp_path, whole)
    assert "Network looks 311 px" in page.text
    assert "Changed by patches 0.012 % of 589,824 pixels (cores of 256 px with 64 px" in page.text
    whole["model"]["card"]["context"].update(reach=None, seam=None)
    page, _ = render(tmp_path, whole)
    assert "everywhere: no margin makes a map of patches exact" in page.text
    assert "Changed by patches" not in page.text


def test_a_map_without_a_seam_score_says_so(tmp_path: Path) -> None:
    told = content()
    told["quality"]["seam"].update(border_pairs=0, border_changes=0, score=None, chance=None)
    told["quality"]["completeness"].update(pixels_mapped=164610, holes=0, share=1.0)
    page, _ = render(tmp_path, told)
    assert "Seam score – (no border between patches" in page.text
    assert "with data have a class: 100.00 %, no holes" in page.text
    assert "neighbouring pixels" not in page.text
    assert "1.00 means" not in page.text


@pytest.mark.parametrize("part", ["seam", "completeness"])
def test_half_of_the_quality_is_shown_alone(tmp_path: Path, part: str) -> None:
    told = content()
    del told["quality"][part]
    page, _ = render(tmp_path, told)
    assert ("Seam score" in page.text) == (part != "seam")
    assert ("with data have a class" in page.text) == (part != "completeness")


def test_how_it_was_computed_is_shown(tmp_path: Path) -> None:
    told = content()
    told["plan"].update(precision="bf16", backend="torch", agreement=0.999999)
    page, _ = render(tmp_path, told)
    assert "precision bf16 backend torch agreement 99.999 % of the classes as in fp32" in page.text


def test_the_page_stands_alone_and_escapes_names(tmp_path: Path) -> None:
    page, _ = render(tmp_path, content())
    assert "Crops of <script>alert(1)</script> & more" in page.text
    assert page.count("script") == page.count("link") == page.count("maize") == 0
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources == ["data:image/png;base64," + base64.b64encode(PICTURE).decode()]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", html)
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links == {"demo_class.tif", "report.html", "report.json"}


def test_the_json_holds_the_same(tmp_path: Path) -> None:
    told = content()
    _, found = render(tmp_path, told)
    assert list(found) == list(told)
    assert found["scores"]["unseen"]["overall_accuracy"] == 0.9314
    assert found["scores"]["unseen"]["mean_iou"] == 0.8101
    assert found["baselines"]["random_forest"]["overall_accuracy"] == 0.7412
    assert found["seconds"] == told["seconds"]
    assert found["inputs"] == [{"id": "2024-01-15", "date": "2024-01-15", "files": ["a/b.tif"]}]


def test_the_json_is_json(tmp_path: Path) -> None:
    told = {"name": "x", "polygons": np.int64(3), "seconds": {"train": float("nan")},
            "scores": {"unseen": {"pixels": 0, "mean_iou": np.float64("inf")}}}  # fmt: skip
    page, found = render(tmp_path, told)
    assert found["seconds"] == {"train": None}
    assert found["scores"]["unseen"]["mean_iou"] is None
    assert found["polygons"] == 3
    assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "unseen" not in page.text


@pytest.mark.parametrize("missing", [*list(content())[1:], "all but the name"])
def test_any_part_may_be_missing(tmp_path: Path, missing: str) -> None:
    """Absent or null: the page is written without that part."""
    told = content()
    for key in list(told) if missing.startswith("all") else [missing]:
        if key != "name":
            told[key] = None
    nothing, _ = render(tmp_path, told)
    for key in [key for key, value in told.items() if value is None]:
        del told[key]
    page, found = render(tmp_path, told)
    assert page.text == nothing.text
    assert "None" not in page.text
    assert set(found) == set(told)
    shown = {
        "areas": "Area of each class",
        "quality": "Quality of the map",
        "scores": "unseen pixels",
        "baselines": "Random forest",
        "model": "Loss on the training samples",
        "seconds": "for the whole run",
        "plan": "margin 64",
        "polygons": "4,321",
        "inputs": "a/b.tif",
    }
    for key, text in shown.items():
        gone = missing in (key, "all but the name") or (key == "baselines" and missing == "scores")
        assert (text not in page.text) == gone, text


def test_without_crs_there_are_no_hectares(tmp_path: Path) -> None:
    told = content()
    told["grid"]["crs"] = None
    for row in told["areas"]:
        row["hectares"] = None
    page, _ = render(tmp_path, told)
    assert "ectares" not in page.text.replace("so no hectares", "")
    assert "164,608 pixels mapped (no CRS, so no hectares)" in page.text
    assert "wheat 123,456 75.0 %" in page.text


def points(chart: Any, curve: int) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in chart.curves[curve].points.split()]


def test_a_chart_puts_values_where_its_ticks_say() -> None:
    history = [{"epoch": i, "a": 10.0 * i, "b": None if i == 3 else 5.0} for i in range(1, 11)]
    chart = line_chart("t", history, {"a": "A", "b": "B"})
    assert chart is not None
    up = {float(tick.text): tick.at for tick in chart.up}
    across = {int(tick.text): tick.at for tick in chart.across}
    low, high = min(up), max(up)
    assert low <= 5
    assert high >= 100
    for epoch, (x, y) in enumerate(points(chart, 0), 1):
        value = low + (up[low] - y) / (up[low] - up[high]) * (high - low)
        assert value == pytest.approx(10 * epoch, abs=0.2)
        assert epoch not in across or across[epoch] == pytest.approx(x, abs=0.1)
    assert {1, 10} <= set(across)
    assert len(points(chart, 1)) == 9


@pytest.mark.parametrize(
    "history",
    [[], [{"epoch": 1, "a": 1}], [{"epoch": 1}, {"epoch": 2}], [{"a": 1}, {"a": 2}]],
)
def test_no_chart_of_too_little(history: list[dict[str, Any]]) -> None:
    assert line_chart("t", history, {"a": "A"}) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-12, 1e9])
def test_a_flat_curve_has_a_chart(value: float) -> None:
    chart = line_chart("t", [{"epoch": i, "a": value} for i in range(3)], {"a": "A"})
    assert chart is not None
    assert all(chart.top <= y <= chart.bottom for _, y in points(chart, 0))
