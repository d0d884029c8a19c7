import csv
from dataclasses import replace

from sequifier_hpo.report.tables import results_csv
from tests.report.conftest import MakeData, MakeRun


def test_runs_that_were_begun_count_also_when_fewer_are_wanted_now(make_data: MakeData) -> None:
    data = replace(make_data(3), num_runs=2)

    assert (data.progress.num_complete, data.progress.num_runs) == (3, 3)


def test_the_loss_over_all_positions_stands_behind_the_columns_that_were_always_there(
    make_run: MakeRun,
) -> None:
    counted = {"validation_loss_all_positions": 1.5}
    runs = [make_run(0, 0.5), make_run(2, 0.75, attributes=counted), make_run(3)]

    head, *rows = csv.reader(results_csv("shop", runs).splitlines())

    place = head.index("validation_loss_all_positions")
    assert place > head.index("model_name")
    assert [row[place] for row in rows] == ["", "1.5", ""]
