"""A STAC API: items and their versions, over real HTTP with paging, faults and real rasters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoseg.config.service import SeasonConfig, StacConfig
from geoseg.errors import ConfigError, ConfinedError, RemoteError
from geoseg.feedback import Silent
from geoseg.imagery.catalogs import stac
from geoseg.imagery.catalogs.found import MASK, CatalogItem
from geoseg.imagery.scenes import select
from geoseg.io import configs
from geoseg.io.access import web
from geoseg.service.fetch import fetch_order
from geoseg.service.ledger.ledger import Ledger
from tests.support.service_season import (
    APRIL,
    BANDS,
    MAY,
    Runs,
    band,
    image,
    load,
    look,
    mask,
    service_file,
)
from tests.support.stac_api import StacApi, stac_api

SLOTS = SeasonConfig.model_validate({"start": "2025-04-01", "end": "2025-05-31"}).windows()
ASSETS = {"red": "B04", "nir": "B08"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0.05)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StacApi]:
    with stac_api(tmp_path / "served") as running:
        yield running


def config(api: StacApi, **fields: Any) -> StacConfig:
    content = {"url": api.url, "collections": ["s2"], "bands": ASSETS, **fields}
    return StacConfig.model_validate(content)


def add(api: StacApi, item: str, day: str, seed: int = 0, **properties: Any) -> Any:
    folder = api.files / item
    files = {key: band(folder / f"{key}.tif", seed + n) for n, key in enumerate(ASSETS.values())}
    files["SCL"] = mask(folder / "SCL.tif")
    return api.add(item, f"{day}T10:00:31.024Z", files, **properties)


def found(api: StacApi, **fields: Any) -> tuple[CatalogItem, ...]:
    return stac.poll(config(api, **fields), BANDS, SLOTS)


def test_items_of_the_season_page_by_page(api: StacApi) -> None:
    for number in range(1, 6):
        add(api, f"item-{number}", f"2025-05-{number:02d}", **{"eo:cloud_cover": 10.0 * number})
    add(api, "of-march", "2025-03-31")
    items = found(api)
    assert [one.item for one in items] == [f"item-{n}" for n in range(1, 6)]
    assert [one.clear for one in items] == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert items[0].files[0].href == f"{api.url}/files/item-1/B04.tif"
    assert [file.role for file in items[0].files] == list(BANDS)
    assert api.requests.count("/search") == 3
    assert {one.verdict for one in items} == {"usable"}


def test_the_swath_and_silence_about_clouds(api: StacApi) -> None:
    add(api, "edge", APRIL, **{"eo:cloud_cover": 20, "s2:nodata_pixel_percentage": 50})
    add(api, "radar", MAY)
    assert [one.clear for one in found(api)] == [0.4, None]


def test_query_and_mask(api: StacApi) -> None:
    add(api, "a", APRIL, **{"grid:code": "MGRS-33TWM"})
    add(api, "b", APRIL, **{"grid:code": "MGRS-33TWN"})
    (one,) = found(
        api, query={"grid:code": {"eq": "MGRS-33TWN"}}, mask={"asset": "SCL", "invalid": [3, 8]}
    )
    assert one.item == "b"
    assert one.files[-1].role == MASK


def test_a_reprocessed_item_is_a_new_version(api: StacApi) -> None:
    item = add(api, "a", APRIL, created="2025-04-11T00:00:00Z", updated="2025-04-11T00:00:00Z")
    (first,) = found(api)
    for asset in item["assets"].values():
        asset["href"] += "?signature=of-this-hour"
    (signed,) = found(api)
    assert signed.version == first.version, "a signature is no other version"
    item["properties"]["updated"] = "2025-06-01T00:00:00Z"
    (again,) = found(api)
    assert again.version != first.version
    for number, asset in enumerate(item["assets"].values()):
        asset["file:checksum"] = f"1220{number:064x}"
    (summed,) = found(api)
    item["properties"]["updated"] = "2025-07-01T00:00:00Z"
    assert found(api)[0].version == summed.version, "the bytes are the same"
    item["assets"]["B04"]["file:checksum"] = f"1220{9:064x}"
    assert found(api)[0].version != summed.version


def test_the_newest_of_one_acquisition(api: StacApi) -> None:
    add(api, "S2A_0", APRIL, **{"grid:code": "T", "s2:processing_baseline": "05.00"})
    add(api, "S2A_1", APRIL, **{"grid:code": "T", "s2:processing_baseline": "05.10"})
    add(api, "S2A_other_tile", APRIL, **{"grid:code": "U"})
    verdicts = {one.item: (one.verdict, one.reason) for one in found(api)}
    assert verdicts == {
        "S2A_0": ("refused", "replaced by S2A_1, processed later"),
        "S2A_1": ("usable", ""),
        "S2A_other_tile": ("usable", ""),
    }
    old, new = (one for one in found(api) if one.item in ("S2A_0", "S2A_1"))
    assert old.acquisition == new.acquisition


def test_items_that_cannot_be_used_say_why(api: StacApi) -> None:
    del add(api, "bandless", APRIL)["assets"]["B08"]
    add(api, "elsewhere", APRIL)["assets"]["B04"]["href"] = "s3://bucket/B04.tif"
    add(api, "local", APRIL)["assets"]["B04"]["href"] = "file:///etc/passwd"
    add(api, "timeless", APRIL)["properties"]["datetime"] = None
    reasons = {one.item: one.reason for one in found(api) if one.verdict == "refused"}
    assert reasons == {
        "bandless": "asset B08 is missing (it has B04, SCL)",
        "elsewhere": "asset B04 is no http address: s3://bucket/B04.tif",
        "local": "asset B04 is no http address: file:///etc/passwd",
        "timeless": "it has no datetime",
    }


def test_relative_addresses_start_from_the_item(api: StacApi) -> None:
    add(api, "a", APRIL)["assets"]["B04"]["href"] = "../../../files/a/B04.tif"
    assert found(api)[0].files[0].href == f"{api.url}/files/a/B04.tif"


def test_pages_on_another_host_are_not_asked_for(api: StacApi, tmp_path: Path) -> None:
    with stac_api(tmp_path) as other:
        for number in range(3):
            add(api, f"item-{number}", APRIL)
        api.next_page = other.url
        with pytest.raises(RemoteError, match="is not one that may be fetched from"):
            found(api)
        assert not other.requests
        host = other.url.removeprefix("http://")
        assert found(api, hosts=[host])
        assert other.requests


def test_an_api_that_fails_now_and_then_is_asked_again(api: StacApi) -> None:
    add(api, "a", APRIL)
    api.failures = [503, 502]
    assert [one.item for one in found(api)] == ["a"]
    assert api.requests.count("/search") == 3


def test_an_api_that_does_not_serve(api: StacApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TRIES", 2)
    add(api, "a", APRIL)
    api.failures = [500, 500]
    with pytest.raises(RemoteError, match="does not serve"):
        found(api)
    api.failures = [404]
    with pytest.raises(RemoteError, match="does not serve"):
        found(api)
    api.items[0]["properties"] = ["no", "STAC"]
    api.items[0]["collection"] = "s2"
    with pytest.raises(RemoteError):
        found(api)
    nobody = config(api, url="http://127.0.0.1:1")
    with pytest.raises(RemoteError, match="does not serve"):
        stac.poll(nobody, BANDS, SLOTS)
    with pytest.raises(ConfigError, match="no asset for swir"):
        stac.poll(nobody, ("swir",), SLOTS)


def service(tmp_path: Path, api: StacApi) -> Path:
    source = {"url": api.url, "collections": ["s2"], "bands": ASSETS, "mask": {"asset": "SCL"}}
    return service_file(tmp_path, {"remote": {"stac": source}, "near": {}})


def test_one_api_that_is_down_stops_no_other_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "TRIES", 1)
    with stac_api(tmp_path / "served") as api:
        path = service(tmp_path, api)
    for day in (APRIL, MAY):
        image(tmp_path / "drop/near" / f"{day}.tif")
    record = look(path, Runs(tmp_path / "runs"))
    assert record["claimed"] == 1
    assert "does not serve" in record["failed"]["remote"]


def test_an_order_fetches_exactly_what_was_chosen(tmp_path: Path, api: StacApi) -> None:
    path, runs = service(tmp_path, api), Runs(tmp_path / "runs")
    add(api, "April/../1", APRIL, seed=3, **{"eo:cloud_cover": 5})
    add(api, "cloudy", "2025-05-20", **{"eo:cloud_cover": 95})
    assert "2025-05 (best 5 % clear, 50 wanted)" in look(path, runs)["waiting"]["remote"]
    add(api, "may", MAY, seed=5, **{"eo:cloud_cover": 40})
    assert look(path, runs)["claimed"] == 1
    with Ledger.open(load(path)) as ledger:
        (order,) = ledger.orders("remote")
        verdicts = {
            s.found.item: s.found.verdict for s in ledger.item_records("remote", order.season)
        }
    assert verdicts == {"April/../1": "usable", "cloudy": "cloudy", "may": "usable"}
    assert not list((tmp_path / "work").rglob("*.tif")), "looking fetches no pixels"
    record = fetch_order(load(path), order, Silent())
    assert record["fetched"] == 6
    scenes = select(configs.load(order.config).imagery)
    assert [scene.id for scene in scenes] == ["April/../1", "may"]
    for scene in scenes:
        assert scene.bands == BANDS
        assert scene.mask
        for file, key in zip(scene.files, ("B04", "B08", "SCL"), strict=True):
            assert (tmp_path / "work/remote") in file.resolve().parents
            assert file.read_bytes() == (api.files / scene.id / f"{key}.tif").read_bytes()
    before = len(api.requests)
    assert fetch_order(load(path), order, Silent()) == {"fetched": 0, "there": 6, "bytes": 0}
    assert len(api.requests) == before


def test_a_file_that_is_not_what_the_catalogue_says_is_not_kept(
    tmp_path: Path, api: StacApi
) -> None:
    path, runs = service(tmp_path, api), Runs(tmp_path / "runs")
    add(api, "a", APRIL)["assets"]["B08"]["file:checksum"] = f"1220{7:064x}"
    add(api, "b", MAY)["assets"]["B04"]["href"] = "http://127.0.0.1:9/elsewhere.tif"
    look(path, runs)
    with Ledger.open(load(path)) as ledger:
        (order,) = ledger.orders("remote")
    with pytest.raises(RemoteError, match="another checksum"):
        fetch_order(load(path), order, Silent())
    del api.items[0]["assets"]["B08"]["file:checksum"]
    look(path, runs)
    with Ledger.open(load(path)) as ledger:
        (_, order) = ledger.orders("remote")
    with pytest.raises(ConfinedError, match="is not one that may be fetched from"):
        fetch_order(load(path), order, Silent())


def test_grids_that_differ_in_the_last_digit_are_one(api: StacApi) -> None:
    pixel = 0.0009
    for number, (side, west) in enumerate(
        [(pixel, 10.0), (pixel + 1e-18, 10.0 + 2e-15), (pixel, 10.0 + pixel / 10)]
    ):
        place = {"proj:transform": [side, 0, west, 0, -side, 50], "proj:shape": [96, 96]}
        add(api, f"item-{number}", f"2025-05-0{number + 1}", **place)
    one, same, shifted = found(api)
    assert one.grid == same.grid != shifted.grid
