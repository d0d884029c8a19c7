"""A comparison of models as a page: who is better, by how much, and what differs."""

from pathlib import Path
from typing import Any

from sequifier_hpo.report.comparison_page import comparison_page
from sequifier_hpo.report.page_frame import PageAssets, read_assets
from tests.browser import load_page, needs_chromium

ASSETS = PageAssets("", "", "")


def row(model: str, difference: float, interval: list[float] | None) -> dict[str, Any]:
    return {
        "model": model,
        "study": "shop",
        "run": 3,
        "data": "data/shop-split1.parquet",
        "loss": 1.25 + difference,
        "loss_interval": None if interval is None else [1.0 + difference, 1.5 + difference],
        "difference": difference,
        "interval": interval,
    }


def found(*others: dict[str, Any], **configurations: list[Any]) -> dict[str, Any]:
    best = row("run 3 of <b>shop", 0.0, None)
    if others and others[0]["loss_interval"]:
        best["loss_interval"] = [1.0, 1.5]
    return {
        "split": "test",
        "num_events": 1200,
        "num_sequences": 60,
        "models": [best, *others],
        "configurations": configurations,
    }


SURE = row("run 1 of shop", 0.25, [0.125, 0.375])
CHANCE = row("run 2 of shop", 0.25, [-0.125, 0.5])


def test_the_page_says_who_is_compared_on_what_and_how_far_it_may_be_chance() -> None:
    page = comparison_page(found(SURE, CHANCE, dim_model=[32, 8, 16]), ASSETS)

    for text in (
        "run 3 of &lt;b&gt;shop has the smallest loss",
        "May be as good, the difference being chance: run 2 of shop.",
        "the test split, data/shop-split1.parquet: 1,200 events of 60 sequences",
        "<td>1.250000</td><td>1.000000 to 1.500000</td><td></td>",
        "<td>+0.250000</td><td>+0.125000 to +0.375000</td><td></td>",
        "<td>-0.125000 to +0.500000</td><td>may be chance</td>",
        "<td>dim_model</td><td>32</td><td>8</td><td>16</td>",
    ):
        assert text in page
    assert "<b>shop" not in page


def test_a_sure_difference_and_few_sequences_are_said() -> None:
    sure = comparison_page(found(SURE), ASSETS)
    few = comparison_page(found(row("run 1 of shop", 0.25, None)), ASSETS)

    assert "No difference from it is likely to be chance." in sure
    assert "Nothing that matters to a training but the data." in sure
    assert "it cannot be said how far the differences are chance" in few


@needs_chromium
def test_a_browser_draws_the_differences_without_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "comparison.html"
    path.write_text(comparison_page(found(SURE, CHANCE), read_assets()))

    loaded = load_page(path.as_uri(), tmp_path)

    assert loaded.complaints == []
    assert 'data-ready="yes"' in loaded.document
    assert loaded.document.count('class="errorbar"') == 3
