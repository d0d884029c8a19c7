"""What a number is, wherever it stands."""

import pytest

from sequifier_hpo.config.fields import numbers_from_text


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
