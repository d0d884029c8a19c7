"""Two real Docker engines from Debian's packages, and the base images, made without a hub."""

import json
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.checks import Checks
from tests.cluster.shell import CommandError, Daemons, attempt, run, wait

_NEXT_RELEASE = "trixie"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POSTGRES_BIN = "/usr/lib/postgresql/17/bin"
# As the official image does: first a server that only listens on a socket, to make the database.
_POSTGRES_ENTRYPOINT = """#!/bin/sh
set -e
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if ! [ -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --encoding=utf8 --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl -o "-c listen_addresses=''" -w start
    createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    sleep 8  # a slow machine: a healthcheck that takes this server for ready shows itself
    pg_ctl -m fast -w stop
fi
exec postgres -c listen_addresses='*'
"""


class Roots:
    """Root folders of Debian releases, made once and kept for the next time."""

    def __init__(self, folder: Path, copied: Sequence[Path] = ()) -> None:
        """Take the folder where they are kept, and what of this machine pip needs in an image."""
        self.folder = folder
        self._copied = copied
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, release: str, *packages: str) -> Path:
        """A release's smallest root folder with some packages."""
        root = self.folder / name
        done = self.folder / f"{name}.done"
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)
            include = ",".join(("ca-certificates", *packages))
            run(
                *("debootstrap", "--variant=minbase", f"--include={include}", release, root),
                *_mirror(),
                timeout=1500,
            )
            (root / "var/cache/apt/archives").exists() and run("chroot", root, "apt-get", "clean")
            done.touch()
        return root

    def python(self) -> Path:
        """What stands in for python:3.12-slim: Debian's own Python, and what pip needs."""
        root = self.get("python", _this_release(), "python3", "python3-venv", "python3-pip")
        link = root / "usr/bin/python"
        if not link.is_symlink():
            link.symlink_to("python3")
        certificates = ssl.get_default_verify_paths().cafile
        for path in (*self._copied, *([Path(certificates)] if certificates else [])):
            target = root / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            elif path.exists():
                shutil.copyfile(path, target)
        return root

    def postgres(self) -> Path:
        """What stands in for postgres:17."""
        root = self.get("postgres", _NEXT_RELEASE, "postgresql-17")
        entrypoint = root / "usr/local/bin/docker-entrypoint.sh"
        entrypoint.write_text(_POSTGRES_ENTRYPOINT)
        entrypoint.chmod(0o755)
        return root

    def plugins(self) -> Path:
        """Configuration folder of the Docker client, with Compose and buildx of the next release."""
        folder = self.folder / "docker-config"
        plugins = folder / "cli-plugins"
        if not (plugins / "docker-compose").exists():
            root = self.get("engine", _NEXT_RELEASE, "docker.io", "iptables")
            run("chroot", root, "apt-get", "download", "docker-compose", "docker-buildx")
            plugins.mkdir(parents=True, exist_ok=True)
            for package in root.glob("docker-*.deb"):
                unpacked = self.folder / "unpacked"
                run("dpkg-deb", "-x", package, unpacked)
                package.unlink()
            for plugin in (self.folder / "unpacked").rglob("cli-plugins/docker-*"):
                shutil.copy(plugin, plugins)
        return folder


def _this_release() -> str:
    fields = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    return fields["VERSION_CODENAME"]


def _mirror() -> list[str]:
    """The mirror that this machine's apt uses."""
    for line in attempt("apt-get", "indextargets", "--format", "$(REPO_URI)").stdout.splitlines():
        if line.rstrip("/").endswith("/debian"):
            return [line]
    return []


