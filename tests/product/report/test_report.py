"""The report: the same figures for people and for programs, whatever is missing."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.product.charts import line_chart
from geoseg.product.pictures import MapPictures
from geoseg.product.report.write import SCHEMA, write_report
from tests.support.report_content import content

PICTURES = MapPictures(b"\x89PNG classes", b"\x89PNG confidence")


class Page(HTMLParser):
    """Text, tags and what is fetched, of a page whose tags must be balanced."""

    VOID = ("meta", "img", "br", "line", "polyline", "rect", "path", "input", "link")

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
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def render(folder: Path, told: dict[str, Any]) -> tuple[Page, dict[str, Any]]:
    write_report(told, folder, PICTURES)
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    return page, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_the_page_shows_the_figures(tmp_path: Path) -> None:
    page, _ = render(tmp_path, content())
    for text in (
        "This map gives each place in 1,646 hectares one of 2 classes, from 1 image of 15 January 2024.",
        "The largest classes are wheat (75.0 %, 1,235 ha) and <maize> (25.0 %, 411.5 ha).",
        "On 1,000 pixels whose labels training never saw, 93.1 % have the right class",
        "Warning: Holes. 2 pixels with data have no class",
        "Warning: Seams. The class changes 1.25 times as often",
        "Warning: Low confidence. 12.5 % of the area",
        "overall accuracy, unseen pixels 93.1 %",
        "mean IoU, unseen pixels 81.0 %",
        "mean confidence 80.5 %",
        "hectares mapped 1,646",
        "polygons 4,321",
        "for the whole run 7 min 14 s",
        "2024-11-05 10:11 UTC",
        "wheat 1,235 75.0 % 91.3 % 71 % 123,456",
        "<maize> 411.5 25.0 % – – 41,152",
        "777 pixels hold no data",
        "Olofsson et al. (2014)",
        "12.50 % of the area",
        "95 to 100 % 1,029 62.5 %",
        "60 to 70 % 411.5 25.0 %",
        "1 52.6916° S, 9.9616° E 499 660 1.09 57 %",
        "clear (data in every band, no cloud) on 0.6 of 1 on average.",
        "Clear shares are estimates from 25.0 % of the pixels",
        "2024-01-15 2024-01-15 62.5 % 37.5 % a/b.tif",
        "Blocks 4 of 4 predicted",
        "164,608 of 164,610 with data have a class: 99.99 %, 2 holes",
        "Seam score 1.25",
        "2.50 % of 2,000 neighbouring pixels across the borders of patches, 2.00 % of 90,000 else",
        "1.4 % of all places the borders could have",
        "This map 93.1 % 81.0 %",
        "Random forest, pixel by pixel 74.1 % 52.0 %",
        "wheat 95.0 % 94.0 % +6.0 % 94.5 % 90.0 % 600",
        "<maize> – 82.0 % −9.0 % – 72.0 % 400",
        "94.0 6.0",
        "18.0 82.0",
        "<maize> wheat 72 18.0 %",
        "kappa 0.791",
        "overall accuracy 97.7 %",
        "wheat 120 1,235 1,234 −0.036 % 7",
        "812 parcels of 1,500 hectares: 800 inside, 12 outside.",
        "3 invalid geometries",
        "contradicted 29 3.6 % 40.2",
        "wheat 500 61.6 % 900.0",
        "not in the legend: <hop> (4)",
        "changed 322 32.2",
        "From To Pixels Hectares wheat <maize> 315 31.5 <maize> wheat 7 0.70",
        "U-Net, encoder resnet18",
        "Model id 12657c6c9be4",
        "Samples 312",
        "train 6 min 42 s",
        "demo_class.tif the map: one class code per pixel",
        "torch 2.15.0",
        "run 90152faa699e593a, 2024",
    ):
        assert text in page.text, text
    assert page.count("polyline") == 3


def test_markdown_says_the_same(tmp_path: Path) -> None:
    render(tmp_path, content())
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for line in (
        r"# Crops of \<script\>alert(1)\</script\> \& more",
        "- **Warning: Holes.** 2 pixels with data have no class; areas leave them out.",
        "![The map with its legend](quicklook.png)",
        "| wheat | 1,235 | 75.0 % | 91.3 % | 71 % | 123,456 |",
        r"| \<maize\> | 411.5 | 25.0 % | – | – | 41,152 |",
        "| wheat | 95.0 % | 94.0 % | +6.0 % | 94.5 % | 90.0 % | 600 |",
        r"| 2 \<maize\> | 18.0 | 82.0 | 400 |",
        "| 1 | 52.6916° S, 9.9616° E | 499 | 660 | 1.09 | 57 % |",
        "| 2024-01-15 | 2024-01-15 | 62.5 % | a/b.tif |",
        "| wheat | 120 | 1,235 | 1,234 | −0.036 % | 7 |",
        "| contradicted | 29 | 3.6 % | 40.2 |",
        r"| wheat | \<maize\> | 315 | 31.5 |",
        "| [demo\\_class.tif](demo_class.tif) "
        "| the map: one class code per pixel, with names and colours |",
    ):
        assert line in text.splitlines(), line
    assert "\n\n\n" not in text
    assert not re.search(r"(?<!\\)<", text.partition("```")[0]), "HTML"


def test_what_patches_cost_is_shown(tmp_path: Path) -> None:
    whole = content()
    page, _ = render(tmp_path, whole)
    assert "Network looks 311 px" in page.text
    assert "Changed by patches 0.012 % of 589,824 pixels (cores of 256 px with 64 px" in page.text
    whole["model"]["card"]["context"].update(receptive_field_radius=None, tiling_error=None)
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
    assert page.count("script") == 1
    assert page.count("maize") == 0
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    pictures = (PICTURES.classes, PICTURES.confidence)
    assert sources == ["data:image/png;base64," + b64encode(p).decode() for p in pictures]
    assert not re.search(r"url\(|@import|https?://", html(tmp_path))
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    places = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert {link for link in links if link.startswith("#")} <= places
    files = {link for link in links if not link.startswith("#")}
    assert files == {"demo_class.tif", "report.html", "report.json", "report.md", "quicklook.png"}


def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_tables_and_pictures_can_be_heard(tmp_path: Path) -> None:
    page, _ = render(tmp_path, content())
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("row", "col") for attributes in heads)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    drawn = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in drawn)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 == levels.count(1)
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_the_json_holds_the_same(tmp_path: Path) -> None:
    told = content()
    _, found = render(tmp_path, told)
    assert list(found) == ["schema", *told, "summary", "findings", "citation"]
    assert found["schema"] == SCHEMA
    assert found["scores"]["test_scores"]["overall_accuracy"] == 0.9314
    assert found["scores"]["test_scores"]["mean_iou"] == 0.8101
    assert found["baselines"]["random_forest"]["overall_accuracy"] == 0.7412
    assert found["seconds"] == told["seconds"]
    image = {"id": "2024-01-15", "date": "2024-01-15", "files": ["a/b.tif"], "clear_share": 0.625}
    assert found["inputs"] == [image]


def test_the_json_is_json(tmp_path: Path) -> None:
    told = {"name": "x", "polygons": np.int64(3), "seconds": {"train": float("nan")},
            "scores": {"test_scores": {"pixels": 0, "mean_iou": np.float64("inf")}}}  # fmt: skip
    page, found = render(tmp_path, told)
    assert found["seconds"] == {"train": None}
    assert found["scores"]["test_scores"]["mean_iou"] is None
    assert found["polygons"] == 3
    assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "test_scores" not in page.text


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
    assert set(found) - {"schema", "summary", "findings", "citation"} == set(told)
    shown = {
        "areas": "Area of each class",
        "quality": "By chance",
        "confidence": "How sure the network is",
        "vectors": "−0.036 %",
        "parcels": "812",
        "change": "2023_class.tif",
        "scores": "unseen pixels",
        "baselines": "Random forest",
        "model": "Loss on the training samples",
        "seconds": "for the whole run",
        "plan": "margin around it, pixels 64",
        "polygons": "4,321",
        "inputs": "a/b.tif",
    }
    for key, text in shown.items():
        gone = missing in (key, "all but the name") or (key == "baselines" and missing == "scores")
        assert (text not in page.text) == gone, text


def test_without_crs_there_are_no_hectares(tmp_path: Path) -> None:
    told = content()
    told["grid"]["crs"] = None
    for row in [*told["areas"], *told["confidence"]["places"]]:
        row["hectares"] = None
    for key in ("vectors", "change"):
        del told[key]
    page, _ = render(tmp_path, told)
    assert "pixels mapped (no CRS, so no hectares) 164,608" in page.text
    assert "wheat 75.0 % 91.3 % 71 % 123,456" in page.text
    assert "Note: No CRS." in page.text


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
