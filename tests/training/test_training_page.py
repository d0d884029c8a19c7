import re
from pathlib import Path


def test_every_difference_on_the_page_names_a_test_that_exists() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "training-differences.md").read_text()
    tests = {
        name
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    named = re.findall(r"`(test_\w+)`", page)

    assert len(named) >= 20
    assert [name for name in named if name not in tests] == []
