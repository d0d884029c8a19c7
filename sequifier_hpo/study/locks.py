"""Locks that the kernel or the server releases by itself when their holder dies."""

import fcntl
import os
import socket
import uuid
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict


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
            descriptor = os.open(self.lock_path, os.O_RDONLY)  # who looks may do no more
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


class Lease:
    """This coordinator's own lock file, held from `acquire` until the process ends."""

    def __init__(self, owner: Owner, descriptor: int) -> None:
        self.owner = owner
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, folder: Path) -> Self:
        """Create and lock a new file in `folder`, and remove those that the dead have left."""
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        path = folder.resolve() / f"{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        owner = Owner(name=name, host=socket.gethostname(), boot_id=boot_id(), lock_path=str(path))
        for other in folder.glob("*.lock"):
            if (
                other.name != path.name
                and owner.model_copy(update={"lock_path": str(other.resolve())}).is_dead()
            ):
                other.unlink(missing_ok=True)
        return cls(owner, descriptor)

    def release(self) -> None:
        """Remove the file and free the lock."""
        Path(self.owner.lock_path).unlink(missing_ok=True)
        os.close(self._descriptor)


def boot_id() -> str:
    """An identifier of this start of the operating system; "" where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
