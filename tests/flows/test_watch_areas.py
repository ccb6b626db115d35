"""Looks at many areas by real processes: whatever becomes of one of them, the others are looked at."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from geoseg.service.ledger.ledger import Ledger
from tests.support.common import run_geoseg
from tests.support.prefect_server import prefect_server, watcher
from tests.support.service_season import APRIL, MAY, band, image, load, service_file
from tests.support.stac_api import StacApi, stac_api

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.timeout(900)]

ASSETS = {"red": "B04", "nir": "B08"}
HANGING = "hangs"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "prefect").mkdir()
    with prefect_server(tmp_path / "prefect") as url:
        yield url


def without_search(api: StacApi) -> dict[str, Any]:
    page = api.landing()
    page["conformsTo"] = [word for word in page["conformsTo"] if "item-search" not in word]
    return page


def static_catalogue(api: StacApi) -> dict[str, Any]:
    page = api.landing()
    child = {"rel": "child", "href": "./s2/collection.json", "type": "application/json"}
    return {key: page[key] for key in ("type", "stac_version", "id", "description")} | {
        "links": [page["links"][1], child]
    }


ODD: dict[str, Any] = {
    "without-search": lambda api: {"landed": without_search(api)},
    "static": lambda api: {"landed": static_catalogue(api)},
    "html": lambda _: {"landed": b"<!DOCTYPE html><html><body>Log in</body></html>"},
    "html-for-items": lambda _: {"said": b"<html>"},
    "garbage": lambda _: {"said": {"features": "all of them", "links": 5}},
    "half": lambda _: {"said": b'{"type": "FeatureCollection", "features": [{"id": '},
    "failing": lambda _: {"failures": [500] * 100},
    "forbidding": lambda _: {"failures": [403] * 100},
}
TOLD = {
    "without-search": "offers no item search",
    "static": "static catalogues are not read",
    **dict.fromkeys(("html", "html-for-items", "garbage", "half"), "is no STAC"),
    **dict.fromkeys(("failing", "forbidding", HANGING, "closed"), "the STAC API does not serve"),
    "no-config": "no such config file",
    "no-folder": "no such folder",
}  # fmt: skip


def add(api: StacApi, name: str, day: str) -> dict[str, Any]:
    files = {key: band(api.files / name / f"{key}.tif", n) for n, key in enumerate(ASSETS.values())}
    made: dict[str, Any] = api.add(name, f"{day}T10:00:31.024Z", files)
    return made


def source(url: str) -> dict[str, Any]:
    return {"stac": {"url": url, "collections": ["s2"], "bands": ASSETS}}


def serve(stack: ExitStack, folder: Path, name: str) -> dict[str, Any]:
    """An area whose API has two good items, and does what its name says."""
    api = stack.enter_context(stac_api(folder / "served" / name))
    for item, day in (("a", APRIL), ("b", MAY)):
        add(api, item, day)
    if name == "bad-items":
        add(api, "nulls", MAY)["bbox"] = [None] * 4
        add(api, "texts", MAY)["links"] = ["x"]
        add(api, "nameless", MAY)["id"] = None
    for field, value in ODD[name](api).items() if name in ODD else ():
        setattr(api, field, value)
    return source(api.url)


def test_every_area_that_can_be_looked_at_is(server: str, tmp_path: Path) -> None:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as silent:
        areas = {
            HANGING: source(f"http://127.0.0.1:{silent.getsockname()[1]}"),
            "closed": source("http://127.0.0.1:1"),
            "no-config": {"run": "missing.yaml"},
            "no-folder": {"drop": {"folder": "nowhere"}},
            **{name: serve(stack, tmp_path, name) for name in (*ODD, "bad-items", "good-api")},
            "good-folder": {},
        }
        service = service_file(tmp_path, areas)
        for day in (APRIL, MAY):
            image(tmp_path / "drop/good-folder" / f"{day}.tif")
        out, err = watcher(service, server, tmp_path / "home").communicate(timeout=600)
    assert f"{len(areas)} areas; " in err, out + err
    assert "Traceback" not in out + err
    listed = run_geoseg("ledger", str(service)).stdout
    for name, told in TOLD.items():
        assert re.search(rf"^{name}: .*{told}", listed, re.M), listed
    good = sorted(set(areas) - set(TOLD))
    assert good == ["bad-items", "good-api", "good-folder"]
    with Ledger.open(load(service)) as ledger:
        assert sorted((o.area, o.state) for o in ledger.orders()) == [(n, "started") for n in good]
    seen = run_geoseg("ledger", str(service), "--area", "bad-items", "--seen").stdout
    assert re.search(r"nulls .* refused .*its bbox is not four or six numbers", seen)
    assert re.search(r"texts .* refused .*its links are no links", seen)
    assert re.search(r"an item without an id .* refused .*its id is no text: None", seen)


def test_the_exit_code_tells_of_areas_that_failed(server: str, tmp_path: Path) -> None:
    service = service_file(tmp_path, {"good": {}, "bad": {"run": "missing.yaml"}})
    for areas, code in (({"good": {}, "bad": {"run": "missing.yaml"}}, 2), ({"good": {}}, 0)):
        service_file(tmp_path, areas)
        process = watcher(service, server, tmp_path / "home")
        _, err = process.communicate(timeout=300)
        assert process.returncode == code, err
