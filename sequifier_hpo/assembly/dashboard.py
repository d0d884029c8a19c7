"""optuna-dashboard on a study: on a storage that caches, and careful with what it lets in.

The dashboard has neither passwords nor a check of the host name, lets anyone who reaches it delete
a study that is running, and has two plots that take a large study minutes and gigabytes.
"""

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sequifier_hpo.assembly.locate import StudySource
from sequifier_hpo.assembly.view import StudyReader
from sequifier_hpo.errors import EnvironmentFaultError

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COSTLY = ("/plot/contour", "/plot/rank")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that listens, and serves as soon as `serve_forever` is called."""

    url: str
    """Address of the study's page."""
    serve_forever: Callable[[], None]
    stop: Callable[[], None]
    """Ends `serve_forever`; to be called from another thread."""


@contextmanager
def open_dashboard(
    source: StudySource, *, host: str, port: int, allow_changes: bool
) -> Iterator[Dashboard]:
    """Open a study's storage and listen.

    Args:
        source: The study.
        host: Address to listen on.
        port: Port to listen on; 0 = any that is free.
        allow_changes: Whether the dashboard may write notes, and delete studies.

    Raises:
        InputError: If there is no such study.
        EnvironmentFaultError: If optuna-dashboard is not installed, or it cannot listen there.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise EnvironmentFaultError(
            "optuna-dashboard is not installed", "pip install 'sequifier-hpo[dashboard]'"
        )
    from optuna_dashboard import wsgi  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

    with StudyReader(source, allow_changes=allow_changes) as reader:
        reader.read()
        application = guarded(
            wsgi(reader.cached_storage),
            hosts=_LOOPBACK if host in _LOOPBACK else None,
            allow_changes=allow_changes,
        )
        try:
            server = make_server(
                host, port, application, server_class=_Server, handler_class=_QuietHandler
            )
        except (OSError, OverflowError) as error:
            raise EnvironmentFaultError(
                f"cannot listen on {host}:{port}: {error}", "choose another --port, or 0 for any"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        with server:
            yield Dashboard(
                url=f"http://{shown}:{server.server_port}/dashboard/studies/{reader.study_id}",
                serve_forever=server.serve_forever,
                stop=server.shutdown,
            )


def guarded(
    application: Application, *, hosts: frozenset[str] | None, allow_changes: bool
) -> Application:
    """Let through only what a reader of this study needs.

    Args:
        application: The dashboard.
        hosts: Names under which it may be addressed: a page from elsewhere could otherwise
            reach it through a name of its own. None = any.
        allow_changes: Whether requests may change the storage.
    """

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "GET")
        if hosts is not None and _host_name(environ.get("HTTP_HOST", "")) not in hosts:
            return _refused(start_response, "this dashboard answers to localhost only")
        if method not in _READING and not allow_changes:
            return _refused(
                start_response, "read only: start it with --allow-changes to change the study"
            )
        if path.endswith(_COSTLY):
            return _refused(start_response, "this plot can take minutes and gigabytes")
        return application(environ, start_response)

    return serve


def _host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _refused(start_response: Callable[..., Any], reason: str) -> list[bytes]:
    body = json.dumps({"reason": reason}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("403 Forbidden", headers)
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at once: one slow plot does not stop the page."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line for every poll would bury the address."""
