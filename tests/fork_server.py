"""Starts processes of the package from one that has imported its libraries, on Linux.

To import torch takes a second or two, which is more than most processes under test do after it.
Here one process imports all that a worker does, and becomes each process by a fork. Nothing else
differs from an ordinary start: module, arguments, pipes, environment, folder, session and parent
are those that were asked for. A process that wants another interpreter, such as one with other
settings of Python or limits of its own, is started as ever, and so is one of a test with the
fixture `real_starts`.
"""

import fcntl
import gc
import json
import os
import resource
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import CDLL
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

_ForkExec = Callable[..., int]

_IMPORTED = "sequifier_hpo.worker.__main__"
"""Nothing that starts threads at its import, as Polars does: they would not survive the fork."""
_MAX_BYTES = 2**20
_MAX_DESCRIPTORS = 16
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
_OF_THE_INTERPRETER = ("PYTHON", "LD_", "CUDA_", "TORCH")
"""Begins the names of variables that are read once, at its start or that of a library."""
_PR_SET_CHILD_SUBREAPER = 36


class ForkServer:
    """Takes the place of what `subprocess` starts processes by."""

    def __init__(self, fork_exec: _ForkExec) -> None:
        """Nothing is started before it is needed.

        Args:
            fork_exec: What starts a process as ever.
        """
        self.is_off = False
        self._program = sys.executable
        self._fork_exec = fork_exec
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        self._limits = _limits()
        self._lock = Lock()

    def fork_exec(
        self,
        arguments: Sequence[str],
        programs: Sequence[bytes],
        close: bool,  # noqa: FBT001 - the signature of `subprocess`
        keep: Sequence[int],
        folder: str | None,
        environment: Sequence[bytes] | None,
        *rest: Any,
    ) -> int:
        """Start a process; returns its pid."""
        pipes, (error_pipe, _, new_session, *others) = rest[:6], rest[7:]
        wanted = dict(line.split(b"=", 1) for line in environment or ())
        named = {os.fsdecode(name): os.fsdecode(value) for name, value in wanted.items()}
        if not self._can_be_forked(arguments, named) or others[:4] != [-1, None, None, None]:
            return self._fork_exec(arguments, programs, close, keep, folder, environment, *rest)
        reads, _, _, writes, _, complains = pipes
        standard = (reads, writes, complains)
        descriptors = {number: number if fd < 0 else fd for number, fd in enumerate(standard)}
        descriptors |= {number: number for number in keep if number != error_pipe}
        request = {
            "arguments": list(arguments[2:]),
            "environment": named,
            "folder": folder or str(Path.cwd()),
            "umask": _umask(),
            "new_session": bool(new_session),
            "descriptors": list(descriptors),
        }
        with self._lock:
            return self._ask(request, list(descriptors.values()))

    def close(self) -> None:
        """End the server; what it started goes on."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait(30)

    def _can_be_forked(self, arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
        program, option, module, *options = [*arguments, "", "", ""][:10]
        is_ours = (program, option) == (self._program, "-m") and module.startswith("sequifier_hpo.")
        if self.is_off or not is_ours or "--resident" in options or _limits() != self._limits:
            return False
        if self._socket is None:
            self._start(environment)
        return _of_interpreter(environment) == _of_interpreter(self._environment)

    def _start(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._socket, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [self._program, __file__, str(others.fileno())],
            pass_fds=[others.fileno()],
            stdin=subprocess.DEVNULL,
            env={**environment, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,
        )
        others.close()

    def _ask(self, request: Mapping[str, Any], descriptors: list[int]) -> int:
        assert self._socket is not None
        # The kernel gives us the process as a child once the one between has ended.
        CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            return int(self._socket.recv(32))
        finally:
            CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextmanager
def forked_processes() -> Iterator[ForkServer]:
    """Start the package's processes by a server, as long as the context lasts."""
    fork_exec: _ForkExec = vars(subprocess)["_fork_exec"]
    server = ForkServer(fork_exec)
    if sys.platform == "linux":
        vars(subprocess)["_fork_exec"] = server.fork_exec
    try:
        yield server
    finally:
        vars(subprocess)["_fork_exec"] = fork_exec
        server.close()


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(limit) for limit in _LIMITS]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.startswith(_OF_THE_INTERPRETER)}


def _serve(requests: socket.socket) -> Mapping[str, Any]:
    """Fork whenever asked to; returns in each new process, with what it is to be."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _MAX_BYTES, _MAX_DESCRIPTORS)
        if not message:
            os._exit(0)
        told, tell = os.pipe()
        goes, go = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid:
                os.write(tell, str(pid).encode())
                os._exit(0)
            os.close(go)
            os.read(goes, 1)
            request: dict[str, Any] = json.loads(message)
            _take(dict(zip(request["descriptors"], descriptors, strict=True)))
            return request
        os.waitpid(between, 0)
        os.write(go, b".")
        requests.send(os.read(told, 32))
        for descriptor in (*descriptors, told, tell, goes, go):
            os.close(descriptor)


def _take(descriptors: Mapping[int, int]) -> None:
    """Give descriptors their numbers, and close all others."""
    above = max(*descriptors, *descriptors.values()) + 1
    moved = {
        number: fcntl.fcntl(found, fcntl.F_DUPFD, above) for number, found in descriptors.items()
    }
    for number, found in moved.items():
        os.dup2(found, number)
    for found in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if found not in descriptors:
            try:
                os.close(found)
            except OSError:
                continue  # what listed them


def _become(request: Mapping[str, Any]) -> None:
    """Be the process that was asked for, to its end."""
    if request["new_session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["folder"])
    tempfile.tempdir = None  # found in another environment
    module, *options = request["arguments"]
    sys.argv = ["-m", *options]
    for name in (module, f"{module}.__main__"):
        sys.modules.pop(name, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _main() -> None:
    import_module(_IMPORTED)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        request = _serve(requests)
        requests.detach()
    _become(request)


if __name__ == "__main__":
    _main()
