"""A ledger on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg.config.service import ServiceConfig
from geoseg.service.ledger.ledger import Ledger
from tests.support.ledgers import empty, make_service
from tests.support.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> ServiceConfig:
    """A service with an empty ledger."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("server").url
        empty(url)
    return make_service(tmp_path, url)


@pytest.fixture
def ledger(service: ServiceConfig) -> Iterator[Ledger]:
    with Ledger.open(service) as opened:
        yield opened
