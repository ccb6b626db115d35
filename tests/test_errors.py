"""Every error says whether to wait or to edit, and with which code the program ends."""

from __future__ import annotations

import pytest

from geoseg import errors

LEAVES = errors.GeosegError.__subclasses__()
RETRYABLE = {"OutputError", "BusyError", "ClusterError", "RemoteError", "LedgerError", "BlockError"}


def test_what_passes_by_itself() -> None:
    assert {leaf.__name__ for leaf in LEAVES if leaf.retryable} == RETRYABLE


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_exit_codes(leaf: type[errors.GeosegError]) -> None:
    own = {"BlockError": 3, "GateError": 4}
    assert leaf.exit_code == own.get(leaf.__name__, 2)
    assert leaf.__doc__
