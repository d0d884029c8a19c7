"""The dashboard: what it lets in, and that it shows the study."""

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.locate import find_study
from sequifier_hpo.dashboard import guarded, open_dashboard
from sequifier_hpo.errors import EnvironmentFaultError
from tests.browser import load_page, needs_chromium
from tests.cli.conftest import Run, Study

NAMES = frozenset({"localhost", "gpu7.lab"})


def ask(
    path: str,
    *,
    method: str = "GET",
    host: str = "127.0.0.1:8080",
    origin: str | None = None,
    changes: bool = False,
) -> str:
    """What a guarded application that always answers 200 answers."""
    answers: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    guard = guarded(application, artifacts=Path("artifacts"), names=NAMES, allow_changes=changes)
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "HTTP_HOST": host}
    if origin is not None:
        environ["HTTP_ORIGIN"] = origin
    guard(environ, lambda status, headers: answers.append(status))
    return answers[0]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "[::1]:8080", "LOCALHOST:1", "gpu7.lab:8080", "192.0.2.7:8080"],
)
def test_a_reader_who_names_this_machine_is_let_in(host: str) -> None:
    assert ask("/api/studies", host=host) == "200 OK"


@pytest.mark.parametrize("host", ["evil.example:8080", "", "127.0.0.1.evil.example", "2130706433"])
def test_a_page_from_elsewhere_is_kept_out(host: str) -> None:
    assert ask("/api/studies", host=host) == "403 Forbidden"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_site_neither_reads_nor_changes(origin: str, method: str) -> None:
    assert ask("/api/studies", origin=origin, method=method, changes=True) == "403 Forbidden"


def test_a_page_of_the_dashboard_changes_what_it_may() -> None:
    own = "http://127.0.0.1:8080"

    assert ask("/api/studies/1", origin=own, method="POST", changes=True) == "200 OK"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_changes_need_to_be_allowed(method: str) -> None:
    assert ask("/api/studies/1", method=method) == "403 Forbidden"
    assert ask("/api/studies/1", method=method, changes=True) == "200 OK"


@pytest.mark.parametrize("plot", ["contour", "rank"])
def test_plots_that_never_end_are_not_begun(plot: str) -> None:
    assert ask(f"/api/studies/1/plot/{plot}") == "403 Forbidden"


@pytest.fixture
def address(study: Study) -> Iterator[str]:
    """Where the real dashboard of a study with one result listens."""
    pytest.importorskip("optuna_dashboard")
    study.complete(0.5)
    source = find_study(None, study.url, "shop")
    with open_dashboard(source, host="127.0.0.1", port=0, allow_changes=False) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield opened.url
        opened.stop()
        thread.join()


# The dashboard's framework uses what Python 3.13 removes.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_dashboard_shows_the_study_and_cannot_delete_it(address: str) -> None:
    base, _, study_id = address.rpartition("/dashboard/studies/")

    with urllib.request.urlopen(f"{base}/api/studies/{study_id}?after=0") as answer:
        detail = json.load(answer)
    request = urllib.request.Request(f"{base}/api/studies/{study_id}", method="DELETE")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)

    assert detail["name"] == "shop"
    assert detail["trials"][0]["values"] == [0.5]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_dashboard_does_not_wait_for_who_writes(address: str, study: Study) -> None:
    base, _, study_id = address.rpartition("/dashboard/studies/")

    with (
        study.locked(),
        urllib.request.urlopen(f"{base}/api/studies/{study_id}?after=0") as answer,
    ):
        detail = json.load(answer)

    assert detail["name"] == "shop"


def fetched(address: str) -> tuple[str, str]:
    """Content type and text of what is served there."""
    with urllib.request.urlopen(address) as answer:
        return answer.headers.get_content_type(), answer.read().decode()


