"""A drop folder: what is there, which version of it, and whether it has come whole."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import rasterio.shutil

from geoseg.config.service import DropConfig, SeasonConfig
from geoseg.errors import ConfigError
from geoseg.grid import Grid
from geoseg.imagery.catalogs import folder as catalog
from geoseg.imagery.catalogs.folder import FolderQuery, poll
from geoseg.imagery.catalogs.found import CatalogItem
from tests.support.service_season import APRIL, BANDS, GRID, MAY, band, image, mask

SEASON = SeasonConfig.model_validate({"start": "2025-04-01", "end": "2025-05-31"})


def wanted(folder: Path, bands: tuple[str, ...] = BANDS, **drop: Any) -> FolderQuery:
    config = DropConfig.model_validate({"folder": folder, "settle": 0, **drop})
    names = {} if "{band}" in config.pattern else {"band_names": list(bands)}
    return FolderQuery(config, SEASON.windows(), bands, names)


def only(found: tuple[CatalogItem, ...]) -> CatalogItem:
    assert len(found) == 1, found
    return found[0]


def test_an_image_is_read_once_and_known_by_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(tmp_path / f"{APRIL}.tif", clear=0.75)
    first = only(poll(wanted(tmp_path)))
    assert (first.item, first.verdict, first.clear) == (APRIL, "usable", 0.75)
    assert first.files[0].href == str(path)

    def read(*_: object) -> CatalogItem:
        raise AssertionError("read again")

    monkeypatch.setattr(catalog, "_read", read)
    known = {(first.item, first.stamp): first}
    assert only(poll(wanted(tmp_path), lambda *key: known.get(key))) == first
    with pytest.raises(AssertionError, match="read again"):
        poll(wanted(tmp_path, BANDS[::-1]), lambda *key: known.get(key))


def test_the_same_bytes_are_the_same_version(tmp_path: Path) -> None:
    path = image(tmp_path / f"{APRIL}.tif")
    first = only(poll(wanted(tmp_path)))
    os.utime(path, ns=(1, 1))
    touched = only(poll(wanted(tmp_path)))
    assert touched.stamp != first.stamp
    assert touched.version == first.version
    image(path, seed=1)
    assert only(poll(wanted(tmp_path))).version != first.version


def test_a_sidecar_makes_another_version(tmp_path: Path) -> None:
    """It comes, and goes; the same content in it is the same version, whatever its time."""
    path = image(tmp_path / f"{APRIL}.tif")
    sidecar = Path(f"{path}.aux.xml")
    without = only(poll(wanted(tmp_path)))
    sidecar.write_text("<PAMDataset/>")
    with_it = only(poll(wanted(tmp_path)))
    assert with_it.stamp != without.stamp
    assert with_it.version != without.version
    os.utime(sidecar, ns=(1, 1))
    touched = only(poll(wanted(tmp_path)))
    assert touched.stamp != with_it.stamp
    assert touched.version == with_it.version
    young = only(poll(wanted(tmp_path, settle=60)))
    assert "60 are waited for" in young.reason
    sidecar.unlink()
    again = only(poll(wanted(tmp_path)))
    assert (again.stamp, again.version) == (without.stamp, without.version)


def test_a_sidecar_that_leads_out_stops_nobody_else(root: Path, tmp_path: Path) -> None:
    image(root / f"{APRIL}.tif")
    path = image(root / f"{MAY}.tif")
    (tmp_path / "outside.xml").write_text("<PAMDataset/>")
    Path(f"{path}.aux.xml").symlink_to(tmp_path / "outside.xml")
    found = {one.item: one for one in poll(wanted(root))}
    assert found[APRIL].verdict == "usable"
    assert found[MAY].verdict == "refused"
    assert "lies outside" in found[MAY].reason


def test_a_vrt_is_as_its_sources_are(tmp_path: Path) -> None:
    source = image(tmp_path / "src" / "a.tif")
    (tmp_path / "drop").mkdir()
    rasterio.shutil.copy(str(source), str(tmp_path / "drop" / f"{APRIL}.vrt"), driver="VRT")
    here = wanted(tmp_path / "drop", pattern="{date}.vrt")
    first = only(poll(here))
    assert first.verdict == "usable"
    assert only(poll(here)) == first
    image(source, seed=1)
    second = only(poll(here))
    assert second.stamp != first.stamp
    assert second.version != first.version


def test_what_is_under_way_is_no_image(tmp_path: Path) -> None:
    whole = image(tmp_path / f"{APRIL}.tif")
    for name in (f"{MAY}.tif.part", f".{MAY}.tif", f"{MAY}.tif~", f"{MAY}.tif.filepart"):
        (tmp_path / name).write_bytes(whole.read_bytes())
    for pattern in ("{date}.tif", "{date}*"):
        assert only(poll(wanted(tmp_path, pattern=pattern))).item == APRIL


def test_what_has_the_name_of_an_image_and_is_none_is_told(tmp_path: Path) -> None:
    """Each is listed with its reason, and the images beside it are used."""
    drop = tmp_path / "drop"
    image(drop / f"{APRIL}.tif")
    (drop / "2025-04-11.tif").touch()
    (drop / "2025-04-12.tif").symlink_to("away.tif")
    (drop / "2025-04-13.tif").symlink_to("2025-04-13.tif")
    (drop / "2025-04-14.tif").mkdir()
    os.mkfifo(drop / "2025-04-15.tif")
    found = {one.item: (one.verdict, one.version, one.reason) for one in poll(wanted(drop))}
    assert found.pop(APRIL)[0] == "usable"
    assert found == {
        f"drop/2025-04-{day}.tif": ("unfinished", "", f"{drop}/2025-04-{day}.tif{told}")
        for day, told in {
            11: " is empty, 0 bytes",
            12: " (it leads to away.tif): No such file or directory",
            13: " (it leads to 2025-04-13.tif): Too many levels of symbolic links",
            14: " is a folder",
            15: " is no file",
        }.items()
    }
    (drop / "2025-04-11.tif").unlink()
    image(drop / "2025-04-11.tif")
    assert {one.item: one.verdict for one in poll(wanted(drop))}["2025-04-11"] == "usable"


def test_an_empty_band_or_mask_holds_its_date_back(tmp_path: Path) -> None:
    masks = {"folder": tmp_path / "clouds", "pattern": "{date}.tif"}
    here = wanted(tmp_path / "images", pattern="{date}/{band}.tif", masks=masks)
    band(tmp_path / "images" / APRIL / "red.tif")
    (tmp_path / "images" / APRIL / "nir.tif").touch()
    (tmp_path / "clouds").mkdir()
    (tmp_path / "clouds" / f"{APRIL}.tif").touch()
    reasons = {one.item: one.reason for one in poll(here)}
    assert reasons[APRIL] == "band nir has not come yet"
    assert reasons[f"images/{APRIL}/nir.tif"].endswith("nir.tif is empty, 0 bytes")
    assert reasons[f"clouds/{APRIL}.tif"].endswith("is empty, 0 bytes")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what it may not read itself")
def test_what_may_not_be_read_is_told() -> None:
    with tempfile.TemporaryDirectory() as folder:
        drop = Path(folder)
        for day in (APRIL, MAY):
            image(drop / f"{day}.tif")
        (drop / f"{APRIL}.tif").chmod(0o600)
        drop.chmod(0o755)
        os.seteuid(65534)
        try:
            found = {one.item: (one.verdict, one.reason) for one in poll(wanted(drop))}
            assert found[MAY] == ("usable", "")
            assert found[APRIL] == ("unfinished", f"{drop}/{APRIL}.tif: Permission denied")
            os.seteuid(0)
            drop.chmod(0o700)
            os.seteuid(65534)
            with pytest.raises(PermissionError):
                poll(wanted(drop))
        finally:
            os.seteuid(0)


def test_a_file_is_left_alone_before_it_counts(tmp_path: Path) -> None:
    path = image(tmp_path / f"{APRIL}.tif")
    os.utime(path, ns=(0, 0))  # as a program that copies with times: old at once
    young = only(poll(wanted(tmp_path, settle=60)))
    assert (young.verdict, young.version) == ("unfinished", "")
    assert "60 are waited for" in young.reason
    assert only(poll(wanted(tmp_path, settle=0))).verdict == "usable"


def test_half_an_upload_is_never_usable(tmp_path: Path) -> None:
    """A file that grows slowly is looked at all the while, with no wait for it to settle."""
    big = Grid(GRID.crs, GRID.transform, 600, 700)
    content = image(tmp_path / "whole" / "x.tif", grid=big).read_bytes()
    target = tmp_path / "drop" / f"{APRIL}.tif"
    target.parent.mkdir()
    ended = threading.Event()

    def upload() -> None:
        with target.open("wb") as handle:
            for start in range(0, len(content), len(content) // 25 + 1):
                handle.write(content[start : start + len(content) // 25 + 1])
                handle.flush()
                time.sleep(0.02)
        ended.set()

    writer = threading.Thread(target=upload)
    writer.start()
    seen = []
    while not ended.is_set():
        # Just begun it is empty, and has no file to be read.
        found = poll(wanted(target.parent))
        seen += [(one.verdict, one.files[0].size if one.files else 0) for one in found]
    writer.join()
    assert len([verdict for verdict, _ in seen if verdict == "unfinished"]) > 3
    assert {size for verdict, size in seen if verdict != "unfinished"} <= {len(content)}
    assert only(poll(wanted(target.parent))).verdict == "usable"


def test_a_damaged_file_is_unfinished_and_remembered(tmp_path: Path) -> None:
    path = image(tmp_path / f"{APRIL}.tif")
    path.write_bytes(path.read_bytes()[:-2000])
    torn = only(poll(wanted(tmp_path)))
    assert torn.verdict == "unfinished"
    assert torn.version, "so that it is not read again at each poll"
    assert path.name in torn.reason
    path.write_text("no raster at all")
    assert only(poll(wanted(tmp_path))).verdict == "unfinished"


def test_the_mask_is_waited_for_and_counts(tmp_path: Path) -> None:
    image(tmp_path / "images" / f"{APRIL}.tif")
    masks = {"folder": tmp_path / "clouds", "pattern": "{date}_mask.tif"}
    here = wanted(tmp_path / "images", masks=masks)
    without = only(poll(here))
    assert (without.verdict, without.reason) == ("unfinished", "its mask has not come yet")
    mask(tmp_path / "clouds" / f"{APRIL}_mask.tif", clear=0.25)
    cloudy = only(poll(here))
    assert (cloudy.verdict, cloudy.clear) == ("usable", 0.25)
    mask(tmp_path / "clouds" / f"{APRIL}_mask.tif", clear=0.5)
    again = only(poll(here))
    assert again.clear == 0.5
    assert again.version != cloudy.version


def test_a_file_per_band(tmp_path: Path) -> None:
    here = wanted(tmp_path, pattern="{date}/{band}.tif")
    band(tmp_path / APRIL / "nir.tif")
    band(tmp_path / APRIL / "aerosol.tif")
    half = only(poll(here))
    assert (half.verdict, half.reason) == ("unfinished", "band red has not come yet")
    band(tmp_path / APRIL / "red.tif", seed=2)
    whole = only(poll(here))
    assert whole.verdict == "usable"
    assert {file.role for file in whole.files} == {"red", "nir"}
    band(tmp_path / APRIL / "aerosol.tif", seed=5)
    assert only(poll(here)) == whole, "no matter to the model"
    band(tmp_path / APRIL / "nir.tif", seed=6)
    assert only(poll(here)).version != whole.version


def test_a_bad_one_stops_nobody_else(tmp_path: Path) -> None:
    image(tmp_path / f"{APRIL}.tif")
    image(tmp_path / "2025-13-45.tif")
    image(tmp_path / "2023-01-01.tif")
    one_band = wanted(tmp_path)
    band(tmp_path / f"{MAY}.tif")
    verdicts = {one.item: one.verdict for one in poll(one_band)}
    assert verdicts == {
        APRIL: "usable",
        MAY: "refused",
        "2023-01-01": "outside",
        "2025-13-45.tif": "refused",
    }


def test_two_files_of_one_date(tmp_path: Path) -> None:
    image(tmp_path / f"A_{APRIL}.tif")
    image(tmp_path / f"B_{APRIL}.tif")
    both = only(poll(wanted(tmp_path, pattern="*_{date}.tif")))
    assert both.verdict == "unfinished"
    assert both.reason.startswith("several files are its image")


def test_a_folder_that_is_away_is_no_empty_one(tmp_path: Path) -> None:
    assert poll(wanted(tmp_path)) == ()
    with pytest.raises(ConfigError, match="no such folder"):
        poll(wanted(tmp_path / "unmounted"))
