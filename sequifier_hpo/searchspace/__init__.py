"""The search space: compiled from the search file, decoded into train configs. Pure values."""

from sequifier_hpo.searchspace.compile import compile_space
from sequifier_hpo.searchspace.decode import adjustments_at, decode
from sequifier_hpo.searchspace.effective import EffectiveSpace
from sequifier_hpo.searchspace.fingerprint import describe_space, differences, fingerprint
from sequifier_hpo.searchspace.parameters import Cell, Choice, Parameter, SearchSpace
from sequifier_hpo.searchspace.permutation import Permutation
from sequifier_hpo.searchspace.resolve import Adjustment

__all__ = [
    "Adjustment",
    "Cell",
    "Choice",
    "EffectiveSpace",
    "Parameter",
    "Permutation",
    "SearchSpace",
    "adjustments_at",
    "compile_space",
    "decode",
    "describe_space",
    "differences",
    "fingerprint",
]
