"""What a number is, wherever it stands."""

import pytest
from pydantic import TypeAdapter, ValidationError

from sequifier_hpo.config.fields import Duration, numbers_from_text


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-5", 1e-5), ("0.5", 0.5), ("-3", -3), ("16", 16), (".5", 0.5), ("1.", 1.0)],
)
def test_numbers_given_as_text_become_numbers(text: str, number: float) -> None:
    assert numbers_from_text({"a": [text, "cos"]}) == {"a": [number, "cos"]}
    assert type(numbers_from_text(text)) is type(number)


@pytest.mark.parametrize("text", ["cos", "nan", "1e", "max", "", "1_000"])
def test_other_texts_stay_texts(text: str) -> None:
    assert numbers_from_text(text) == text


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("8h", 28800),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1 h 30 m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        ("45s", 45),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_a_duration_may_be_written_in_several_ways(written: object, seconds: float) -> None:
    assert TypeAdapter(Duration).validate_python(written) == seconds


@pytest.mark.parametrize("written", ["", "8x", "h", "30m1h", "0h", 0, -1, True, [1], "inf", 1e400])
def test_what_is_no_duration_is_refused_with_the_ways_to_write_one(written: object) -> None:
    with pytest.raises(ValidationError, match=r"8h|is not a number"):
        TypeAdapter(Duration).validate_python(written)
