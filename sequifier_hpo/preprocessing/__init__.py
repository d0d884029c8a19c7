"""Raw tables to windows, and what a stored split holds; nothing here loads torch.

`tensor_shards` does, and is a process of its own for that reason: no file imports it.
"""

from sequifier_hpo.preprocessing.run import PreprocessSummary, preprocess
from sequifier_hpo.preprocessing.stored_split import StoredSplit, describe_split

__all__ = ["PreprocessSummary", "StoredSplit", "describe_split", "preprocess"]
