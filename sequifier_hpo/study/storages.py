"""Storages: an Optuna RDB storage set up so that several coordinators can share it."""

import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from sequifier_hpo.config.storage_url import sqlite_path, sqlite_url
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.file_lock import file_lock
from sequifier_hpo.plain_files import what_else
from sequifier_hpo.redaction import redacted_url
from sequifier_hpo.study.shared_file import advice_on, make_for_group
from sequifier_hpo.study.sqlite_file import connect_to_read, connect_to_write
from sequifier_hpo.study.stored import StoredValueError
from sequifier_hpo.words import first_line

HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 120
_OPENING_SECONDS = 60
"""A lock held by someone else for less than this does not keep a search from starting."""
_LOCK_SECONDS = 10
"""How long a running search waits for a lock before it continues with its other work."""
_ADVISORY_LOCK = 0x5E9F_1F1E  # an arbitrary number of ours; every study of a database shares it
_READ_ONLY = "sequifier_hpo_read_only"

T = TypeVar("T")


class StudyMissingError(InputError):
    """The storage holds no study of that name."""


class StorageFaultError(EnvironmentFaultError):
    """The storage cannot be used now; the same call may succeed later."""


class Storage:
    """A connected RDB storage, and the transactions in it."""

    def __init__(self, url: str, *, is_for_reading: bool = False) -> None:
        """Connect, and create the tables if there are none.

        Args:
            url: Where it is.
            is_for_reading: Whether nothing is written or created. On SQLite, readers and writers,
                Optuna's own included, then never wait for each other.

        Raises:
            InputError: If the URL is not one of a supported database.
            StudyMissingError: If there is nothing to read yet.
            EnvironmentFaultError: If the database cannot be reached.
        """
        self._url = _parsed(url)
        self._file = sqlite_path(url)
        self._is_for_reading = is_for_reading
        self.shown_url = redacted_url(url)
        self._lock_engine: Engine | None = None
        try:
            self.rdb = self._opened()
        except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError, sqlite3.Error) as error:
            raise EnvironmentFaultError(
                f"the storage {self.shown_url} cannot be opened: {_cause_of(error)}",
                self._advice(error),
            ) from None
        except RuntimeError as error:  # Optuna's word for tables of another version
            raise EnvironmentFaultError(
                f"the storage {self.shown_url} was made by another version of Optuna, or changed "
                f"by someone else: {first_line(error)}",
                f"update sequifier-hpo and optuna, or {self._restore}",
            ) from None
        except ImportError:
            raise EnvironmentFaultError(
                "the driver for Postgres is not installed",
                "pip install 'sequifier-hpo[postgres]'",
            ) from None
        self._inode = _inode_of(self._file)
        self.cached = optuna.storages.get_storage(self.rdb)

    def _opened(self) -> RDBStorage:
        if self._file is not None:
            _require_plain_files(self._file)
        if self._is_for_reading:
            self._require_tables()
            return self._connect()
        if self._file is None:
            self._lock_engine = _postgres_engine(self._url)
        else:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        # Two processes that create the tables at the same time fail without the lock.
        with self.lock():
            if self._file is not None:
                make_for_group(self._file)
            return self._connect()

    def lock(self) -> AbstractContextManager[None]:
        """Exclusive right to create tables and studies, across processes and hosts."""
        if self._lock_engine is None:
            return file_lock(Path(f"{self._file}.lock"), _OPENING_SECONDS)
        return _advisory_lock(self._lock_engine)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that changes something; on SQLite it has the write lock from its start.

        Raises:
            StorageFaultError: If it cannot be begun, carried out or committed. Whether a commit
                that failed took effect is not known.
            EnvironmentFaultError: If the file of the storage is gone.
        """
        self._require_the_file()
        with self.faults(), self.rdb.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite nobody is kept waiting.

        Raises:
            StorageFaultError: If the storage cannot be read.
        """
        with self.faults(), self.rdb.engine.connect() as connection:
            connection = connection.execution_options(**{_READ_ONLY: True})
            with connection.begin():
                yield connection

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn the errors of a database that is gone, locked or full into one exception.

        Raises:
            StorageFaultError: In these cases; mistakes of ours stay what they are.
            EnvironmentFaultError: If it is damaged: waiting would not help.
        """
        try:
            yield
        except StoredValueError as error:
            raise EnvironmentFaultError(
                f"the storage {self.shown_url} is damaged, or was changed by someone else: {error}",
                self._restore,
            ) from error
        except optuna.exceptions.StorageInternalError as error:
            self._give_up_if_damaged(error.__cause__)
            if not _is_fault(error.__cause__):
                raise
            raise self._fault(error) from None
        except (SQLAlchemyError, OSError) as error:
            self._give_up_if_damaged(error)
            if not _is_fault(error):
                raise
            raise self._fault(error) from None

    def patiently(self, call: Callable[[], T]) -> T:
        """Repeat a call while the storage cannot be used, for a minute.

        Raises:
            StorageFaultError: If that was not enough.
        """
        deadline = time.monotonic() + _OPENING_SECONDS
        while True:
            try:
                return call()
            except StorageFaultError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def close(self) -> None:
        """Close all connections."""
        self.rdb.remove_session()
        self.rdb.engine.dispose()
        if self._lock_engine is not None:
            self._lock_engine.dispose()

    def _require_the_file(self) -> None:
        """A deleted file that is still open can be written to forever, and the data would be lost.

        Raises:
            EnvironmentFaultError: If the file is gone, or another one has taken its place.
        """
        if self._inode is not None and _inode_of(self._file) != self._inode:
            raise EnvironmentFaultError(
                f"the storage {self.shown_url} was deleted or replaced while in use",
                "restore the file, or start again to create a new study",
            )

    def _give_up_if_damaged(self, error: BaseException | None) -> None:
        if _is_damaged(error):
            raise EnvironmentFaultError(
                f"the storage {self.shown_url} is damaged: {_cause_of(error)}",
                self._advice(error),
            ) from None

    def _advice(self, error: BaseException) -> str:
        if self._file is None:
            return "check that the database is running and that the URL is correct"
        if not self._is_for_reading and (advice := advice_on(self._file, error)):
            return advice
        if _is_damaged(error):
            return self._restore
        if self._is_for_reading:
            return f"check that {self._file} is readable, and that the path is correct"
        return (
            f"check that {self._file.parent} is writable and has free space, "
            "and that the path is correct"
        )

    @property
    def _restore(self) -> str:
        """What to do about a database that is of no use any more."""
        what = "the database" if self._file is None else self._file
        return (
            f"restore {what} from a backup, or move it away to start a new study; "
            "models, run files and results.csv of the runs so far are still there"
        )

    def _fault(self, error: BaseException) -> StorageFaultError:
        return StorageFaultError(
            f"the storage {self.shown_url} cannot be used: {_cause_of(error)}",
            (self._file and advice_on(self._file, error))
            or "check the database; the same command resumes the search",
        )

    def _require_tables(self) -> None:
        """Who only reads makes none; Optuna would write into the last one if it was empty.

        Raises:
            StudyMissingError: If they are not complete.
        """
        engine = create_engine(self._url, **self._engine_arguments())
        try:
            if not inspect(engine).has_table("alembic_version"):
                raise StudyMissingError(
                    f"there is no study in {self.shown_url}", "studies there: none"
                )
        finally:
            engine.dispose()

    def _connect(self) -> RDBStorage:
        # Optuna takes a text, not a URL, and fills it in as a template.
        url = self._url.render_as_string(hide_password=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = RDBStorage(
                url.replace("{", "{{").replace("}", "}}"),
                engine_kwargs=self._engine_arguments(),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                skip_table_creation=self._is_for_reading,
            )
        if self._file is not None:
            _prepare_sqlite(storage.engine, is_for_reading=self._is_for_reading)
        else:
            event.listen(storage.engine, "connect", _prepare_postgres_session)
            storage.engine.dispose()
        return storage

    def _engine_arguments(self) -> dict[str, Any]:
        if self._file is None:
            return _postgres_engine_arguments()
        # The very file, whatever its name: no text of a URL comes between.
        if self._is_for_reading:
            # Each transaction looks at the file anew, which nobody may have been using until now.
            connect = partial(connect_to_read, self._file, _OPENING_SECONDS)
            return {"creator": connect, "poolclass": NullPool}
        return {"creator": partial(connect_to_write, self._file, _OPENING_SECONDS)}


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # the latter for a port that is no number
        raise InputError(
            "the storage is not a database URL",
            "write sqlite:///path/to/study.db or postgresql://user@host/database; in a password, "
            "special characters are percent-encoded: %40 for @, %3A for :, %2F for /, %23 for #, "
            "%3F for ?, %25 for %",
        ) from error
    if parsed.drivername != "sqlite" and "@" in f"{parsed.host}{parsed.database}":
        # What is taken for the host's name is the end of a password: no driver may show it.
        raise InputError(
            "the storage is not a database URL: it has more than one @",
            "write an @ within a password as %40 (and : as %3A, / as %2F, # as %23, % as %25)",
        )
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


def _require_plain_files(database: Path) -> None:
    """Make sure that SQLite, which follows links and waits for pipes, finds none.

    Raises:
        EnvironmentFaultError: If it would.
    """
    for ending in ("", "-journal", "-wal", "-shm", ".lock"):
        path = Path(f"{database}{ending}")
        kind = what_else(path, follows_links=False)
        if kind is not None:
            fix = f"look at {path}, and remove it if nobody needs it"
            if path.is_file() and not ending:
                fix = f"name the file itself: --storage {sqlite_url(path.resolve())}"
            raise EnvironmentFaultError(f"{path} is {kind}, not a file of a study", fix)


def _inode_of(file: Path | None) -> int | None:
    """What tells a file of SQLite from another one of the same name; None if there is none."""
    try:
        return None if file is None else file.stat().st_ino
    except OSError:
        return None


def _prepare_sqlite(engine: Engine, *, is_for_reading: bool) -> None:
    """Use the write-ahead log, and take the write lock when a transaction begins that may write.

    SQLite has no row locks: without the lock two processes may both win the same trial. Attached
    after the storage was built: Alembic's nested connections would deadlock.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_LOCK_SECONDS * 1000}")
        if not is_for_reading:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        is_reading = is_for_reading or connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    engine.dispose()


