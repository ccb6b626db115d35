"""What Prefect logs for a run: reasons in one line, tracebacks of bugs alone."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest
from prefect.exceptions import FailedRun

from geoseg.errors import GateError, OutputError
from geoseg.flows.feedback import tidy_prefect
from geoseg.flows.steps import mistake

Said = Callable[[str, Exception | None], str]


@pytest.fixture
def said() -> Iterator[Said]:
    """What a handler of Prefect's writes of an error that its engine tells of."""
    text = io.StringIO()
    handler, log = logging.StreamHandler(text), logging.getLogger("prefect.flow_runs")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    tidy_prefect()

    def tell(message: str, error: Exception | None) -> str:
        cause = (type(error), error, error.__traceback__) if error else (None, None, None)
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 1, message, (), cause))
        return text.getvalue()

    yield tell
    log.removeHandler(handler)


ENGINE = "Engine execution exited with unexpected exception"


@pytest.mark.parametrize(
    "error", [OutputError("/data: the disk is full"), FailedRun("the poll failed")]
)
def test_a_reason_is_one_line(said: Said, error: Exception) -> None:
    assert said(ENGINE, error) == f"ERROR {error}\n"


def test_a_bug_keeps_its_traceback(said: Said) -> None:
    with pytest.raises(ValueError, match="odd") as caught:
        raising("odd")
    first, second, *_, last = said(ENGINE, caught.value).splitlines()
    assert first == f"ERROR {ENGINE}"
    assert second.startswith("Traceback")
    assert last == "ValueError: odd"


def raising(word: str) -> None:
    raise ValueError(word)


def test_a_state_without_an_error_is_one_line(said: Said) -> None:
    """Prefect asks for a traceback here too, and logs ``NoneType: None``."""
    assert said("failed with state", None) == "ERROR failed with state\n"


def test_a_secret_in_a_reason_is_kept_back(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAP_SERVICE_TOKEN", "planted.Token")
    assert "planted" not in said(ENGINE, FailedRun("planted.Token is not accepted"))


def test_a_failed_state_tells_programs_too() -> None:
    state = mistake(GateError("half of it is missing"))
    assert (state.name, state.message) == ("Quarantined", "half of it is missing")
    assert state.result(raise_on_failure=False).exit_code == 4
    assert mistake(OutputError("full")).name == "Failed"
