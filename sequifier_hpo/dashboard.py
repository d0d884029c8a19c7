"""optuna-dashboard on a study, with a caching storage and a guard in front of it.

The dashboard has neither passwords nor a check of the host name, lets anyone who reaches it delete
a running study, and has two plots that need minutes and gigabytes for a large study.
"""

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.report.artifacts import artifact_folder
from sequifier_hpo.report.study_reader import StudyReader
from sequifier_hpo.study.notes import artifact_store, artifacts_of, note_of

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COSTLY = ("/plot/contour", "/plot/rank")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Dashboard:
    """A listening dashboard; it serves once `serve_forever` is called."""

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
        port: Port to listen on; 0 = any free port.
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

    _find_notes_directly()
    artifacts = artifact_folder(source.study_folder)
    with StudyReader(source, allow_changes=allow_changes) as reader:
        reader.read()
        application = guarded(
            wsgi(reader.cached_storage, artifact_store=artifact_store(artifacts)),
            artifacts=artifacts,
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


def _find_notes_directly() -> None:
    """Make the dashboard look up notes and artifacts by key.

    Its own functions go through all system attributes of the study, for every trial: 14 seconds
    for 2,000 trials with notes.
    """
    from optuna_dashboard import _note, _serializer  # noqa: PLC0415 - an extra

    _note.get_note_from_system_attrs = note_of
    _serializer.list_trial_artifacts = artifacts_of


def guarded(
    application: Application,
    *,
    artifacts: Path,
    hosts: frozenset[str] | None,
    allow_changes: bool,
) -> Application:
    """Let through only what a reader of this study needs.

    Args:
        application: The dashboard.
        artifacts: Folder of the artifacts; for those on other machines the answer says so.
        hosts: Host names that requests may use, as a guard against DNS rebinding.
            None = any.
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
        if path.startswith("/artifacts/") and not (artifacts / PurePath(path).name).is_file():
            where = "the file is not here: it lies on the machine that trained the run"
            return _refused(start_response, where, "404 Not Found")
        return application(environ, start_response)

    return serve


def _host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _refused(
    start_response: Callable[..., Any], reason: str, status: str = "403 Forbidden"
) -> list[bytes]:
    body = json.dumps({"reason": reason}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at once: one slow plot does not stop the page."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line for every poll would bury the address."""
