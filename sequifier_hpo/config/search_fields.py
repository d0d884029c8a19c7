"""The fields of a search file: those of its runs, as candidates or for all of them, and its own.

The fields of the runs are those of `TrainConfig`; their types, defaults and words are read off the
description there. Field order is that of the user guide: lists come first in their section.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, create_model

from sequifier_hpo.config.description import (
    AS_TRAINED,
    REQUIRED,
    Candidates,
    Description,
    LinkedGroup,
    TrainedField,
    description_of,
    without_null,
)
from sequifier_hpo.config.earlier import EarlierStudies
from sequifier_hpo.config.fields import Duration, ModelName, NonNegativeInt, PathText, PositiveInt
from sequifier_hpo.config.paths import ProjectPaths, project_path
from sequifier_hpo.config.ranges import list_of_candidates
from sequifier_hpo.config.schema import FileModel, FrozenModel
from sequifier_hpo.config.train_fields import TrainConfig, TrainingSpec

_FINISH_BEST = 3


class _InsteadOfAName(FileModel):
    """The search's own fields in the place where a run file has the name of its run."""

    hp_search_name: ModelName
    """Name of the search; prefix of its runs."""
    model_config_write_path: PathText
    """Folder for the generated run files."""
    search_strategy: Literal["sample", "grid", "bayesian"] = "sample"
    """sample (random search), bayesian (learns from earlier runs) or grid (every combination)."""
    n_samples: PositiveInt | None = None
    """Total number of distinct runs; required for `sample` and `bayesian`."""