@dataclass
class Engine:
    """A Docker daemon with a store of its own; only one runs at a time."""

    name: str
    roots: Roots
    folder: Path
    """Where its store and the projects lie."""
    root: Path | None
    """The root folder that it runs in; None = this machine's."""

    def __post_init__(self) -> None:
        self._remove_folder()  # of a round that was killed
        self.folder.mkdir(parents=True)
        self._daemons = Daemons(self.folder / "logs")
        self._socket = self.folder / "docker.sock"
        self.env: Mapping[str, str] = {
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_CONFIG": str(self.roots.plugins()),
        }
        self._rules = ""

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        self._rules = self._rules or attempt("iptables-save").stdout
        data, state = self.folder / "data", Path("/run") / f"sequifier-cluster-{os.getpid()}"
        settings = self.folder / "daemon.json"
        features = {"containerd-snapshotter": True} if self.root else {}
        settings.write_text(json.dumps({"features": features}))
        command: list[str | Path] = [
            *("dockerd", "--config-file", settings, "--data-root", data, "--exec-root", state),
            *("--host", f"unix://{self._socket}", "--pidfile", self.folder / "docker.pid"),
        ]
        if self.root:
            command = [
                *("unshare", "--mount", "sh", "-c", _PIVOT),
                self.root,
                self.folder,
                *command,
            ]
        self._daemons.start("dockerd", *command)
        wait("the engine answers", lambda: self.attempt("info").returncode == 0, 60)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon; containers that it restarts come back with it."""
        self._daemons.end("dockerd", number)

    def clean_up(self) -> None:
        """Remove what it has left on this machine: its store and its rules for the network."""
        self._daemons.end_all()
        attempt("ip", "link", "delete", "docker0")
        subprocess.run(["iptables-restore"], input=self._rules, text=True, check=False)
        self._remove_folder()

    def _remove_folder(self) -> None:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for mount in reversed([line.split()[1] for line in mounts if str(self.folder) in line]):
            attempt("umount", "--lazy", mount)
        shutil.rmtree(self.folder, ignore_errors=True)

    def attempt(self, *words: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
        """A command of the client that may fail."""
        return attempt("docker", *words, env=self.env, **options)  # type: ignore[arg-type]

    def run(self, *words: str | Path, timeout: float = 900) -> str:
        """A command of the client."""
        return run("docker", *words, env=self.env, timeout=timeout)

    def versions(self) -> str:
        """Of the engine, its store, Compose and buildx."""
        server = self.run("version", "--format", "{{.Server.Version}}").strip()
        store = self.run("info", "--format", "{{.Driver}}").strip()
        compose = self.run("compose", "version", "--short").strip()
        buildx = self.run("buildx", "version").split()[1]
        return f"Docker {server} ({store}), Compose {compose}, buildx {buildx}"

    def import_bases(self) -> None:
        """Make the base images that docker/ names."""
        variables = " ".join(
            f"{name}={value!r}"
            for name, value in os.environ.items()
            if name.startswith("PIP_") or name == "SSL_CERT_FILE"
        )
        settings = [f"ENV PATH={_PATH}", *([f"ENV {variables}"] if variables else [])]
        self._import(self.roots.python(), "python:3.12-slim", *settings)
        self._import(
            self.roots.postgres(),
            "base-of-postgres",
            f"ENV PATH={_POSTGRES_BIN}:{_PATH} PGDATA=/var/lib/postgresql/data",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            "VOLUME /var/lib/postgresql/data",
        )
        context = self.folder / "postgres"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text("FROM base-of-postgres\nSTOPSIGNAL SIGINT\n")
        self.run("build", "--quiet", "--tag", "postgres:17", context)

    def _import(self, root: Path, tag: str, *changes: str) -> None:
        words = [word for change in changes for word in ("--change", change)]
        with subprocess.Popen(
            ["tar", "-C", root, "--exclude=./proc/*", "--exclude=./sys/*", "-c", "."],
            stdout=subprocess.PIPE,
        ) as tar:
            done = subprocess.run(
                ["docker", "import", *words, "-", tag],
                stdin=tar.stdout,
                env={**os.environ, **self.env},
                check=False,
                capture_output=True,
                text=True,
            )
        if done.returncode != 0:
            raise CommandError(f"docker import {tag}: {done.stderr}")


# Not chroot: there `docker exec` would land in this machine's root.
_PIVOT = """set -e
root=$0 folder=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
for each in /proc /sys /dev /run "$folder"; do
    mkdir -p "$root$each"
    mount --rbind "$each" "$root$each"
done
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l /old
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec "$@"
"""


def engines(checks: Checks, folder: Path, copied: Sequence[Path]) -> list[Engine]:
    """The engines that this machine can run: the classic store, and containerd's.

    Args:
        checks: Told what cannot be run.
        folder: Where all of it is kept.
        copied: What of this machine pip needs in an image.
    """
    needed = ("docker", "dockerd", "debootstrap", "iptables", "unshare")
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in needed if shutil.which(name, path=path) is None]:
        checks.cannot("Docker", f"not installed: {', '.join(missing)}")
        return []
    roots = Roots(folder / "roots", copied)
    return [
        Engine("classic", roots, folder / "classic", None),
        Engine(
            "containerd",
            roots,
            folder / "containerd",
            roots.get("engine", _NEXT_RELEASE, "docker.io", "iptables"),
        ),
    ]
