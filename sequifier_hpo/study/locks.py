"""Locks that the kernel or the server releases by itself when their holder dies."""

import fcntl
import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from sequifier_hpo.atomic import explaining
from sequifier_hpo.plain_files import make_own_folder, open_own


class Owner(BaseModel):
    """Who runs a trial: enough to tell, on the same host, whether that coordinator still lives."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Unique per start of a coordinator."""
    host: str
    boot_id: str
    """Changes when the host restarts."""
    lock_path: str
    """File that the coordinator holds locked as long as it lives."""

    def is_on_this_host(self) -> bool:
        """Whether this process can look at the owner's lock file."""
        return (self.host, self.boot_id) == (socket.gethostname(), boot_id())

    def is_dead(self) -> bool:
        """Whether an owner of this host is gone: nobody holds its lock file."""
        try:
            descriptor = open_own(Path(self.lock_path), os.O_RDONLY)  # who looks may do no more
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


class OwnerLock:
    """This coordinator's own lock file, held from `hold` until the process ends."""

    def __init__(self, folder: Path) -> None:
        """Choose a new file in `folder`; nothing is written yet."""
        self._folder = folder
        name = uuid.uuid4().hex
        self.owner = Owner(
            name=name,
            host=socket.gethostname(),
            boot_id=boot_id(),
            lock_path=str(folder.resolve() / f"{name}.lock"),
        )
        self._descriptor: int | None = None

    @classmethod
    def acquire(cls, folder: Path) -> Self:
        """A lock that is held.

        Raises:
            EnvironmentFaultError: If it cannot be created.
        """
        lock = cls(folder)
        lock.hold()
        return lock

    def hold(self) -> None:
        """Create and lock the file, and remove those that the dead have left; again, do nothing.

        Raises:
            EnvironmentFaultError: If it cannot be created.
        """
        if self._descriptor is not None:
            return
        path = Path(self.owner.lock_path)
        with explaining(self._folder):
            make_own_folder(self._folder)
            self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        for other in path.parent.glob("*.lock"):
            if (
                other != path
                and re.fullmatch(r"[0-9a-f]{32}", other.stem)
                and self.owner.model_copy(update={"lock_path": str(other)}).is_dead()
            ):
                with suppress(OSError):  # in some folders only its owner may
                    other.unlink()

    def release(self) -> None:
        """Remove the file and free the lock."""
        if self._descriptor is not None:
            Path(self.owner.lock_path).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def boot_id() -> str:
    """An identifier of this start of the operating system; "" where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
