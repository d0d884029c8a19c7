from dataclasses import replace

from tests.report.conftest import MakeData


def test_runs_that_were_begun_count_also_when_fewer_are_wanted_now(make_data: MakeData) -> None:
    data = replace(make_data(3), num_runs=2)

    assert (data.progress.num_complete, data.progress.num_runs) == (3, 3)