def _prepare_postgres_session(connection: Any, _record: Any) -> None:
    """Settings that must be the same for all: heartbeats are compared in the session's zone."""
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
    # A coordinator that is frozen in the middle of a transaction must not keep its locks.
    connection.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.autocommit = autocommit


def _postgres_engine_arguments() -> dict[str, Any]:
    return {
        "pool_pre_ping": True,
        "pool_size": 1,
        "max_overflow": 2,
        # A host that vanishes is noticed in seconds and not in the two hours of the defaults.
        "connect_args": {
            "connect_timeout": 5,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            # Of a database in SQL_ASCII, the driver would give bytes for text.
            "client_encoding": "utf8",
        },
    }


def _postgres_engine(url: URL) -> Engine:
    return create_engine(url, **_postgres_engine_arguments())


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield
    # An idle connection for a lock that is needed once would be one too many on a busy server.
    engine.dispose()


def _is_damaged(error: BaseException | None) -> TypeGuard[DBAPIError]:
    """Whether a file is not, or no longer, an SQLite database."""
    return isinstance(error, DBAPIError) and type(error.orig) is sqlite3.DatabaseError


def _is_fault(error: BaseException | None) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    kinds = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)
    return isinstance(error, kinds)


def _cause_of(error: BaseException) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, DBAPIError) and cause.orig is not None:
        cause = cause.orig
    return first_line(cause)
