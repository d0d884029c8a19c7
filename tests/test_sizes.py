"""The code stays small enough to read: no long module, no long function, a thin assembly."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sequifier_hpo"
MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 50
MAX_ASSEMBLY_LINES = 520


def modules() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert found, f"there is no module below {PACKAGE}"
    return found


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """(where it stands, number of lines) of every function, those inside others included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            # The first line is that of `def`: a decorator does not make a function longer.
            where = f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}"
            yield where, node.end_lineno - node.lineno + 1


def longer_than(limit: int, sizes: dict[str, int]) -> str:
    return "\n".join(f"{name}: {size} lines" for name, size in sizes.items() if size > limit)


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    sizes = {str(path.relative_to(PACKAGE.parent)): num_lines(path) for path in modules()}

    assert not (too_long := longer_than(MAX_MODULE_LINES, sizes)), too_long


def test_no_function_is_longer_than_a_screen() -> None:
    sizes = dict(function for path in modules() for function in functions(path))

    assert not (too_long := longer_than(MAX_FUNCTION_LINES, sizes)), too_long


def test_assembly_is_no_more_than_a_composition_root() -> None:
    sizes = {path.name: num_lines(path) for path in (PACKAGE / "assembly").rglob("*.py")}

    assert sum(sizes.values()) <= MAX_ASSEMBLY_LINES, sizes
