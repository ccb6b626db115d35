"""Verdicts on parcels: what is declared, in names or codes, against what the map says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geoseg.analysis.parcels.verdicts import Limits
from geoseg.errors import ParcelError
from tests.support.parcel_map import box, check, write_layer


def test_verdicts(halves: Path, tmp_path: Path) -> None:
    """Maize is sure here (90), wheat is not (60), and the last rows have no class."""
    rows = {
        "agrees": (box(2, 2, 5, 5), "maize"),
        "disagrees": (box(2, 2, 5, 5), "winter wheat"),
        "unsure": (box(40, 2, 5, 5), "winter wheat"),
        "unsure ": (box(40, 2, 5, 5), "maize"),
        "no data": (box(2, 32, 5, 5), "maize"),
        "no data ": (box(2, 28, 5, 5), "maize"),  # two rows of five are mapped
        "unknown declaration": (box(2, 2, 5, 5), "Maize"),
        "not declared": (box(2, 2, 5, 5), None),
        "not declared ": (box(2, 2, 5, 5), "  "),
    }
    shapes, crops = zip(*rows.values(), strict=True)
    layer = write_layer(tmp_path / "p.gpkg", list(shapes), crop=list(crops))
    table, summary = check(halves, layer, declared="crop")
    assert table.check.tolist() == [name.strip() for name in rows]
    assert table.declared_crop[:2].tolist() == ["maize", "winter wheat"]
    assert table.disagreement[:4].tolist() == [0, 90, 0, 60]
    assert table.disagreement[6:].isna().all()
    assert summary["checks"]["agrees"] == {"parcels": 1, "hectares": 0.25}
    assert summary["hectares_agreed"] == 0.25
    assert sum(group["parcels"] for group in summary["checks"].values()) == len(rows)
    assert summary["unknown_declarations"] == {"Maize": 1}
    assert summary["declared"]["maize"] == {"agrees": 1, "unsure": 1, "no data": 2}


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        (Limits(90, 60), "agrees"),
        (Limits(90.1, 60), "unsure"),
        (Limits(90, 60.1), "unsure"),
        (Limits(0, 0), "agrees"),
    ],
)
def test_limits_belong_to_the_verdict(
    halves: Path, tmp_path: Path, limits: Limits, verdict: str
) -> None:
    """60 percent of the parcel are maize at 90."""
    layer = write_layer(tmp_path / "p.gpkg", [box(24, 0, 10, 5)], crop=["maize"])
    assert check(halves, layer, declared="crop", limits=limits)[0].check[0] == verdict


@pytest.mark.parametrize(
    "values",
    [[7, 3, 9], [7.0, 3.0, 9.5], ["7", "3", "9"], ["maize", "winter wheat", "oats"]],
    ids=["int", "float", "text", "names"],
)
def test_declared_as_names_or_codes(halves: Path, tmp_path: Path, values: list[Any]) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 3, crop=values)
    table, summary = check(halves, layer, declared="crop")
    assert table.check.tolist() == ["agrees", "disagrees", "unknown declaration"]
    assert summary["unknown_declarations"] == {str(values[2]): 1}


def test_names_are_one_in_either_spelling_of_a_letter(halves: Path, tmp_path: Path) -> None:
    decomposed = "Сахарная све\u0308кла"
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], crop=[decomposed])
    assert check(halves, layer, declared="crop")[0].check[0] == "disagrees"


def test_an_authoritys_own_codes(halves: Path, tmp_path: Path) -> None:
    """The table alone counts: 3 is the legend's wheat, and nothing in the table."""
    (tmp_path / "codes.csv").write_text("declared;class\n115;maize\nвиноград;\n0116;winter wheat\n")
    layer = write_layer(
        tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 5, k=["115", "0116", "виноград", "3", "116"]
    )
    table, summary = check(halves, layer, declared="k", mapping=tmp_path / "codes.csv")
    assert table.check.tolist() == ["agrees", "disagrees", *["unknown declaration"] * 3]
    assert summary["unknown_declarations"] == {"116": 1, "3": 1, "виноград": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,crop\n1,maize\n", "the first line is 'code,crop'; it must be 'declared,class'"),
        ("", "it must be 'declared,class'"),
        ("declared,class\n1,mays\n", "row 2: 'mays' is not a class of the map; it has: maize"),
        ("declared,class\n1,maize\n1,winter wheat\n", "row 3: '1' is 'maize' above"),
    ],
)
def test_a_bad_table_of_codes(halves: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "codes.csv").write_text(text)
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], k=["1"])
    with pytest.raises(ParcelError, match=f"codes.csv.*{message}"):
        check(halves, layer, declared="k", mapping=tmp_path / "codes.csv")
