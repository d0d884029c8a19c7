"""Machines made of namespaces, with a database server between them, and what disturbs them.

Each host has a network, a name and a boot id of its own; all that connects them is a bridge on
which the server listens. We look on by the server's socket, past the network.
"""

import os
import pwd
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from sequifier_hpo.study.storages import GRACE_SECONDS
from tests.end_to_end.conftest import Project
from tests.postgres_server import PASSWORD, PostgresServer
from tests.process.chaos import Coordinator, StoredTrials
from tests.process.history import Operation, violations

_NOBODY = "02:00:00:00:00:99"
"""An Ethernet address that nobody has: what is sent there is lost without a word."""
_SERVER = "10.77.0.1"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_DEADLINE_SECONDS = 180.0
_NO_STORAGE = 3
"""Exit code of a search that cannot reach its storage when it starts."""
_HISTORY = """
CREATE TABLE history (
    number bigserial, kind text, trial_id int, host text, epoch int, loss float8, silence float8);
CREATE FUNCTION note_trial() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO history (kind, trial_id, host)
            VALUES ('claim', NEW.trial_id, host(inet_client_addr()));
    ELSIF OLD.state = 'RUNNING' AND NEW.state <> 'RUNNING' THEN
        INSERT INTO history (kind, trial_id, host, silence) VALUES (
            CASE NEW.state::text
                WHEN 'COMPLETE' THEN 'complete' WHEN 'PRUNED' THEN 'prune' ELSE 'fail' END,
            NEW.trial_id, host(inet_client_addr()),
            (SELECT extract(epoch FROM now() AT TIME ZONE 'UTC' - max(heartbeat))
                FROM trial_heartbeats h WHERE h.trial_id = NEW.trial_id));
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO history (kind, trial_id, host, epoch, loss) VALUES (
        'report', NEW.trial_id, host(inet_client_addr()), NEW.step, NEW.intermediate_value);
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON trials FOR EACH ROW EXECUTE FUNCTION note_trial();
CREATE TRIGGER note AFTER INSERT ON trial_intermediate_values
    FOR EACH ROW EXECUTE FUNCTION note_step();
"""
_READ_HISTORY = """
SELECT h.kind, (a.value_json::json)->>'key', h.trial_id, h.host, h.epoch,
    coalesce(h.loss, (SELECT v.value FROM trial_values v
        WHERE v.trial_id = h.trial_id AND h.kind IN ('complete', 'prune'))), h.silence
FROM history h JOIN trial_system_attributes a
    ON a.trial_id = h.trial_id AND a.key = 'sequifier_hpo:tag' ORDER BY h.number
"""


def why_not() -> str | None:
    """Why there can be no hosts here; None = they can be made."""
    if os.geteuid() != 0:
        return "namespaces take the rights of root"
    if shutil.which("ip") is None:
        return "there is no program `ip` (iproute2)"
    name = f"probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "no network namespace can be made here"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return None


def _ip(*words: str, inside: str = "") -> None:
    where = ["-n", inside] if inside else []
    subprocess.run(["ip", *where, *words], check=True, capture_output=True)


