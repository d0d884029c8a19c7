"""How the embedding width is divided among the input columns when the file leaves it open."""


def allocate_widths(
    width: int, categorical_columns: list[str], real_columns: list[str]
) -> dict[str, int] | None:
    """Embedding width per column, categoricals first, or None if `width` is too small.

    Real columns alone share `width` round-robin; categorical columns alone share it equally;
    of a mixed set every real column gets 1 and the categoricals share the rest. A remainder goes
    to the first columns.
    """
    num_columns = len(categorical_columns) + len(real_columns)
    if num_columns == 0 or width < num_columns:
        return None
    if not categorical_columns:
        return _share(width, real_columns)
    categorical = _share(width - len(real_columns), categorical_columns)
    return {**categorical, **dict.fromkeys(real_columns, 1)}


def equal_to_default(width: int, categorical_columns: list[str], real_columns: list[str]) -> bool:
    """Whether Sequifier itself would share out the same widths without being told."""
    if categorical_columns and real_columns:
        return False
    return not categorical_columns or width % len(categorical_columns) == 0


def _share(width: int, columns: list[str]) -> dict[str, int]:
    each, rest = divmod(width, len(columns))
    return {column: each + (i < rest) for i, column in enumerate(columns)}
