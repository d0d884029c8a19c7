"""The documentation hangs together: every page can be reached, and no link leads nowhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _links(page: Path) -> set[Path]:
    """The files that a page links to, its pictures and code left out."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return {(page.parent / target).resolve() for target in targets if "://" not in target}


def test_every_page_can_be_reached_from_the_readme_by_links_that_exist() -> None:
    reached: set[Path] = set()
    to_read = {ROOT / "README.md"}
    while to_read:
        page = to_read.pop()
        reached.add(page)
        assert page.exists(), page
        if page.suffix == ".md":
            to_read |= _links(page) - reached

    assert set((ROOT / "docs").rglob("*.md")) <= reached
