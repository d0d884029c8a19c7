"""What the page on tables shows is what happens."""

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.preprocessing.new_data import read_histories
from sequifier_hpo.preprocessing.run import preprocess

PAGE = (Path(__file__).parents[2] / "docs/guides/tables.md").read_text()


def flights() -> str:
    draw = random.Random(3)
    rows = []
    for tail in ("N14228", "N3ALAA", "N668DN"):
        moment = datetime(2013, 1, 1, 5, 17, tzinfo=UTC)
        for _ in range(30):
            moment += timedelta(hours=draw.randrange(2, 40))
            delay = draw.choice(["NA", f"{draw.gauss(5, 20):.1f}"])
            gate = draw.choice(["A3", "B7", ""])
            distance, flight = draw.choice([(1400, 1545), (719, 1714), (760, 461)])
            rows.append(f"{tail},{moment:%Y-%m-%d %H:%M},{distance},{flight},{delay},{gate}")
    draw.shuffle(rows)
    return "\n".join(["tail,departure,distance,flight,delay,gate", *rows, ""])


def test_the_tables_of_the_page_are_preprocessed_and_read_with_its_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (preprocess_file,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
    (new,) = re.findall(r'^```text title="data/new\.csv"\n(.*?)^```$', PAGE, re.M | re.S)
    notes = re.findall(r"^note: (.*)$", PAGE, re.M)
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/flights.csv").write_text(flights())
    Path("data/new.csv").write_text(new)
    Path("preprocess.yaml").write_text(preprocess_file)

    summary = preprocess(
        load_preprocess_config(Path("preprocess.yaml")), on_progress=lambda _: None
    )
    metadata = read_metadata(summary.metadata_path)
    histories = read_histories(Path("data/new.csv"), ["gate", "delay"], 8, metadata)

    assert histories.sequence_ids.tolist() == ["N14228", "N99999"]
    assert sorted(histories.notes) == sorted(notes)
    assert len(notes) == 3
