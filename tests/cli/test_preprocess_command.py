"""What `preprocess` says of its result."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Run


@pytest.mark.parametrize(("shares", "is_said"), [([1.0], True), ([0.8, 0.2], False)])
def test_a_table_that_is_not_split_is_said_to_leave_nothing_to_validate_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    shares: Sequence[float],
    *,
    is_said: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"0,{i},{i % 3}\n" for i in range(40))
    Path("t.csv").write_text(f"sequenceId,itemPosition,a\n{rows}")
    fields = {"project_root": ".", "data_path": "t.csv", "read_format": "csv", "seq_length": 2}
    Path("p.yaml").write_text(yaml.safe_dump({**fields, "split_ratios": shares}))

    done = run("preprocess", "--config-path", "p.yaml")

    assert done.code == 0, done.stderr
    assert ("a search needs another one to validate on" in done.stdout) == is_said
