"""The one door to databases: SQLite in a file, or PostgreSQL, and transactions that try again.

A transaction is a function of a connection. It runs again, from its start, where the database
restarts or is busy; where a commit's answer was lost it may have happened already, so each
transaction must be one that does no harm when it is done twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_chain, wait_fixed

from geoseg.errors import ConfigError, LedgerError
from geoseg.io import files

WAITS = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try: a database that restarts is back after a few."""

BUSY_SECONDS = 30
"""How long SQLite waits for another writer."""

_INIT_LOCK = 0x67656F736567
"""Of PostgreSQL's advisory locks: two that start at once must not both make the tables."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading of a clock that no two holders of a lease can have set differently."""

    clock: str
    """Which clock: the machine's since it was started, or the database's."""
    seconds: float


class Database:
    """A database, and transactions on it. Safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """``url`` as SQLAlchemy takes it. Raises ``ConfigError`` for one that cannot be used."""
        parsed = _parsed(url)
        self.name = parsed.render_as_string(hide_password=True)
        """The URL without its password, for messages."""
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite and parsed.database:
            files.make_folder(Path(parsed.database).resolve().parent)
        self._engine = _engine(parsed, self._sqlite)

    def read[Made](self, work: Callable[[Connection], Made]) -> Made:
        """Do ``work`` in a transaction that changes nothing. Raises ``LedgerError``."""
        return self._with_tries(work, writing=False)

    def write[Made](self, work: Callable[[Connection], Made]) -> Made:
        """Do ``work`` in a transaction, all of it or nothing; on SQLite one writer at a time.

        Raises ``LedgerError`` where the database does not answer after a few tries.
        """
        return self._with_tries(work, writing=True)

    def make(self, tables: MetaData, check: Callable[[Connection], None]) -> None:
        """Create the tables that are not there yet, and ``check`` what is there."""

        def create(connection: Connection) -> None:
            if not self._sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_INIT_LOCK})"))
            tables.create_all(connection)
            check(connection)

        self.write(create)

    def moment(self, connection: Connection) -> Moment:
        """Now, by the clock that leases are judged by.

        All users of a SQLite file are on one machine: its clock since the start is theirs, and no
        change of the wall clock moves it. For PostgreSQL it is the server's.
        """
        if self._sqlite:
            return Moment(_boot(), time.monotonic())
        now = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        return Moment("database", float(now))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _with_tries[Made](self, work: Callable[[Connection], Made], writing: bool) -> Made:
        tries = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_chain(*map(wait_fixed, WAITS)),
            stop=stop_after_attempt(len(WAITS) + 1),
            reraise=True,
        )
        try:
            return cast(Made, tries(self._once, work, writing))
        except (OperationalError, InterfaceError) as error:
            raise LedgerError(
                f"the ledger {self.name} does not answer: {_cause(error)}; check that the "
                "database runs and may be written, and do the same again"
            ) from None
        except DatabaseError as error:
            if not _damaged(error):
                raise
            raise ConfigError(
                f"the ledger {self.name} is damaged or no SQLite database: {_cause(error)}; put "
                "a backup in its place, or name another with 'ledger'"
            ) from None

    def _once[Made](self, work: Callable[[Connection], Made], writing: bool) -> Made:
        with self._engine.connect() as plain:
            connection = plain.execution_options(geoseg_writing=writing)
            with connection.begin():
                return work(connection)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(
            "ledger: this is no database URL; write sqlite:////folder/ledger.sqlite or "
            "postgresql+psycopg://user@host/name"
        ) from None
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise ConfigError(
            f"ledger: {parsed.drivername!r} is not supported; use sqlite or postgresql+psycopg"
        )
    return parsed


def _engine(url: URL, sqlite: bool) -> Engine:
    if sqlite:
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ledger: PostgreSQL needs the module {error.name}; pip install 'geoseg[postgres]'"
        ) from None


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # else the driver begins transactions by its own rules
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that becomes a writer half-way fails where another wrote in between; so say it first.
    writing = connection.get_execution_options().get("geoseg_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _may_pass(error: BaseException) -> bool:
    """Whether a moment's wait can help: not where access is denied or the disk is full."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    lasting = ("authentication failed", "does not exist", "readonly", "unable to open", "full")
    return not any(words in str(error.orig) for words in lasting)


def _damaged(error: DatabaseError) -> bool:
    return any(words in str(error.orig) for words in ("malformed", "is not a database"))


def _cause(error: DatabaseError | InterfaceError) -> str:
    """The driver's first line."""
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _boot() -> str:
    """Tells one start of this machine from the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "machine"
