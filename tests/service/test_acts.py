"""``ledger --retry`` of many orders at once, and files of another kind than a command takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import State
from tests.support.service_season import load, service_file

Geoseg = Callable[..., tuple[int, str, str]]

ENDED: dict[str, State] = {"north": "failed", "south": "failed", "east": "cancelled"}


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """Order 1 of north and 2 of south have failed, 3 of east was cancelled, 4 of west runs."""
    path = service_file(tmp_path, {name: {} for name in (*ENDED, "west")})
    with Ledger.open(load(path)) as ledger:
        for number, name in enumerate((*ENDED, "west"), 1):
            ledger.claim(name, "2025", name * 8, (), tmp_path / "c.yaml", tmp_path / name)
            ledger.begin(number, "run")
            if name in ENDED:
                ledger.finish(number, ENDED[name], "why")
    return path


def states(service: Path) -> str:
    """First letters, by number."""
    with Ledger.open(load(service)) as ledger:
        return "".join(order.state[0] for order in ledger.orders())


LINE = "order {} ({}) is sent on its way by the next poll\n"


@pytest.mark.parametrize(
    ("arguments", "after", "told"),
    [
        (["2"], "fwcr", LINE.format(2, "south")),
        (["--all"], "wwcr", "not sent: 1 cancelled; name the state to send them"),
        (["all"], "wwcr", LINE.format(1, "north") + LINE.format(2, "south")),
        (["south"], "fwcr", LINE.format(2, "south")),
        (["failed"], "wwcr", LINE.format(1, "north")),
        (["cancelled"], "ffwr", LINE.format(3, "east")),
        (["failed", "--area", "north"], "wfcr", LINE.format(1, "north")),
        (["--all", "--area", "south"], "fwcr", LINE.format(2, "south")),
        (["west"], "ffcr", "no order is to be sent\n"),
    ],
)
def test_which_orders_are_sent(
    service: Path, geoseg: Geoseg, arguments: list[str], after: str, told: str
) -> None:
    code, out, err = geoseg("ledger", str(service), "--retry", *arguments)
    assert code == 0, err
    assert told in out
    assert states(service) == after


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ("nort", "did you mean 'north'?"),
        ("faild", "did you mean 'failed'?"),
        ("9", "there is no order 9"),
        ("4", "order 4 is running"),
        ("published", "not published"),
        ("xyz", "the areas are north, south, east, west"),
    ],
)
def test_what_is_none_is_told(service: Path, geoseg: Geoseg, which: str, told: str) -> None:
    code, _, err = geoseg("ledger", str(service), "--retry", which)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert states(service) == "ffcr"


def test_a_run_config_is_no_service_file(service: Path, geoseg: Geoseg) -> None:
    run = service.with_name("run.yaml")
    for command in (["ledger", str(run)], ["metrics", "--service", str(run)]):
        code, _, err = geoseg(*command)
        assert code == 2
        assert f"{run} is a run config (it has imagery, model, name)" in err
        assert "a service file is wanted here" in err
    for command in (["inspect", str(service)], ["run", str(service)], ["status", str(service)]):
        code, _, err = geoseg(*command)
        assert code == 2
        assert f"{service} is a service file (it has areas, publish, work)" in err
        assert "a run config is wanted here" in err


def test_a_misspelt_key_is_still_answered_with_the_right_one(service: Path, geoseg: Geoseg) -> None:
    text = service.read_text()
    service.write_text(text.replace("publish:", "publsh:"))
    _, _, err = geoseg("ledger", str(service))
    assert "did you mean 'publish'?" in err
