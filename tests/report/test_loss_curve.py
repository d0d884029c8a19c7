"""The loss curve as a picture: well-formed, marked, and without anything from outside."""

import xml.etree.ElementTree as ET

import pytest

from sequifier_hpo.report.loss_curve import loss_curve

SVG = "{http://www.w3.org/2000/svg}"


def drawn(title: str, *curves: dict[int, float]) -> ET.Element:
    return ET.fromstring(loss_curve(title, *curves))


def points(line: ET.Element) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_both_losses_are_drawn_and_the_best_epoch_is_named() -> None:
    picture = drawn("shop-run-3", {1: 2.0, 2: 1.5, 3: 1.75}, {1: 1.9, 2: 1.4, 3: 1.0})

    lines = picture.findall(f"{SVG}polyline")
    text = " ".join(picture.itertext())
    assert [len(points(line)) for line in lines] == [3, 3]
    assert "validation, best 1.5 in epoch 2" in text
    assert "training" in text
    assert "shop-run-3" in text


def test_a_smaller_loss_is_drawn_lower_down_and_a_later_epoch_further_right() -> None:
    line = drawn("run", {1: 2.0, 2: 1.0}, {}).find(f"{SVG}polyline")

    assert line is not None
    (x1, y1), (x2, y2) = points(line)
    assert x1 < x2
    assert y1 < y2


@pytest.mark.parametrize(
    "losses",
    [
        {1: 0.5},
        {7: 0.0, 8: 0.0},
        {1: 1e-9, 2: 2e-9},
        {1: 1e30, 2: -1e30},
        {e: 1 / e for e in range(1, 1001)},
    ],
)
def test_every_curve_stays_inside_its_picture(losses: dict[int, float]) -> None:
    picture = drawn("run", losses, {})

    (line,) = picture.findall(f"{SVG}polyline")
    assert all(0 <= x <= 560 and 0 <= y <= 320 for x, y in points(line))
    assert 2 <= len(picture.findall(f"{SVG}line")) <= 8


def test_a_training_loss_that_is_not_finite_is_left_out() -> None:
    picture = drawn("run", {1: 1.0}, {1: float("nan")})

    assert len(picture.findall(f"{SVG}polyline")) == 1


def test_a_name_is_text_and_never_markup() -> None:
    assert "<script>" in " ".join(drawn("<script>&", {1: 1.0}, {}).itertext())
