"""optuna-dashboard on a study, with a caching storage and a guard in front of it.

The dashboard has neither passwords nor a check of the host name, lets anyone who reaches it delete
a running study, and has two plots that need minutes and gigabytes for a large study.
"""

import importlib.util
import ipaddress
import json
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
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

_INERT = [("Content-Security-Policy", "sandbox"), ("X-Content-Type-Options", "nosniff")]
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
            names={"localhost", host.lower(), *_names_of_this_machine()},
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
        # An address that stands for all of this machine's is none that a browser can open.
        named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        shown = f"[{named}]" if ":" in named else named
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
    names: Collection[str],
    allow_changes: bool,
) -> Application:
    """Let through only what a reader of this study needs, and no page of another site.

    Args:
        application: The dashboard.
        artifacts: Folder of the artifacts; for those on other machines the answer says so.
        names: Host names that requests may use besides IP addresses. A page of another site can
            make its own name point here (DNS rebinding), but no address.
        allow_changes: Whether requests may change the storage.
    """

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "GET")
        host = environ.get("HTTP_HOST", "")
        if not _is_address(name := _host_name(host)) and name not in names:
            return _refused(
                start_response,
                f"this dashboard answers to IP addresses and to {', '.join(sorted(names))}; "
                "for another name of this machine, start it with --host NAME",
            )
        if (origin := environ.get("HTTP_ORIGIN")) and origin.partition("://")[2] != host:
            return _refused(start_response, "this dashboard does not answer pages of other sites")
        if method not in _READING and not allow_changes:
            return _refused(
                start_response, "read only: start it with --allow-changes to change the study"
            )
        if path.endswith(_COSTLY):
            return _refused(start_response, "this plot can take minutes and gigabytes")
        is_artifact = path.startswith("/artifacts/")
        if is_artifact and not (artifacts / PurePath(path).name).is_file():
            where = "the file is not here: it lies on the machine that trained the run"
            return _refused(start_response, where, "404 Not Found")
        return application(environ, _for_this_site_only(start_response, is_artifact=is_artifact))

    return serve


def _for_this_site_only(
    start_response: Callable[..., Any], *, is_artifact: bool
) -> Callable[..., Any]:
    """Without the leave to read an answer that the dashboard gives to pages of any site.

    An artifact may be anybody's page: no script in it runs.
    """

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kept = [each for each in headers if not each[0].lower().startswith("access-control-")]
        if is_artifact:
            kept += _INERT
        return start_response(status, kept, *more)

    return start


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _names_of_this_machine() -> set[str]:
    return {name.lower() for name in (socket.gethostname(), socket.getfqdn()) if name}


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