class PruningFields(FileModel):
    """How runs are compared while they are trained, and the worse ones stopped."""

    method: Literal["successive_halving", "median"] = "successive_halving"
    """successive_halving (1 of reduction_factor goes on at each rung) or median (the better half)."""
    first_rung: PositiveInt = 2
    """Epochs after which runs are compared for the first time."""
    reduction_factor: Annotated[PositiveInt, Field(ge=2)] = 3
    """With successive_halving: 1 of so many runs goes on at each rung."""

    @property
    def is_halving(self) -> bool:
        """Whether ever fewer runs go on, and rungs lie ever further apart, by half."""
        return self.method == "successive_halving"

    def rungs(self, num_epochs: int) -> Iterator[int]:
        """The epochs after which runs are compared, for a training of this length."""
        rung = self.first_rung
        while rung < num_epochs:
            yield rung
            rung += max(1, rung // 2) if self.is_halving else 1

    def expected_epochs(self, num_epochs: int) -> float:
        """About how long a run of this length is trained.

        More go on than 1 of `reduction_factor`, for those are given credit that still learn: the
        exponent is that of the tables in `studies/search-efficiency`.
        """
        share = self.reduction_factor**-0.4 if self.is_halving else 0.5
        ends = [*self.rungs(num_epochs), num_epochs]
        if not self.is_halving:
            ends = [*ends[:1], num_epochs]  # who is in the better half is likely to stay there
        steps = [end - begin for begin, end in pairwise([0, *dict.fromkeys(ends)])]
        return sum(step * share**i for i, step in enumerate(steps))


def _long_form(value: object) -> object:
    """`pruning: median` for `pruning: {method: median}`."""
    return {"method": value} if isinstance(value, str) else value


class _Own(FileModel):
    """The search's own fields behind those of its runs: how it is carried out."""

    override_input: bool = False
    """Accepted for compatibility with Sequifier; nothing here ever prompts."""
    storage: str | None = Field(None, repr=False)
    """Storage URL; omitted = SQLite below studies/, or $SEQUIFIER_HPO_STORAGE."""
    workers: PositiveInt | Literal["auto"] = "auto"
    """Concurrent trials; auto = one per core, or one per GPU."""
    on_out_of_memory: Literal["halve", "halve_and_accumulate"] = "halve"
    """What an out-of-memory retry changes: the batch size, or also the accumulation steps."""
    max_consecutive_failures: PositiveInt = 5
    """Failed runs in a row after which the search stops; a loss that diverges does not count."""
    proposal_gap: PositiveInt = 12
    """With `bayesian`: each run is proposed from the results of runs at least this many before it."""
    warm_start: EarlierStudies = Field([], repr=False)
    """With `bayesian`: earlier studies on the same data and loss whose runs guide the proposals; each by
    its name, path, URL, or as `{storage: URL, study: NAME}`."""
    pruning: Annotated[PruningFields | None, BeforeValidator(_long_form)] = None
    """Early stopping across runs: successive_halving, median, or a mapping; omitted = none."""
    pruning_gap: PositiveInt = 2
    """With `pruning`: each run is compared with the runs at least this many before it."""
    finish_best: NonNegativeInt | None = None
    """With `pruning`: stopped runs that a last round gives their full length; omitted = 3."""
    time_budget: Duration | None = None
    """Time that one start has, as `8h`, `90m`, `1h30m` or in seconds; what is left, the next one does."""
    epoch_budget: PositiveInt | None = None
    """Epochs that all runs of the study together may train; no run starts that would need more."""
    export: Literal["all", "best"] = "all"
    """Which runs keep exported models: all of them, or only the study's best so far."""


class SearchFile(_Own, _InsteadOfAName):
    """A search file, whatever fields its runs have."""

    if TYPE_CHECKING:
        # They are derived: mypy takes them for whatever they are used as.
        def __getattr__(self, field: str) -> Any: ...

    run_file: ClassVar[type[TrainConfig]]
    """Model of the files of its runs."""

    @property
    def description(self) -> Description:
        """The fields of its runs."""
        return description_of(self.run_file)

    @property
    def types_of_columns(self) -> dict[str, str]:
        """Type of every column of the data, in the order of the metadata."""
        return {c: kind for types in self.column_types or [] for c, kind in types.items()}

    @property
    def columns_read(self) -> set[str]:
        """Columns of the data that some run reads."""
        inputs = {column for columns in self.input_columns or [] for column in columns}
        return inputs | set(self.target_columns)

    @property
    def num_processes(self) -> int:
        """Processes that train one run: of fields of the same names, which are no candidates."""
        return int(TrainingSpec.num_processes.__get__(self.training_hyperparameter_sampling))

    @property
    def num_to_finish(self) -> int:
        """Stopped runs that a last round gives their full length."""
        if self.pruning is None:
            return 0
        return _FINISH_BEST if self.finish_best is None else self.finish_best

    @property
    def paths(self) -> ProjectPaths:
        """Where the files of the project are."""
        return ProjectPaths(Path(self.project_root))

    @property
    def study_folder(self) -> Path:
        """Where the study's own files are."""
        return self.paths.study_folder(self.hp_search_name)

    @property
    def results_path(self) -> Path:
        """The leaderboard file."""
        return self.study_folder / "results.csv"

    @property
    def run_folder(self) -> Path:
        """Where the runs' `train.yaml` files are."""
        return Path(project_path(self.model_config_write_path, self.project_root))

    def run_path(self, model_name: str) -> Path:
        """Where the `train.yaml` of a run is."""
        return self.run_folder / f"{model_name}.yaml"


def search_model(run_file: type[TrainConfig]) -> type[SearchFile]:
    """The model of the search files whose runs have the fields of this model."""
    description = description_of(run_file)
    root = [field for field in description.fields.values() if not field.section]
    head = list(takewhile(lambda field: not field.is_of_one_run, root))
    rest = [field for field in root[len(head) :] if not field.is_of_one_run]
    sections: dict[str, Any] = {
        section.name: (_section_model(description, name), Field(description=section.words))
        for name, section in description.sections.items()
    }
    # The fields of later bases come first.
    bases = (
        SearchFile,
        create_model("_Rest", __base__=FrozenModel, **(_definitions(rest) | sections)),
        _InsteadOfAName,
        create_model("_Head", __base__=FrozenModel, **_definitions(head)),
    )
    own = {"__doc__": "A hyperparameter-search file.", "__module__": __name__, "run_file": run_file}
    return type("SearchConfig", bases, own)


def _section_model(description: Description, name: str) -> type[FrozenModel]:
    searched = [
        description.fields[field]
        for part in description.searched(name)
        for field in (part.fields if isinstance(part, LinkedGroup) else (part.name,))
    ]
    fields = [field for field in description.fields.values() if field.section == name]
    settings = [field for field in fields if not field.is_searched]
    section = description.sections[name]
    return create_model(
        section.name,
        __base__=FrozenModel,
        __doc__=section.words,
        **_definitions([*searched, *settings]),
    )


def _definitions(fields: Iterable[TrainedField]) -> dict[str, Any]:
    """What `create_model` is told of the search file's fields."""
    return {field.name: _definition(field) for field in fields}


def _definition(field: TrainedField) -> tuple[Any, Any]:
    search = field.search
    annotation = field.type if search.takes_null else without_null(field.type)
    default = field.default if search.default is AS_TRAINED else search.default
    if isinstance(search, Candidates):
        annotation = list_of_candidates(annotation)
    if default is None:
        annotation = annotation | None
    words = search.words or field.words
    if default is REQUIRED:
        return annotation, Field(description=words)
    return annotation, Field(default=default, description=words)


if TYPE_CHECKING:
    SearchConfig = SearchFile
else:
    SearchConfig = search_model(TrainConfig)
