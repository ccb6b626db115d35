"""The service file: what it means, and what is said of each mistake in it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from geoseg.config.service import SeasonConfig, ServiceConfig
from geoseg.errors import ConfigError
from geoseg.io import configs, plain_yaml

SERVICE: dict[str, Any] = {
    "work": "runs",
    "publish": {"destination": "published"},
    "areas": {
        "valley": {
            "run": "valley.yaml",
            "season": {"start": "2025-01-01", "end": "2025-12-31"},
            "drop": {"folder": "incoming"},
        }
    },
}


def load(folder: Path, content: dict[str, Any]) -> ServiceConfig:
    path = folder / "service.yaml"
    path.write_text(plain_yaml.dump(content), encoding="utf-8")
    return configs.load_service(path)


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    service = load(tmp_path, SERVICE)
    area = service.areas["valley"]
    assert service.work == tmp_path / "runs"
    assert area.run == tmp_path / "valley.yaml"
    assert service.publish.destination == str(tmp_path / "published")
    bucket = _with("publish/destination", "s3://maps/crops")
    assert load(tmp_path, bucket).publish.destination == "s3://maps/crops"
    assert area.drop is not None
    assert area.drop.folder == tmp_path / "incoming"
    assert service.gates_of("valley") == service.gates


def test_months_are_slots() -> None:
    season = SeasonConfig(start=dt.date(2025, 1, 15), end=dt.date(2025, 3, 10))
    assert [str(slot) for slot in season.windows()] == [
        "2025-01-15/2025-01-31",
        "2025-02",
        "2025-03-01/2025-03-10",
    ]
    assert season.name == "20250115-20250310"


def test_days_are_slots() -> None:
    season = SeasonConfig(
        start=dt.date(2025, 1, 1),
        end=dt.date(2025, 12, 31),
        slots=(dt.date(2025, 1, 4), dt.date(2025, 6, 1)),
        tolerance=5,
    )
    assert [str(slot) for slot in season.windows()] == [
        "2025-01-01/2025-01-09",
        "2025-05-27/2025-06-06",
    ]
    assert season.name == "2025"
    assert dt.date(2025, 6, 6) in season.windows()[1]


def _with(path: str, value: object) -> dict[str, Any]:
    content = plain_yaml.load(plain_yaml.dump(SERVICE))
    *way, last = path.split("/")
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("areas/valley/saeson", {}, "areas.valley.saeson: unknown key; did you mean 'season'"),
        ("areas/valley/season/strat", 1, "areas.valley.season.strat: unknown key; did you mean"),
        ("publish/keep", 0, "publish.keep: Input should be greater than or equal to 1 (got 0)"),
        ("areas/valley/stac", {"url": "http://x", "collections": ["a"], "bands": {"B02": "blue"}},
         "areas.valley: give either 'drop' (a folder) or 'stac' (an API)"),
        ("areas/Valley", {}, "areas.Valley"),
        ("areas/valley/season", {"start": "2025-02-01", "end": "2025-01-01"}, "is before the start"),
        ("areas/valley/drop/pattern", "a.tif", "has no {date}"),
        ("areas", {}, "areas: Dictionary should have at least 1 item"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, path: str, value: object, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, _with(path, value))
    assert told in str(raised.value)
