"""dBase tables: read as they were written, whole or not there, the same bytes each time."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pyogrio
import pytest

from geoseg.errors import OutputError
from geoseg.io.vector.ogr import write_dbf


def test_long_names_in_the_table(tmp_path: Path) -> None:
    columns = {"Value": [1, 2], "Count": [10**11, 0], "Class": ["озимая пшеница", "冬小麦" * 40]}
    write_dbf(tmp_path / "x.tif.vat.dbf", columns)
    frame = pyogrio.read_dataframe(tmp_path / "x.tif.vat.dbf")
    columns["Class"][1] = columns["Class"][1][:84]  # 254 bytes hold no more
    assert {name: frame[name].tolist() for name in columns} == columns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tif.vat.cpg", "x.tif.vat.dbf"]
    assert (tmp_path / "x.tif.vat.cpg").read_text() == "UTF-8"


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.dbf", "b.dbf"):
        write_dbf(tmp_path / name, {"Value": [1, 2], "Class": ["a", "bb"]})
    assert (tmp_path / "a.dbf").read_bytes() == (tmp_path / "b.dbf").read_bytes()


@pytest.mark.parametrize("room", [100, 4096, 20_000])
def test_no_room_is_an_output_error(tmp_path: Path, room: int) -> None:
    """A limit on file sizes acts as a full disk, of which GDAL itself says nothing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"a\.dbf.*cannot be written"):
            write_dbf(tmp_path / "a.dbf", {"Value": [*range(200)], "Class": ["x" * 200] * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
