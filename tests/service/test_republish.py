"""What was published and got lost: it is noticed, nothing is counted anew, and it can come back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geoseg.config.service import PublishConfig
from geoseg.errors import OrderError, OutputError, ProductError
from geoseg.feedback import Silent
from geoseg.pipeline.run import Run
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.publish import publish_map
from geoseg.service.published_collection import VersionId
from geoseg.service.release import next_place
from tests.support.made_run import KEYS, s3_server, variant
from tests.support.published_reader import s3_client
from tests.support.served import AREA, SEASON, Served
from tests.support.service_season import service_file

Geoseg = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in KEYS.items():
            patch.setenv(key, value)
        with s3_server() as url:
            s3_client(url).create_bucket(Bucket="maps")
            yield url


@pytest.fixture
def served(tmp_path: Path, made: Run) -> Served:
    gates = {"seam": None}
    file = service_file(tmp_path, {AREA: {}, "hill": {}}, gates=gates, retry={"tries": 1})
    return Served(file, tmp_path, made)


def test_a_destination_that_is_away_is_no_new_one(served: Served) -> None:
    served.publish("a")
    aside = served.maps.rename(served.folder / "aside")
    number = served.order("b", "hill")
    for _ in range(2):  # not there at all, then an empty folder in its place
        with pytest.raises(OutputError, match="1 of the ledger's maps were published") as told:
            served.judge_and_publish(number)
        assert told.value.of_place
        served.maps.mkdir(exist_ok=True)
        assert list(served.maps.iterdir()) == []
    served.maps.rmdir()
    aside.rename(served.maps)
    assert served.judge_and_publish(number)["published"]
    assert served.versions() == [f"{SEASON}-0001-aaaaaaaa"]


def test_another_destination_may_be_new(served: Served) -> None:
    served.publish("a")
    text = served.file.read_text()
    served.file.write_text(text.replace(str(served.maps), str(served.folder / "others")))
    served.publish("b")
    assert served.versions() == [f"{SEASON}-0002-bbbbbbbb"]


def test_an_area_whose_folder_is_gone(served: Served, geoseg: Geoseg) -> None:
    """Noticed, not counted anew by the ledger or by hand, and back by ``--republish``."""
    served.publish("a")
    first = served.publish("b")
    served.publish("c", "hill")
    before = served.files()
    shutil.rmtree(served.maps / AREA)
    collection = str(served.maps / AREA / "collection.json")
    assert list(served.survey()) == [collection]
    code, out, err = geoseg("versions", str(served.maps), "--verify")
    assert code == 2
    assert f"{collection}: not there, though the catalog names the area" in err
    assert f"{SEASON}-0001-cccccccc" in out, "the others are listed"
    assert geoseg("versions", str(served.maps), AREA)[0] == 2
    assert geoseg("versions", str(served.maps), "hill", "--verify")[0] == 0
    with pytest.raises(OutputError, match="--republish"):
        next_place(served.made, AREA, SEASON, served.config.publish)
    waits = served.order("d")
    with pytest.raises(OutputError, match="bring the destination back"):
        served.judge_and_publish(waits)
    assert not (served.maps / AREA).exists() or not list(served.maps.glob(f"{AREA}/*/*.tif"))
    code, out, err = geoseg("ledger", str(served.file), "--republish", str(first))
    assert code == 0, err
    assert f"{SEASON}-0002-bbbbbbbb is published again" in out
    back = served.files()
    assert {k for k in before if "bbbbbbbb" in k} <= back.keys()
    assert all(before[key] == content for key, content in back.items() if key in before)
    assert served.judge_and_publish(waits)["published"]
    assert served.versions() == [f"{SEASON}-0003-dddddddd", f"{SEASON}-0002-bbbbbbbb"]
    assert set(served.survey(service=True)) == {str(served.maps / AREA / f"{SEASON}-0001-aaaaaaaa")}


@pytest.mark.parametrize("what", ["folder", "file", "torn", "manifest"])
def test_a_version_is_mended_in_its_place(served: Served, what: str) -> None:
    number = served.publish("a")
    before, collection = served.files(), (served.maps / AREA / "collection.json").read_bytes()
    home = served.maps / AREA / f"{SEASON}-0001-aaaaaaaa"
    if what == "folder":
        shutil.rmtree(home)
    elif what == "manifest":
        (home / ".manifest.json").unlink()
    else:
        file = home / "small_class.tif"
        file.unlink() if what == "file" else file.write_bytes(b"torn")
    assert bool(served.survey()) == (what != "manifest")
    served.again(number)
    assert served.survey(service=True) == {}
    assert served.files() == before
    assert (served.maps / AREA / "collection.json").read_bytes() == collection
    with pytest.raises(OrderError, match="is there and whole; nothing is published again"):
        served.again(number)
    with Ledger.open(served.config) as ledger:
        told = [text for _, text in ledger.history(number)]
        assert told[-1] == f"published again: {SEASON}-0001-aaaaaaaa"
        assert ledger.order(number).state == "published"


def test_what_cannot_be_published_again(served: Served) -> None:
    number, waits = served.publish("a"), served.order("b")
    with pytest.raises(OrderError, match=f"order {waits} is running; this is for one that is pub"):
        served.again(waits)
    shutil.rmtree(served.maps / AREA / f"{SEASON}-0001-aaaaaaaa")
    output = served.run(number).folder.root
    (output / "report.md").write_text("edited")
    with pytest.raises(ProductError, match="changed after the run described it"):
        served.again(number)
    shutil.move(output, served.folder / "out aside")
    with pytest.raises(OutputError, match="the results of order 1 are gone") as told:
        served.again(number)
    assert "restore its folder" in str(told.value)
    assert not output.exists(), "no folder is made"
    shutil.copytree(variant(served.made, served.folder / "other").folder.root, output)
    with pytest.raises(ProductError, match="the results have changed since"):
        served.again(number)


def test_what_was_left_out_on_purpose_is_not_lost(served: Served) -> None:
    served.file.write_text(served.file.read_text().replace("publish:", "publish:\n  keep: 1"))
    first = served.publish("a")
    served.publish("b")
    assert served.survey(service=True) == {}
    # Its results go with the newer map; were they there, it would still not be wanted.
    shutil.copytree(served.made.folder.root, served.run(first).folder.root)
    shutil.copy(
        served.made.folder.root.parent / "small.yaml",
        served.run(first).folder.root.parent / "config.yaml",
    )
    with pytest.raises(OrderError, match="has left the collection for newer versions"):
        served.again(first)


def test_the_whole_destination_is_lost(served: Served, geoseg: Geoseg) -> None:
    number = served.publish("a")
    before = served.files()
    shutil.rmtree(served.maps)
    code, _, err = geoseg("versions", str(served.maps), "--verify", "--service", str(served.file))
    assert code == 2
    assert "1 of the ledger's maps were published there" in err
    served.again(number)
    assert served.files() == before
    assert served.survey(service=True) == {}


def test_in_a_bucket(tmp_path: Path, made: Run, bucket: str) -> None:
    there = {"destination": f"s3://maps/{tmp_path.name}", "endpoint": bucket}
    file = service_file(tmp_path, {AREA: {}}, gates={"seam": None}, publish=there)
    served = Served(file, tmp_path, made)
    number = served.publish("a")
    client = s3_client(bucket)
    prefix = f"{tmp_path.name}/{AREA}/"
    listed = client.list_objects_v2(Bucket="maps", Prefix=prefix)["Contents"]
    for entry in listed:
        client.delete_object(Bucket="maps", Key=entry["Key"])
    assert list(served.survey()) == [f"s3://maps/{prefix}collection.json"]
    assert served.again(number)["files"] > 5
    assert served.survey(service=True) == {}
    assert served.versions() == [f"{SEASON}-0001-aaaaaaaa"]


def test_close_matches(served: Served, geoseg: Geoseg) -> None:
    served.publish("a")
    code, _, err = geoseg("versions", str(served.maps), "valey")
    assert code == 2
    assert "no area 'valey' is published there; did you mean 'valley'?" in err


def test_a_damaged_catalogue_is_told(served: Served, geoseg: Geoseg) -> None:
    served.publish("a")
    served.publish("b", "hill")
    (served.maps / "hill" / "collection.json").write_text("{")
    assert list(served.survey()) == [str(served.maps / "hill" / "collection.json")]
    (served.maps / "catalog.json").write_text("[]")
    code, _, err = geoseg("versions", str(served.maps))
    assert (code, "Traceback" in err) == (2, False)
    assert "catalog.json is not JSON; restore it" in err


def test_by_hand_and_by_the_ledger_numbers_go_on_alike(served: Served) -> None:
    """One above the highest that the destination knows, also of what has left it."""
    config = PublishConfig(destination=str(served.maps), keep=1)
    for number in (1, 7):
        publish_map(served.made, VersionId(AREA, SEASON, number, f"{number:08x}"), config, Silent())
    (served.maps / AREA / f"{SEASON}-0009-0badcafe").mkdir()  # a try that came to no end
    assert next_place(served.made, AREA, SEASON, config).sequence == 10
    served.publish("a")
    assert served.versions()[0] == f"{SEASON}-0010-aaaaaaaa"
    assert next_place(served.made, AREA, SEASON, config).sequence == 11
    assert next_place(served.made, AREA, "2024", config).sequence == 1


def test_by_hand_a_map_keeps_its_number(served: Served) -> None:
    """Also where its first try was killed before the collection named it."""
    config = served.config.publish
    made_from = str(served.made.recorded("stitch")["run_id"])[:8]
    (served.maps / AREA / f"{SEASON}-0004-{made_from}").mkdir(parents=True)
    place = next_place(served.made, AREA, SEASON, config)
    assert place.sequence == 4
    publish_map(served.made, place, config, Silent())
    served.publish("a")
    assert next_place(served.made, AREA, SEASON, config) == place
