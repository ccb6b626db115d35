"""What the report says in words: the summary, what is off, how to cite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geoseg.product.report.findings import findings, summary
from geoseg.product.report.format import citation, hectares, markdown, part, place, seconds, signed
from geoseg.product.report.write import to_plain, write_report
from tests.support.common import ROOT
from tests.support.report_content import content


def sound() -> dict[str, Any]:
    """A report with nothing to warn of."""
    told: dict[str, Any] = to_plain(content())
    told["quality"]["completeness"].update(holes=0)
    told["quality"]["seam"].update(score=1.25, chance=0.2)
    told["confidence"].update(low_share=0.02)
    told["scores"]["test_scores"]["classes"][0].update(precision=0.9, recall=0.9)
    told["inputs"] = [
        {"id": f"2024-{month:02d}-01", "date": f"2024-{month:02d}-01", "clear_share": 0.7}
        for month in range(3, 11)
    ]
    return told


def test_a_sound_map_has_no_finding() -> None:
    assert findings(sound()) == []


def set_at(told: dict[str, Any], path: str, value: Any) -> None:
    *keys, last = path.split(".")
    for key in keys:
        told = told[int(key)] if isinstance(told, list) else told[key]
    told[int(last) if isinstance(told, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value", "level", "about", "text"),
    [
        ("quality.completeness.holes", 12, "warning", "Holes", "12 pixels"),
        ("quality.completeness.blocks", 3, "warning", "Missing blocks", "1 of 4 blocks"),
        ("quality.seam.chance", 0.01, "warning", "Seams", "1.25 times"),
        ("confidence.low_share", 0.2, "warning", "Low confidence", "20.0 % of the area has"),
        ("scores.test_scores.classes.1.recall", 0.5, "warning", "Weak classes", "<maize>"),
        ("scores", {}, "warning", "No independent validation", "No labels were kept apart"),
        ("scores.test_scores.source", "test_split", "note", "Validation by held-back labels",
         "everywhere"),
        ("plan", {"precision": "fp32", "agreement": 0.97}, "note", "Precision", "97.00 %"),
        ("plan", {"precision": "bf16", "agreement": 0.97}, "warning", "Precision", "97.00 %"),
        ("inputs.2.clear_share", 0.01, "note", "Clouded dates", "2024-05-01"),
        ("inputs.7.date", "2024-12-20", "note", "Gap in the season", "110 days, from 1 September"),
        ("areas.0.hectares", None, "note", "No CRS", "pixels"),
        ("vectors.0.difference_percent", -3.0, "note", "Polygons", "wheat (-3.00 %)"),
    ],
)  # fmt: skip
def test_what_is_off_is_said(path: str, value: Any, level: str, about: str, text: str) -> None:
    told = sound()
    set_at(told, path, value)
    (found,) = findings(told)
    assert (found["level"], found["about"]) == (level, about)
    assert text in found["text"]


def test_warnings_stand_before_notes() -> None:
    told = sound()
    set_at(told, "areas.0.hectares", None)
    set_at(told, "inputs.2.clear_share", 0.0)
    set_at(told, "confidence.low_share", 0.5)
    assert [item["level"] for item in findings(told)] == ["warning", "note", "note"]


def test_nothing_known_is_nothing_said() -> None:
    assert summary({"name": "x"}) == findings({"name": "x"}) == []


def test_the_summary_without_scores() -> None:
    told = sound() | {"scores": {}}
    assert summary(told)[2] == (
        "How often it is right has not been measured; the network's own confidence is 80 % on average, "
        "which is no accuracy."
    )
    del told["confidence"]
    assert summary(told)[2] == "How often it is right has not been measured."


def test_the_summary_of_one_class_and_long_names() -> None:
    told = sound()
    told["areas"] = [{**told["areas"][0], "name": "n" * 200, "share": 1.0}]
    first, second, _ = summary(told)
    assert "the same class" in first
    assert "n" * 39 + "… (100.0 %, 1,235 ha)" in second


def test_a_citation_names_map_season_software_and_run() -> None:
    told = sound() | {"title": "100 % of {the} crops_1 & more"}
    found = citation(told)
    assert found["text"] == (
        "100 % of {the} crops_1 & more. Crop-type map from images of 2024-03-01 to 2024-10-01. "
        "Made with geoseg 0.1.0, run 90152faa699e593a, 2024."
    )
    assert r"title        = {{100 \% of \{the\} crops\_1 \& more}}," in found["bibtex"]
    assert found["bibtex"].startswith("@misc{demo-2024,\n")
    assert citation({"name": "x"})["text"] == "x. Crop-type map. Made with geoseg."


def test_figures_read_well() -> None:
    assert [hectares(v) for v in (None, 0.123, 12.34, 12345.6)] == ["–", "0.12", "12.3", "12,346"]
    assert [part(v) for v in (0.0, 1e-9, 0.5, 0.999999, 1.0)] == [
        "0.00 %", "0.01 %", "50.00 %", "99.99 %", "100.00 %"
    ]  # fmt: skip
    assert [signed(v) for v in (None, 0.0, -1e-9, 0.012, -0.2)] == [
        "–", "0.0 %", "0.0 %", "+1.2 %", "−20.0 %"
    ]  # fmt: skip
    assert [seconds(v) for v in (0.04, 61, 7322)] == ["0.0 s", "1 min 01 s", "2 h 2 min"]
    assert place(-70.5, -33.25) == "33.2500° S, 70.5000° W"
    assert place(None, None) == ""
    assert markdown("a|b\n<i> *c* `d` [e]") == r"a\|b \<i\> \*c\* \`d\` \[e\]"


def test_the_schema_is_described(tmp_path: Path) -> None:
    """``docs/report.md`` has a line for every key of the JSON, and for none that is not there."""
    write_report(content(), tmp_path)
    keys = list(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))
    text = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    table = text.partition("| key |")[2].partition("\n\n")[0]
    described = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(described) == sorted(keys)