@dataclass
class Host:
    """A machine of its own, as far as programs can tell."""

    name: str
    namespace: str
    address: str
    bridge: str
    """Namespace of the server."""
    folder: Path
    coordinator: Coordinator | None = None

    def command(self, *words: str) -> list[str]:
        """A command that is carried out there."""
        boot_id = self.folder / f"{self.name}-boot-id"
        boot_id.write_text(f"{uuid.uuid4()}\n")  # each start is one of the machine
        enter = f'hostname {self.name} && mount --bind {boot_id} {_BOOT_ID} && exec "$@"'
        outside = ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "--mount"]
        return [*outside, "sh", "-c", enter, "sh", *words]

    def start(self, project: Project, file: str, url: str, workers: int) -> None:
        """Start a search there."""
        code = "from sequifier_hpo.cli.entry import sequifier_hpo; sequifier_hpo()"
        options = ("--config-path", file, "--storage", url, "--workers", str(workers))
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.coordinator = Coordinator(
                subprocess.Popen(
                    self.command(sys.executable, "-c", code, "hyperparameter-search", *options),
                    cwd=project.root,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def said(self) -> str:
        """The end of what its searches have said."""
        return (self.folder / f"{self.name}.log").read_text()[-3000:]

    @property
    def is_up(self) -> bool:
        """Whether its search runs."""
        return self.coordinator is not None and self.coordinator.process.poll() is None

    def cut(self, direction: str) -> None:
        """Lose what it sends (`to`), what it is sent (`from`), or `both`."""
        if direction != "from":
            self._neighbour(_SERVER, self.namespace, _NOBODY)
        if direction != "to":
            self._neighbour(self.address, self.bridge, _NOBODY)

    def heal(self) -> None:
        """Lose nothing any more."""
        for where, address in ((self.namespace, _SERVER), (self.bridge, self.address)):
            words = ["ip", "-n", where, "neigh", "flush", "to", address, "nud", "permanent"]
            subprocess.run(words, check=False, capture_output=True)

    @staticmethod
    def _neighbour(address: str, inside: str, link_address: str) -> None:
        device = "bridge" if address != _SERVER else "eth0"
        words = ["neigh", "replace", address, "lladdr", link_address, "dev", device]
        _ip(*words, "nud", "permanent", inside=inside)


class ServerBetween(PostgresServer):
    """A Postgres on the bridge; we ourselves use its socket."""

    listens_on = _SERVER

    def __init__(self, folder: Path, namespace: str) -> None:
        """Start it inside a network namespace."""
        self.sockets = str(folder.parent)
        nobody = pwd.getpwnam("nobody")
        user = (f"--setuid={nobody.pw_uid}", f"--setgid={nobody.pw_gid}")
        self.command = ("nsenter", f"--net=/run/netns/{namespace}", *user, "--")
        super().__init__(folder)

    def start(self) -> None:
        """Start the server, which lets in who comes over the bridge."""
        rules = self.folder / "data/pg_hba.conf"
        if _SERVER not in rules.read_text():
            rules.write_text(f"{rules.read_text()}host all all {_SERVER}/24 scram-sha-256\n")
        super().start()

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection of our own, past the network."""
        return psycopg.connect(self.socket_url(database), autocommit=True)

    def socket_url(self, database: str) -> str:
        """The storage as we see it."""
        return f"postgresql://tester:{PASSWORD}@/{database}?host={self.sockets}&port={self.port}"


@contextmanager
def two_hosts() -> Iterator["Network"]:
    """Two hosts and a server; all is gone afterwards."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)  # the server may run as another user
    tag = f"hpo{os.getpid()}"
    names = (bridge := f"{tag}-db", f"{tag}-north", f"{tag}-south")
    network = None
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("link", "set", "lo", "up", inside=name)
        _ip("link", "add", "bridge", "type", "bridge", inside=bridge)
        _ip("addr", "add", f"{_SERVER}/24", "dev", "bridge", inside=bridge)
        _ip("link", "set", "bridge", "up", inside=bridge)
        hosts = []
        for number, name in enumerate(("north", "south"), 2):
            host = Host(name, f"{tag}-{name}", f"10.77.0.{number}", bridge, folder)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", inside=bridge)
            _ip("link", "set", "eth0", "netns", host.namespace, inside=bridge)
            _ip("link", "set", name, "master", "bridge", "up", inside=bridge)
            _ip("addr", "add", f"{host.address}/24", "dev", "eth0", inside=host.namespace)
            _ip("link", "set", "eth0", "up", inside=host.namespace)
            hosts.append(host)
        network = Network(ServerBetween(folder / "server", bridge), hosts)
        yield network
    finally:
        if network is not None:
            network.end()
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Network:
    """The hosts and their server."""

    server: ServerBetween
    hosts: list[Host]

    def end(self) -> None:
        """End everything that still runs."""
        for host in self.hosts:
            if host.is_up and host.coordinator is not None:
                host.coordinator.kill_all()
        self.server.stop()


@dataclass
class Disturbed:
    """A search of both hosts, and what happens to it."""

    network: Network
    project: Project
    file: str
    name: str
    random: random.Random
    workers: int = 1
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        server = self.network.server
        self.url = server.new_database(self.name)
        self.stored = StoredTrials(server.socket_url(self.name))
        self._has_history = False

    def start(self) -> None:
        """Start the search wherever it does not run."""
        for host in self.network.hosts:
            if not host.is_up:
                host.start(self.project, self.file, self.url, self.workers)
        if not self._has_history:
            self._watch()

    def _watch(self) -> None:
        """Let the server write down what it is told, from the first trial on."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        with self.network.server.connect(self.name) as connection:
            while True:
                try:
                    with connection.transaction():
                        connection.execute("LOCK TABLE trials IN ACCESS EXCLUSIVE MODE")
                        assert not connection.execute("SELECT 1 FROM trials").fetchall()
                        connection.execute(_HISTORY)
                except psycopg.errors.UndefinedTable:
                    assert time.monotonic() < deadline, self.network.hosts[0].said()
                    assert all(host.is_up for host in self.network.hosts)
                    time.sleep(0.02)
                else:
                    break
        self._has_history = True

    def disturb(self, num_faults: int, num_results: int) -> None:
        """Let one thing happen after the other, until all results are there."""
        kinds = [self._cut_off, self._cut_off, self._cut_off_for_long, self._vanish]
        kinds += [self._stop_server, self._move_clock]
        while len(self.faults) < num_faults and self.stored.num_results() < num_results:
            self.start()
            moment = self.random.choice(["claim", "report", "complete", "any"])
            before, until = self.num_of(moment), time.monotonic() + self.random.uniform(0.0, 6.0)
            while time.monotonic() < until and self.num_of(moment) <= before:
                time.sleep(0.005)
            if self.stored.most_losses() >= 4:
                break  # once more, and the run would rightly be given up
            fault = self.random.choice(kinds)(self.random.choice(self.network.hosts))
            self.faults.append(f"{fault} at {moment}")

    def _cut_off(self, host: Host) -> str:
        direction = self.random.choice(["to", "from", "both"])
        host.cut(direction)
        time.sleep(self.random.choice([0.2, 1.0, 4.0, 12.0]))
        host.heal()
        return f"{host.name} cut off ({direction})"

    def _cut_off_for_long(self, host: Host) -> str:
        direction = self.random.choice(["to", "both"])
        host.cut(direction)
        self.age_heartbeats(600, host)
        time.sleep(self.random.uniform(0.5, 8.0))
        host.heal()
        return f"{host.name} cut off ({direction}) for longer than the grace period"

    def _vanish(self, host: Host) -> str:
        if host.is_up and host.coordinator is not None:
            host.coordinator.kill_all()
        self.age_heartbeats(600, host)
        time.sleep(self.random.choice([0.0, 2.0]))
        return f"{host.name} vanished"

    def _stop_server(self, host: Host) -> str:
        how = self.random.choice([self.network.server.kill, self.network.server.stop])
        self.restart_server(how, self.random.choice([0.0, 1.0, 5.0]))
        return "the server crashed" if how == self.network.server.kill else "the server stopped"

    def restart_server(self, end: Callable[[], None], seconds: float = 0.0) -> None:
        """End the server, and start it from its files after a while."""
        self.stored.close()
        end()
        time.sleep(seconds)
        self.network.server.start()
        self.stored = StoredTrials(self.network.server.socket_url(self.name))

    def _move_clock(self, host: Host) -> str:
        seconds = self.random.choice([-3600, 30, 3600])
        self.age_heartbeats(seconds)
        return f"the server's clock moved by {seconds} s"

    def history(self) -> list[Operation]:
        """What the server was told."""
        return [Operation(*row) for row in self.stored.rows(_READ_HISTORY)]

    def violations(self) -> list[str]:
        """What of it must not have been."""
        return violations(self.history(), GRACE_SECONDS)

    def age_heartbeats(self, seconds: int, host: Host | None = None) -> None:
        """What happens when the server's clock moves; of one host: when it is cut off for long."""
        of_host = (
            "WHERE trial_id IN (SELECT trial_id FROM history WHERE kind = 'claim' AND host = %s)"
        )
        query = f"UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '{seconds} seconds' "
        with self.network.server.connect(self.name) as connection:
            if host is None:
                connection.execute(query.encode())
            else:
                connection.execute((query + of_host).encode(), (host.address,))

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Until something holds."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {what}; {self.faults}"
            time.sleep(0.02)

    def num_of(self, kind: str, host: Host | None = None) -> int:
        """Operations of a kind so far, of one host or of all."""
        where = f"WHERE kind = '{kind}'" + (f" AND host = '{host.address}'" if host else "")
        ((number,),) = self.stored.rows(f"SELECT count(*) FROM history {where}") or [(0,)]
        return int(number)

    def holds(self, host: Host) -> bool:
        """Whether a host has a run."""
        query = (
            f"SELECT 1 FROM history c WHERE kind = 'claim' AND host = '{host.address}' AND NOT EXISTS "
            "(SELECT 1 FROM history e WHERE e.trial_id = c.trial_id AND e.kind IN ('complete', 'fail'))"
        )
        return bool(self.stored.rows(query))

    def finish(self) -> None:
        """Let everything be well, and wait for the end."""
        for host in self.network.hosts:
            host.heal()
        self.start()
        for host in self.network.hosts:
            code = self._end_of(host)
            while code == _NO_STORAGE:  # it was started while it was cut off: start it again
                host.start(self.project, self.file, self.url, self.workers)
                code = self._end_of(host)
            assert code == 0, host.said()

    @staticmethod
    def _end_of(host: Host) -> int:
        assert host.coordinator is not None, "it was started"
        return host.coordinator.process.wait(GRACE_SECONDS + _DEADLINE_SECONDS)