# The dashboard's framework uses what Python 3.13 removes.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_dashboard_serves_notes_and_artifacts(address: str) -> None:
    base, _, study_id = address.rpartition("/dashboard/studies/")

    detail = json.loads(fetched(f"{base}/api/studies/{study_id}?after=0")[1])

    (trial,) = detail["trials"]
    assert detail["note"]["body"].startswith("# `shop`")
    assert trial["note"]["body"].startswith("# `shop-run-0`")
    found = {
        artifact["filename"]: fetched(
            f"{base}/artifacts/{study_id}/{trial['trial_id']}/{artifact['artifact_id']}"
        )
        for artifact in trial["artifacts"]
    }
    assert found["train.yaml"] == ("text/yaml", "model_name: shop-run-0\n")
    assert found["loss-curve.svg"][0] == "image/svg+xml"
    assert found["loss-curve.svg"][1].startswith("<svg")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_artifact_is_for_this_site_alone_and_runs_no_script(address: str) -> None:
    base, _, study_id = address.rpartition("/dashboard/studies/")
    trial = json.loads(fetched(f"{base}/api/studies/{study_id}?after=0")[1])["trials"][0]
    artifact = trial["artifacts"][0]["artifact_id"]

    with urllib.request.urlopen(
        f"{base}/artifacts/{study_id}/{trial['trial_id']}/{artifact}"
    ) as answer:
        headers = answer.headers

    assert headers["Access-Control-Allow-Origin"] is None
    assert headers["Content-Security-Policy"] == "sandbox"


@pytest.mark.slow
@pytest.mark.parametrize("listens_on", ["0.0.0.0", "127.0.0.1"])
def test_the_real_dashboard_knows_the_names_of_its_machine(study: Study, listens_on: str) -> None:
    pytest.importorskip("optuna_dashboard")
    study.complete(0.5)
    source = find_study(None, study.url, "shop")
    with open_dashboard(source, host=listens_on, port=0, allow_changes=False) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        assert opened.url.startswith("http://127.0.0.1:")
        request = urllib.request.Request(opened.url, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            urllib.request.urlopen(request)
        opened.stop()
        thread.join()

    assert "answers to IP addresses and to" in caught.value.read().decode()
    caught.value.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_artifact_of_another_machine_is_said_to_be_there(address: str, study: Study) -> None:
    base, _, study_id = address.rpartition("/dashboard/studies/")
    for file in Path("studies/shop/artifacts").iterdir():
        file.unlink()
    trial = json.loads(fetched(f"{base}/api/studies/{study_id}?after=0")[1])["trials"][0]
    artifact = trial["artifacts"][0]["artifact_id"]

    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        fetched(f"{base}/artifacts/{study_id}/{trial['trial_id']}/{artifact}")

    assert "on the machine that trained the run" in caught.value.read().decode()
    caught.value.close()


@pytest.mark.slow
@needs_chromium
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("/note", ["Which configuration predicts", "hyperparameter-search", "shop-split1.parquet"]),
        ("/trials?numbers=0", ["shop-run-0", "loss-curve.svg", "train.yaml", "best_epoch"]),
    ],
)
def test_a_browser_shows_the_notes_and_the_loss_curve(
    address: str, tmp_path: Path, page: str, shown: list[str]
) -> None:
    document = load_page(address + page, tmp_path).document

    assert not [text for text in shown if text not in document]


@pytest.mark.slow
def test_a_port_that_is_taken_is_an_environment_fault(address: str, study: Study) -> None:
    port = int(address.rpartition("/dashboard")[0].rpartition(":")[2])
    source = find_study(None, study.url, "shop")

    with (
        pytest.raises(EnvironmentFaultError, match="cannot listen"),
        open_dashboard(source, host="127.0.0.1", port=port, allow_changes=False),
    ):
        pass


def test_a_dashboard_of_no_study_is_refused(run: Run, study: Study) -> None:
    shown = run("dashboard", "--storage", study.url, "--study-name", "nope")

    assert shown.code == 2
    assert "studies there: shop" in shown.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("host", "is_warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_who_opens_it_to_other_machines_is_told_that_there_is_no_password(
    study: Study, host: str, *, is_warned: bool
) -> None:
    pytest.importorskip("optuna_dashboard")
    command = [sys.executable, "-c", "from sequifier_hpo.cli.main import run; run()", "dashboard"]
    options = ["--storage", study.url, "--study-name", "shop", "--host", host, "--port", "0"]

    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert address.startswith("http://127.0.0.1:")  # where this machine can open it
    assert ("there is no password" in said) == is_warned
