"""A real Slurm with three nodes on one machine."""

import os
import shutil
import signal
import socket
import uuid
from pathlib import Path

from tests.cluster.shell import Daemons, attempt, descendants, kill, run, wait

NODES = ("n1", "n2", "n3")
OTHER_HOST = "n3"
"""The node that runs under another host name: another machine to our program."""
_PORT = 17001
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Slurm:
    """A controller and the daemons of its nodes, as processes of ours."""

    def __init__(self, folder: Path, *, affinity: bool = False) -> None:
        """Nothing is started yet.

        Args:
            folder: For its files; made anew.
            affinity: Whether jobs are bound to cores. A node then has as many as this machine,
                otherwise four.
        """
        self.folder = folder
        self._affinity = affinity
        self._cpus = (os.cpu_count() or 1) if affinity else 4
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._daemons = Daemons(folder / "logs")
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._nodes: dict[str, int] = {}

    @staticmethod
    def what_is_missing() -> list[str]:
        """Programs that are needed and not installed."""
        programs = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol")
        path = f"{os.environ['PATH']}:/usr/sbin"
        return [name for name in programs if shutil.which(name, path=path) is None]

    def version(self) -> str:
        """As Slurm says it."""
        return run("sinfo", "--version", env=self.env).strip()

    def start(self) -> None:
        """Start everything, and wait until all nodes are idle."""
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        if attempt("munge", "-n").returncode != 0:
            self._daemons.start("munged", "runuser", "-u", "munge", "--", "munged", "--foreground")
            wait("munge answers", lambda: attempt("munge", "-n").returncode == 0, 20)
        self._write_configuration()
        self._daemons.start("slurmctld", "slurmctld", "-D", "-c", env=self.env)
        for name in NODES:
            self.start_node(name)
        self.wait_until_idle()

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        command = ["slurmd", "-D", "-N", name]
        if name == OTHER_HOST:
            # A name and a boot id of its own: a second machine, as far as programs can tell.
            other = self.folder / "boot-id"
            other.write_text(f"{uuid.uuid4()}\n")
            own = f'hostname host-of-{name} && mount --bind {other} {_BOOT_ID} && exec "$@"'
            command = ["unshare", "--uts", "--mount", "sh", "-c", own, "sh", *command]
        self._nodes[name] = self._daemons.start(name, *command, env=self.env)

    def kill_node(self, name: str) -> None:
        """What a power cut does to a node: all its processes are gone at once."""
        ours = [self._nodes[name], *self._of_node(name)]
        kill(ours)
        self._daemons.end(name, signal.SIGKILL)

    def _of_node(self, name: str) -> list[int]:
        """Processes of the jobs on a node: they are marked by their environment."""
        marked = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"SLURMD_NODENAME={name}".encode() in environ.read_bytes().split(b"\0"):
                    marked.append(int(environ.parent.name))
            except OSError:
                continue
        stepds = {parent for pid in marked if (parent := _parent_stepd(pid))}
        return [*stepds, *marked, *(p for pid in stepds for p in descendants(pid))]

    def wait_until_idle(self, seconds: float = 60) -> None:
        """Wait until no node is busy or down: a job that comes earlier may wait for ever."""
        wait("all nodes are idle", lambda: set(self._states()) == {"idle"}, seconds)

    def _states(self) -> list[str]:
        done = attempt("sinfo", "--noheader", "--Node", "--format=%T", env=self.env)
        return done.stdout.split()

    def stop(self) -> None:
        """End all jobs and all daemons."""
        attempt("scancel", "--user=root", env=self.env)
        self._daemons.end_all()

    def _write_configuration(self) -> None:
        folder, host = self.folder, socket.gethostname()
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={_PORT + number} "
            f"CPUs={self._cpus} Sockets=1 CoresPerSocket={self._cpus} ThreadsPerCore=1 "
            "RealMemory=4000 Gres=gpu:1 State=UNKNOWN"
            for number, name in enumerate(NODES)
        )
        (folder / "slurm.conf").write_text(f"""ClusterName=three
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={_PORT - 1}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/{"affinity" if self._affinity else "none"}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SlurmdParameters=config_overrides
SlurmdTimeout=30
ReturnToService=2
SchedulerParameters=bf_interval=5,sched_interval=5
KillWait=10
MpiDefault=none
{nodes}
PartitionName=all Nodes={",".join(NODES)} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
""")
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        (folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File=/dev/null\n")
        (folder / "state").mkdir()


def _parent_stepd(pid: int) -> int | None:
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        is_stepd = Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd"
    except OSError:
        return None
    return parent if is_stepd else None
