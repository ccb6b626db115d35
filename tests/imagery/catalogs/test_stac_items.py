"""What a STAC API should not say, and does: one bad item keeps no other back, and is told."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config.service import SeasonConfig, StacConfig
from geoseg.errors import ConfigError, RemoteError
from geoseg.imagery.catalogs import stac
from geoseg.imagery.catalogs.found import CatalogItem
from geoseg.io import configs
from geoseg.io.access import web
from geoseg.service.ledger.ledger import Ledger
from tests.support.service_season import APRIL, BANDS, MAY, service_file
from tests.support.stac_api import StacApi, stac_api

SEASON = SeasonConfig.model_validate({"start": "2025-04-01", "end": "2025-05-31"})
SLOTS = SEASON.windows()
ASSETS = {"red": "B04", "nir": "B08"}
INF, NAN = float("inf"), float("nan")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StacApi]:
    with stac_api(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    service = service_file(tmp_path_factory.mktemp("service"), {"north": {}})
    with Ledger.open(configs.load_service(service)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TRIES", 1)


def item(api: StacApi, name: str, day: str = APRIL, **properties: Any) -> dict[str, Any]:
    files = {key: api.files / name / f"{key}.tif" for key in ASSETS.values()}
    made: dict[str, Any] = api.add(name, f"{day}T10:00:31.024Z", files, **properties)
    api.items.clear()
    return made


def found(api: StacApi, *items: Any, **fields: Any) -> tuple[CatalogItem, ...]:
    api.said = {"type": "FeatureCollection", "features": [*items], "links": []}
    content = {"url": api.url, "collections": ["s2"], "bands": ASSETS, **fields}
    return stac.poll(StacConfig.model_validate(content), BANDS, SLOTS)


def put(content: Any, path: str, value: Any) -> None:
    *way, last = path.split("/")
    for key in way:
        content = content[key]
    content[last] = value


ODD = {
    "id": [None, "", 5, ["a"], "a\0b", "\ud800"],
    "bbox": [[None] * 4, "9,52,9.1,52.1", [9, 52], [], 5, {}, [9, 52, 9.1, NAN], [9, 52, INF, 5],
             [True, 1, 2, 3], [10**400, 1, 2, 3], ["9", "52", "9", "52"]],
    "links": [["x"], "x", 5, {"rel": "self"}, [None], True],
    "properties": [None, [], "x", 5],
    "properties/datetime": [None, "", 5, "soon", "2025-13-01", {}, "0001-01-01T00:00:00+10:00", "\ud800"],
    "properties/eo:cloud_cover": [NAN, INF, -INF, True, "20", [], 10**400],
    "properties/s2:nodata_pixel_percentage": [NAN, INF, False, "20", {}],
    "properties/grid:code": [["T"], {"a": 1}, "T\ud800"],
    "properties/updated": [["T"], True, "\0"],
    "assets": [None, [], "x", {}, {"B04": None}],
    "assets/B04": [[], "x", 5, {}],
    "assets/B04/href": [None, "", 5, [], "http://[", "ftp://x/y", "http://x/\ny", "http://x/\ud800"],
    "assets/B04/file:size": ["12", -1, True, NAN, 1.5, 2**70, []],
    "assets/B04/file:checksum": [5, ["a"], {"a": 1}, "\ud800"],
}  # fmt: skip
FINE = {
    "bbox": [None, [9, 52, 9, 52], [9, 52, 0, 9.1, 52.1, 100]],
    "links": [None, [], [{}], [{"rel": "self"}], [{"rel": "self", "href": 5}]],
    "properties/datetime": ["2025-04-10", "2025-04-10T10:00:31+02:00", "20250410T100031Z"],
    "properties/eo:cloud_cover": [None, 0, -0.001, 100.0001, 20],
    "properties/grid:code": [None, "", 33],
    "properties/proj:shape": ["x", NAN, {}, [None]],
    "properties/s2:processing_baseline": [5.1, 5, "05.10"],
    "assets/B04/file:size": [None, 0, 12],
    "assets/B04/file:checksum": [None, ""],
    "geometry": ["x", {"type": "Point", "coordinates": [9, 52]}],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(path, value, id=f"{path}-{n}")
        for path, values in table.items()
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize(("path", "value"), cases(ODD))
def test_one_bad_item_is_refused_with_a_reason(api: StacApi, path: str, value: Any) -> None:
    bad = item(api, "bad")
    put(bad, path, value)
    verdicts = {one.item: one for one in found(api, bad, item(api, "good", MAY))}
    assert verdicts.pop("good").verdict == "usable"
    (refused,) = verdicts.values()
    assert refused.verdict == "refused"
    assert refused.reason.isprintable()
    words = path.rpartition("/")[2].removeprefix("s2:")
    assert words in refused.reason or "asset" in refused.reason, refused.reason


@pytest.mark.parametrize(("path", "value"), cases(FINE))
def test_what_is_odd_and_does_no_harm(api: StacApi, path: str, value: Any) -> None:
    odd = item(api, "odd")
    put(odd, path, value)
    assert [one.verdict for one in found(api, odd)] == ["usable"]


@pytest.mark.parametrize("value", [None, "x", 5, [], {}])
def test_what_is_no_item_at_all(api: StacApi, value: Any) -> None:
    good, refused = sorted(
        found(api, value, item(api, "good")), key=lambda one: one.verdict != "usable"
    )
    assert (good.item, good.verdict) == ("good", "usable")
    assert refused.item.startswith("an item without an id (")
    assert refused.verdict == "refused"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**17, 10**30) | st.floats()
    | st.text(st.characters()) | st.sampled_from([APRIL, "http://x/a.tif", "self", "B04"]),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=4), v, max_size=4),
    max_leaves=8,
)  # fmt: skip
PATHS = [*{**ODD, **FINE}, "type", "collection", "stac_version", "properties/start_datetime"]


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(PATHS), json_values, min_size=1, max_size=3))
def test_arbitrary_json_in_any_field(api: StacApi, ledger: Ledger, changes: dict[str, Any]) -> None:
    """The other item is used, and a ledger takes what was found and sees nothing new in it again."""
    bad = item(api, "bad")
    for path in sorted(changes, reverse=True):  # the inner ones first
        put(bad, path, changes[path])
    good = item(api, "good", MAY)
    looks = [found(api, *order) for order in ([bad, good], [good, bad])]
    assert looks[0] == looks[1]
    assert {one.item: one.verdict for one in looks[0]}["good"] in ("usable", "refused")
    assert len(looks[0]) == (1 if bad["id"] == "good" else 2)
    ledger.see("north", SEASON.name, looks[0])
    assert ledger.see("north", SEASON.name, looks[0]) == 0


@settings(max_examples=60, deadline=None)
@given(json_values | st.dictionaries(st.sampled_from(["links", "features", "type"]), json_values))
def test_an_answer_that_is_no_page(api: StacApi, said: Any) -> None:
    api.said = said
    content = {"url": api.url, "collections": ["s2"], "bands": ASSETS}
    with suppress(RemoteError):
        looked = stac.poll(StacConfig.model_validate(content), BANDS, SLOTS)
        assert {one.verdict for one in looked} <= {"refused"}


@settings(max_examples=60, deadline=None)
@given(json_values | st.dictionaries(
    st.sampled_from(["links", "conformsTo", "id", "type", "stac_version", "description"]), json_values
))  # fmt: skip
def test_a_landing_page_that_is_none(api: StacApi, landed: Any) -> None:
    api.landed = {**api.landing(), **landed} if isinstance(landed, dict) else landed
    with suppress(ConfigError, RemoteError):
        assert [one.verdict for one in found(api, item(api, "good"))] == ["usable"]
    api.landed = None


DEEP = b'{"features": ' + 100_000 * b"[" + 100_000 * b"]" + b"}"


@pytest.mark.parametrize(
    "said", [b"<html>", b"", b"\xff\xfe", b'{"features": [', DEEP, 5000 * b"1"]
)
def test_an_answer_that_is_no_json(api: StacApi, said: bytes) -> None:
    content = {"url": api.url, "collections": ["s2"], "bands": ASSETS}
    for api.said, api.landed in ((said, None), (None, said)):
        with pytest.raises(RemoteError, match=f"{api.url}: "):
            stac.poll(StacConfig.model_validate(content), BANDS, SLOTS)
    api.landed = None


@pytest.mark.parametrize("landed", ["without search", "static catalogue"])
def test_no_item_search(api: StacApi, landed: str) -> None:
    page = api.landing()
    page["conformsTo"] = [word for word in page["conformsTo"] if "item-search" not in word]
    if landed == "static catalogue":
        del page["conformsTo"]
    api.landed = page
    with pytest.raises(ConfigError, match=r"offers no item search.*'stac\.url'"):
        found(api, item(api, "good"))
    api.landed = None


def test_pages_in_a_circle(api: StacApi) -> None:
    link = {"rel": "next", "href": f"{api.url}/search", "method": "POST", "body": {}}
    content = {"url": api.url, "collections": ["s2"], "bands": ASSETS}
    api.said = {"type": "FeatureCollection", "features": [item(api, "a")], "links": [link]}
    with pytest.raises(RemoteError, match="its pages lead round in a circle"):
        stac.poll(StacConfig.model_validate(content), BANDS, SLOTS)


def test_too_many_items_are_told_not_cut_off(api: StacApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac, "MOST", 2)
    assert len(found(api, item(api, "a"), item(api, "b"))) == 2
    with pytest.raises(ConfigError, match=r"more than 2 items.*'stac\.bbox'"):
        found(api, item(api, "a"), item(api, "b"), item(api, "c"))


def test_an_item_that_comes_again_is_one(api: StacApi) -> None:
    a, b = item(api, "a"), item(api, "b", MAY)
    once = found(api, a, b)
    for items in ([a, b, copy.deepcopy(a)], [b, a, b, a], [a, {**a, "collection": "other"}, b]):
        assert found(api, *items) == once
    assert [(one.item, one.verdict, one.reason) for one in once] == [
        ("a", "usable", ""), ("b", "usable", "")
    ]  # fmt: skip


def test_of_one_items_versions_the_last_that_can_be_used(api: StacApi) -> None:
    old = item(api, "a", updated="2025-04-11T00:00:00Z", **{"eo:cloud_cover": 50})
    new = item(api, "a", updated="2025-06-01T00:00:00Z", **{"eo:cloud_cover": 10})
    bad = item(api, "a", updated="2025-07-01T00:00:00Z", **{"eo:cloud_cover": "none"})
    for seed in range(6):
        items = random.Random(seed).sample([old, new, bad, new, bad], 5)
        (one,) = found(api, *items)
        assert (one.verdict, one.clear) == ("usable", 0.9)
    (refused,) = found(api, bad, copy.deepcopy(bad))
    assert refused.verdict == "refused"


def test_what_was_replaced_does_not_depend_on_the_order(api: StacApi) -> None:
    same = {"grid:code": "T", "updated": "2025-04-11T00:00:00Z"}
    items = [item(api, name, **same) for name in "abc"]
    looks = {found(api, *random.Random(seed).sample(items + items, 6)) for seed in range(6)}
    (one,) = looks
    assert [f.reason for f in one] == 2 * ["replaced by c, processed later"] + [""]
