"""The search space: compiled from the search file, decoded into train configs. Pure values."""

from sequifier_hpo.searchspace.changes import differences, unlike
from sequifier_hpo.searchspace.compile import compile_space
from sequifier_hpo.searchspace.decode import decode, values_of
from sequifier_hpo.searchspace.effective import EffectiveSpace
from sequifier_hpo.searchspace.fingerprint import (
    comparable,
    describe_space,
    point_of_labels,
)
from sequifier_hpo.searchspace.key import Keyer, run_key
from sequifier_hpo.searchspace.labels import value_text
from sequifier_hpo.searchspace.memory import memory_need
from sequifier_hpo.searchspace.overview import (
    AdjustedCells,
    SameRun,
    SpaceSizes,
    adjusted_cells,
    measure,
    same_runs,
)
from sequifier_hpo.searchspace.parameters import (
    Cell,
    Choice,
    Draws,
    Parameter,
    Part,
    SearchSpace,
)
from sequifier_hpo.searchspace.permutation import Permutation
from sequifier_hpo.searchspace.placing import Configuration, configuration, place
from sequifier_hpo.searchspace.point import Point
from sequifier_hpo.searchspace.resolve import Adjustment
from sequifier_hpo.searchspace.revisions import AllSpaces, DescribedSpace, same_run_in
from sequifier_hpo.searchspace.size import positions_counted

__all__ = [
    "AdjustedCells",
    "Adjustment",
    "AllSpaces",
    "Cell",
    "Choice",
    "Configuration",
    "DescribedSpace",
    "Draws",
    "EffectiveSpace",
    "Keyer",
    "Parameter",
    "Part",
    "Permutation",
    "Point",
    "SameRun",
    "SearchSpace",
    "SpaceSizes",
    "adjusted_cells",
    "comparable",
    "compile_space",
    "configuration",
    "decode",
    "describe_space",
    "differences",
    "measure",
    "memory_need",
    "place",
    "point_of_labels",
    "positions_counted",
    "run_key",
    "same_run_in",
    "same_runs",
    "unlike",
    "value_text",
    "values_of",
]
