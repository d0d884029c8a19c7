"""Which number stands for which text of a sequence column."""

import polars as pl

from sequifier_hpo.config.preprocess import ID_COLUMNS


def sequence_table(texts: pl.Series) -> pl.DataFrame:
    """A table of `sequenceId`, from 1, and `sequence`, as it is kept next to the metadata.

    Args:
        texts: Of the sequences, each once, ascending.
    """
    named = pl.DataFrame({"sequence": texts}).with_row_index(ID_COLUMNS[0], offset=1)
    return named.cast({ID_COLUMNS[0]: pl.Int64})
