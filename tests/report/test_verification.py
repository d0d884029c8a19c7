"""A winner check as numbers: means, standard deviations, and who wins by how much."""

import csv
import io
from math import sqrt

import pytest

from sequifier_hpo.report.verification import (
    CheckedRun,
    Verdict,
    by_mean,
    verdict,
    verification_csv,
    verification_record,
)


def checked(
    run_number: int, *losses: float, failed: int = 0, num_seeds: int | None = None
) -> CheckedRun:
    return CheckedRun(
        run_number=run_number,
        search_loss=0.25 + run_number,
        losses={102 + i: loss for i, loss in enumerate(losses)},
        num_seeds=len(losses) + failed if num_seeds is None else num_seeds,
        failures={102 + len(losses) + i: "diverged" for i in range(failed)},
        parameters={"num_layers": "2"},
    )


def found(*configurations: CheckedRun) -> Verdict:
    verdict_found = verdict(configurations)
    assert verdict_found is not None
    return verdict_found


def test_mean_and_standard_deviation_are_those_of_a_sample_of_seeds() -> None:
    each = checked(0, 1.0, 2.0, 3.0, 6.0)

    assert each.mean == 3.0
    assert each.standard_deviation == pytest.approx(sqrt((4 + 1 + 0 + 9) / 3))


def test_one_seed_has_a_mean_but_no_standard_deviation() -> None:
    assert (checked(0, 1.5).mean, checked(0, 1.5).standard_deviation) == (1.5, None)


def test_the_winner_is_compared_with_the_best_of_the_others() -> None:
    result = found(checked(7, 1.0, 3.0), checked(1, 9.0, 9.5), checked(4, 3.0, 7.0))

    assert (result.winner.run_number, result.rival.run_number) == (7, 4)
    assert result.still_wins
    assert result.margin == 3.0
    assert result.standard_deviation == pytest.approx(sqrt((2 + 8) / 2))
    assert result.margin_in_standard_deviations == pytest.approx(3 / sqrt(5))


def test_a_winner_with_a_larger_mean_does_not_win_any_more() -> None:
    result = found(checked(7, 3.0, 5.0), checked(1, 2.0, 3.0))

    assert not result.still_wins
    assert result.margin == -1.5


def test_equal_means_leave_the_winner_its_place() -> None:
    assert found(checked(7, 1.0, 3.0), checked(1, 2.0, 2.0)).still_wins


@pytest.mark.parametrize(("distance", "is_clear"), [(3.0, False), (3.1, True), (-3.1, True)])
def test_a_distance_is_clear_beyond_what_chance_explains(
    distance: float, *, is_clear: bool
) -> None:
    # Standard error 1 / sqrt(2), 2 degrees of freedom: the limit is 4.303 / sqrt(2) = 3.043.
    result = found(checked(7, 0.0, 1.0), checked(1, distance, distance + 1))

    assert result.is_clear is is_clear


def test_unequal_standard_deviations_leave_fewer_degrees_of_freedom() -> None:
    # Nearly all of the error is that of one sample of two: 1 degree of freedom, 12.706 * 0.5.
    narrow, wide = (0.0, 0.001), (5.8, 6.8)

    assert not found(checked(7, *narrow), checked(1, *wide)).is_clear
    assert found(checked(7, *narrow), checked(1, *(loss + 1 for loss in wide))).is_clear


def test_seeds_that_all_agree_need_no_standard_deviation_to_be_clear() -> None:
    result = found(checked(7, 0.5, 0.5), checked(1, 0.75, 0.75))

    assert result.is_clear
    assert result.margin_in_standard_deviations is None


def test_one_seed_each_is_never_clear() -> None:
    result = found(checked(7, 0.5, failed=1), checked(1, 0.75, failed=1))

    assert (result.still_wins, result.is_clear, result.standard_deviation) == (True, False, None)


def test_a_winner_that_fails_with_every_new_seed_does_not_win() -> None:
    result = found(checked(7, failed=2), checked(1, 0.75, 0.8))

    assert (result.still_wins, result.margin, result.rival.run_number) == (False, None, 1)


def test_a_winner_wins_over_others_that_fail_with_every_new_seed() -> None:
    result = found(checked(7, 0.75, 0.8), checked(1, failed=2))

    assert (result.still_wins, result.margin) == (True, None)


def test_there_is_no_verdict_while_a_training_is_left() -> None:
    assert verdict([checked(7, 0.5, 0.6), checked(1, 0.7, num_seeds=2)]) is None


def test_there_is_no_verdict_without_another_configuration_or_a_result() -> None:
    assert verdict([checked(7, 0.5, 0.6)]) is None
    assert verdict([checked(7, failed=2), checked(1, failed=2)]) is None


def test_configurations_are_ranked_by_mean_and_those_without_come_last() -> None:
    ranked = by_mean([checked(7, failed=2), checked(1, 0.9, 0.7), checked(4, 0.5, 0.6)])

    assert [each.run_number for each in ranked] == [4, 1, 7]


def test_a_record_holds_the_verdict_and_every_loss() -> None:
    record = verification_record("shop", [checked(7, 0.5, 1 / 3), checked(1, 0.7, failed=1)])

    assert (record["winner"], record["rival"], record["still_wins"]) == (7, 1, True)
    assert record["margin"] == pytest.approx(0.7 - (0.5 + 1 / 3) / 2)
    assert record["is_complete"]
    first, second = record["configurations"]
    assert first["validation_loss_by_seed"] == {"102": 0.5, "103": 1 / 3}
    assert (first["run"], first["num_seeds"], first["validation_loss_in_search"]) == (7, 2, 7.25)
    assert (second["num_seeds"], second["num_seeds_wanted"]) == (1, 2)
    assert second["failures_by_seed"] == {"103": "diverged"}


def test_a_record_of_an_unfinished_check_says_so_and_gives_no_verdict() -> None:
    record = verification_record("shop", [checked(7, 0.5, num_seeds=2), checked(1, num_seeds=2)])

    assert (record["is_complete"], record["still_wins"], record["margin"]) == (False, None, None)


def test_the_table_has_a_row_for_each_configuration_in_full_precision() -> None:
    text = verification_csv([checked(7, 0.5, 1 / 3), checked(1, 0.25, failed=1)])

    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run"] for row in rows] == ["1", "7"]
    assert rows[1]["mean"] == repr((0.5 + 1 / 3) / 2)
    assert rows[1]["validation_loss_by_seed"] == f"102:0.5 103:{1 / 3!r}"
    assert (rows[0]["standard_deviation"], rows[0]["num_failed"], rows[0]["num_layers"]) == (
        "",
        "1",
        "2",
    )
