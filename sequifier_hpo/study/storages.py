"""Storages: an Optuna RDB storage set up so that several coordinators can share it."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sequifier_hpo.config.storage_url import redacted
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.study.locks import file_lock

HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 120
_LOCK_TIMEOUT_SECONDS = 60
_ADVISORY_LOCK = 0x5E9F_1F1E  # an arbitrary number of ours; every study of a database shares it


class Storage:
    """A connected RDB storage and the lock under which studies in it are changed."""

    def __init__(self, url: str) -> None:
        """Connect, and create the tables if there are none.

        Raises:
            InputError: If the URL is not one of a supported database.
            EnvironmentFaultError: If the database cannot be reached.
        """
        self._url = _parsed(url)
        self.shown_url = redacted(url)
        self._lock_engine: Engine | None = None
        if self._url.drivername == "sqlite":
            Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
        try:
            if self._url.drivername != "sqlite":
                self._lock_engine = _postgres_lock_engine(self._url)
            # Two processes that create the tables at the same time fail without the lock.
            with self.lock():
                self.rdb = self._connect()
        except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
            raise EnvironmentFaultError(
                f"the storage {self.shown_url} cannot be opened: {_first_line(error)}",
                "check that the database runs and that the URL is right",
            ) from None
        self.cached = optuna.storages.get_storage(self.rdb)

    def lock(self) -> AbstractContextManager[None]:
        """Exclusive access to the storage's studies, across processes and hosts."""
        if self._lock_engine is None:
            return file_lock(Path(f"{self._url.database}.lock"))
        return _advisory_lock(self._lock_engine)

    def close(self) -> None:
        """Give all connections back."""
        self.rdb.remove_session()
        self.rdb.engine.dispose()
        if self._lock_engine is not None:
            self._lock_engine.dispose()

    def _connect(self) -> RDBStorage:
        is_sqlite = self._url.drivername == "sqlite"
        engine_kwargs: dict[str, Any] = (
            {"connect_args": {"timeout": _LOCK_TIMEOUT_SECONDS}}
            if is_sqlite
            else {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 1}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = RDBStorage(
                self._url.render_as_string(hide_password=False),
                engine_kwargs=engine_kwargs,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
            )
        if is_sqlite:
            _make_sqlite_transactions_immediate(storage.engine)
        else:
            event.listen(storage.engine, "connect", _use_utc)
            storage.engine.dispose()
        return storage


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError(
            "the storage is not a database URL",
            "write sqlite:///path/to/study.db or postgresql://user@host/database",
        ) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise InputError(
            f"the storage {parsed.drivername} is not supported",
            "use sqlite:///path/to/study.db or postgresql://user@host/database",
        )
    if parsed.drivername == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise InputError(
            "an SQLite storage needs a file", "write sqlite:///path/to/study.db (three slashes)"
        )
    return parsed


def _make_sqlite_transactions_immediate(engine: Engine) -> None:
    """Take the write lock when a transaction begins, and use the write-ahead log.

    Without it SQLite has no row locks, and two processes may both win the same trial. Attached
    after the storage was built: Alembic's nested connections would deadlock.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_LOCK_TIMEOUT_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()


def _use_utc(connection: Any, _record: Any) -> None:
    """Heartbeats are compared in the session's time zone, so all sessions must share one."""
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute("SET TIME ZONE 'UTC'")
    connection.autocommit = autocommit


def _postgres_lock_engine(url: URL) -> Engine:
    from sqlalchemy import create_engine  # noqa: PLC0415 - loads the driver, for Postgres only

    return create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        # A host that vanishes must not hold the lock for the two hours of the default keepalive.
        connect_args={"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
    )


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().split("\n")[0]
