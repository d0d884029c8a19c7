"""What must fit together in a search file, over all of its candidates.

Each rule yields findings at the field that should be changed.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from sequifier_hpo.config.description import LinkedGroup, description_of
from sequifier_hpo.config.range_rules import RANGE_CHECKS, unusual_ranges
from sequifier_hpo.config.ranges import NumberRange, ends, entries, rows, some_values
from sequifier_hpo.config.recipes import recipe_findings
from sequifier_hpo.config.schema import Check, Finding, check, did_you_mean
from sequifier_hpo.config.search_fields import SearchFile
from sequifier_hpo.config.train_fields import TrainConfig
from sequifier_hpo.config.train_rules import (
    column_name_problem,
    dimension_findings,
    settings_rules,
)
from sequifier_hpo.config.widths import allocate_widths
from sequifier_hpo.config.yaml_file import Loc, dotted

_DESCRIPTION = description_of(TrainConfig)
MODEL_SECTION, TRAINING_SECTION = (section.name for section in _DESCRIPTION.sections.values())
MODEL_BACKBONE = _DESCRIPTION.groups["model_backbone"]


def _linked(group: LinkedGroup) -> Check[SearchFile]:
    @check(*(".".join(map(str, group.loc(field))) for field in group.fields))
    def find(config: SearchFile) -> Iterator[Finding]:
        lists = {field: _DESCRIPTION.in_search_file(config, field) for field in group.fields}
        yield from _length_findings(group, lists)

    return find


def _length_findings(group: LinkedGroup, lists: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding, naming every list of the group and its length, if they differ."""
    present = {field: len(values) for field, values in lists.items() if isinstance(values, list)}
    if len(set(present.values())) > 1:
        # The anchor comes first; where it is a range, the next one sets the number of rows.
        first, expected = next(iter(present.items()))
        wrong = next(field for field, length in present.items() if length != expected)
        table = ", ".join(f"{field} has {length}" for field, length in present.items())
        yield Finding(
            group.loc(wrong),
            f"the linked lists of the {group.name} group differ in length: {table}",
            f"{expected} values, as many as `{first}`: index i of every list forms row i",
            f"add or remove values, so that every list has {expected}",
        )


@check("search_strategy", "n_samples")
def _sample_needs_a_number(config: SearchFile) -> Iterator[Finding]:
    strategy = config.search_strategy
    if strategy != "grid" and config.n_samples is None:
        default = " (the default)" if strategy == "sample" else ""
        yield Finding(
            ("n_samples",),
            f"required when search_strategy is `{strategy}`{default}",
            "the number of distinct runs",
            "add `n_samples: 20`, or `search_strategy: grid` to run every combination",
        )


@check("warm_start", "search_strategy", "hp_search_name")
def _warm_start_guides_proposals(config: SearchFile) -> Iterator[Finding]:
    strategy, named = config.search_strategy, list(map(str, config.warm_start))
    if config.hp_search_name in named:
        yield Finding(
            ("warm_start", named.index(config.hp_search_name)),
            "no study guides itself; its own runs are learned from anyway",
            fix="remove the line, or give the new search another hp_search_name",
        )
    if named and strategy != "bayesian":
        yield Finding(
            ("warm_start",),
            f"with search_strategy `{strategy}`, runs are chosen without a look at any results: "
            "earlier studies have nothing to guide",
            "search_strategy: bayesian",
            "remove the field, or write `search_strategy: bayesian`",
        )
    for i, name in enumerate(named):
        if name in named[:i]:
            yield Finding(("warm_start", i), f"{name} is named twice", fix="remove the line")


@check("model_config_write_path")
def _write_path_stays_inside(config: SearchFile) -> Iterator[Finding]:
    if ".." in PurePosixPath(config.model_config_write_path).parts:
        yield Finding(
            ("model_config_write_path",),
            f"{config.model_config_write_path} points outside the project through `..`",
            "a folder below project_root, such as configs/hp_search, or an absolute path",
        )


@check("input_columns", "column_types", "target_columns")
def _columns_are_known(config: SearchFile) -> Iterator[Finding]:
    if config.input_columns is None or config.column_types is None:
        return
    for i, columns in enumerate(config.input_columns):
        types = config.column_types[min(i, len(config.column_types) - 1)]
        for j, column in enumerate(columns):
            yield from _column_findings(column, types, ("input_columns", i, j))
    for i, column in enumerate(config.target_columns):
        for types in config.column_types[:1]:
            yield from _column_findings(column, types, ("target_columns", i))


def _column_findings(
    column: str, types: Mapping[str, str], loc: tuple[str | int, ...]
) -> Iterator[Finding]:
    if column not in types:
        problem = f"the data has no column `{column}`"
        yield Finding(loc, problem, ", ".join(types), did_you_mean(column, types))
    elif name_problem := column_name_problem(column):
        yield Finding(loc, name_problem, fix="rename the column in the data")


@check("column_types", "input_columns", "categorical_columns", "real_columns")
def _column_types_are_known(config: SearchFile) -> Iterator[Finding]:
    for i, columns in enumerate(config.input_columns or []):
        if config.categorical_columns is None or config.real_columns is None:
            return
        if i >= len(config.categorical_columns) or i >= len(config.real_columns):
            return  # reported as a difference in length
        sorted_out = {*config.categorical_columns[i], *config.real_columns[i]}
        types = (config.column_types or [{}])[min(i, len(config.column_types or [{}]) - 1)]
        for j, column in enumerate(columns):
            if column in types and column not in sorted_out:
                yield Finding(
                    ("input_columns", i, j),
                    f"`{column}` is neither a categorical nor a real column of the data",
                    ", ".join(sorted(sorted_out)),
                )


@check("target_column_types", "n_classes")
def _categorical_targets_have_classes(config: SearchFile) -> Iterator[Finding]:
    if config.n_classes is None:
        return
    for column, kind in config.target_column_types.items():
        if kind == "categorical" and column not in config.n_classes:
            yield Finding(
                ("target_column_types", column),
                f"`{column}` is not a categorical column of the data",
                f"categorical for {', '.join(config.n_classes)}; real for the others",
            )


@check(f"{TRAINING_SECTION}.optimizer")
def _optimizers_can_be_built(config: SearchFile) -> Iterator[Finding]:
    for i, recipe in enumerate(config.training_hyperparameter_sampling.optimizer):
        yield from recipe_findings("optimizer", recipe, (TRAINING_SECTION, "optimizer", i))


@check(f"{TRAINING_SECTION}.scheduler")
def _schedulers_can_be_built(config: SearchFile) -> Iterator[Finding]:
    for i, recipe in enumerate(config.training_hyperparameter_sampling.scheduler or []):
        yield from recipe_findings("scheduler", recipe, (TRAINING_SECTION, "scheduler", i))


@check(
    f"{TRAINING_SECTION}.scheduler",
    f"{TRAINING_SECTION}.epochs",
    f"{TRAINING_SECTION}.scheduler_step_on",
)
def _total_steps_match_epochs(config: SearchFile) -> Iterator[Finding]:
    sampling = config.training_hyperparameter_sampling
    if sampling.scheduler_step_on != "epoch":
        return
    for (recipe, place), (epochs, of_epochs) in rows(sampling.scheduler or [], sampling.epochs):
        total = recipe.get("total_steps")
        is_range = isinstance(total, NumberRange) or isinstance(epochs, NumberRange)
        if total is not None and (is_range or total != epochs):
            yield Finding(
                (TRAINING_SECTION, "scheduler", *place, "total_steps"),
                f"{total} differs from {dotted(('epochs', *of_epochs))} = {epochs} while schedulers "
                "step on epochs",
                "the same number in both, and no range" if is_range else str(epochs),
            )


@check(
    *(f"{MODEL_SECTION}.{name}" for name in ("dim_model", "n_head", "initial_embedding_dim")),
    f"{MODEL_SECTION}.joint_embedding_dim",
    f"{MODEL_SECTION}.positional_encoding",
)
def _backbones_fit(config: SearchFile) -> Iterator[Finding]:
    sampling = config.model_hyperparameter_sampling
    names = ("dim_model", "n_head", "initial_embedding_dim", "joint_embedding_dim")
    for row in rows(*(getattr(sampling, name) for name in names)):
        places = {
            name: (value, (MODEL_SECTION, name, *place))
            for name, (value, place) in zip(names, row, strict=True)
        }
        yield from _backbone_findings(places, with_rope="rope" in sampling.positional_encoding)


def _backbone_findings(row: Mapping[str, tuple[Any, Loc]], *, with_rope: bool) -> Iterator[Finding]:
    """Check one row for each number of heads that its ranges may give."""
    (dim_model, _), (n_head, _), (initial, _), (joint, _) = row.values()
    equal = {"dim_model": dim_model, "joint_embedding_dim": joint}
    if joint is None:
        equal |= {"initial_embedding_dim": initial}
    for name, value in equal.items():
        if isinstance(value, NumberRange):
            others = " and ".join(n for n, v in equal.items() if n != name and v is not None)
            yield Finding(
                row[name][1],
                f"{others} must be equal to it in every run, which two ranges, or a range and a "
                "number, are not",
                "a list of numbers",
                "list the widths, with the same ones in each of these fields",
            )
            return
    initial, loc = row["initial_embedding_dim"]
    row = {**row, "initial_embedding_dim": (ends(initial)[0], loc)}
    for number in some_values(n_head):
        found = list(
            dimension_findings({**row, "n_head": (number, row["n_head"][1])}, with_rope=with_rope)
        )
        yield from found
        if found:
            return  # the others would say the same


@check(
    f"{MODEL_SECTION}.dim_model",
    f"{MODEL_SECTION}.initial_embedding_dim",
    f"{MODEL_SECTION}.feature_embedding_dims",
    "input_columns",
    "categorical_columns",
    "real_columns",
)
def _embedding_widths_fit(config: SearchFile) -> Iterator[Finding]:
    sampling = config.model_hyperparameter_sampling
    widths, maps = sampling.initial_embedding_dim, sampling.feature_embedding_dims
    sets = zip(
        config.input_columns or [],
        config.categorical_columns or [],
        config.real_columns or [],
        strict=False,
    )
    for j, (columns, categorical, real) in enumerate(sets):
        for (width, place), (dims, of_dims) in rows(widths, maps):
            if dims is None:
                narrowest, _ = ends(width)
                if allocate_widths(narrowest, categorical, real) is None:
                    yield Finding(
                        (*MODEL_BACKBONE.loc("initial_embedding_dim"), *place),
                        f"{width} is too narrow for the {len(columns)} columns of input_columns[{j}]",
                        f">= {len(categorical) + len(real)}",
                    )
            elif set(dims) != set(columns):
                yield Finding(
                    (*MODEL_BACKBONE.loc("feature_embedding_dims"), *of_dims),
                    f"has the columns {list(dims)}, but input_columns[{j}] is {columns}",
                    "exactly the columns of every input set",
                    "write null: widths are then shared out for each input set",
                )
            elif sum(dims.values()) != width:
                yield Finding(
                    (*MODEL_BACKBONE.loc("feature_embedding_dims"), *of_dims),
                    f"the widths sum to {sum(dims.values())}",
                    f"a sum of {dotted(('initial_embedding_dim', *place))} = {width}",
                )


@check(f"{MODEL_SECTION}.prediction_length", "seq_length")
def _prediction_fits_window(config: SearchFile) -> Iterator[Finding]:
    length = config.model_hyperparameter_sampling.prediction_length
    for seq_length, place in entries(config.seq_length):
        if length > ends(seq_length)[0]:
            yield Finding(
                ("seq_length", *place),
                f"{seq_length} is shorter than prediction_length = {length}",
                f">= {length}",
            )


SEARCH_CHECKS: tuple[Check[SearchFile], ...] = (
    *(_linked(group) for group in _DESCRIPTION.groups.values()),
    _sample_needs_a_number,
    _warm_start_guides_proposals,
    _write_path_stays_inside,
    _columns_are_known,
    _column_types_are_known,
    _categorical_targets_have_classes,
    *settings_rules(TRAINING_SECTION),
    *RANGE_CHECKS,
    _optimizers_can_be_built,
    _schedulers_can_be_built,
    _total_steps_match_epochs,
    _backbones_fit,
    _embedding_widths_fit,
    _prediction_fits_window,
)


def unusual(config: SearchFile) -> Iterator[Finding]:
    """What is allowed but probably not meant."""
    yield from _schedules_that_do_not_end(config)
    yield from _pruning_without_effect(config)
    yield from unusual_ranges(config)
    for column, kind in config.target_column_types.items():
        if kind == "real" and column in (config.n_classes or {}):
            yield Finding(
                ("target_column_types", column),
                f"`{column}` is categorical in the data: as a real target it is the number that "
                "its category happens to have",
                fix="categorical; or give the table decimal numbers (3.0) if it is a quantity",
            )


def _schedules_that_do_not_end(config: SearchFile) -> Iterator[Finding]:
    sampling = config.training_hyperparameter_sampling
    if sampling.scheduler_step_on != "epoch":
        return
    for (recipe, place), (epochs, of_epochs) in rows(sampling.scheduler or [], sampling.epochs):
        period = recipe.get("T_max")
        first, last = ends(epochs)
        if isinstance(period, int) and not period == first == last:
            turns = "rises again" if period < last else "stops before its minimum"
            yield Finding(
                (TRAINING_SECTION, "scheduler", *place, "T_max"),
                f"T_max is {period} and {dotted(('epochs', *of_epochs))} is {epochs}: the learning "
                f"rate {turns}",
                fix=f"T_max: {epochs}, unless this is intended",
            )


def _pruning_without_effect(config: SearchFile) -> Iterator[Finding]:
    pruning = config.pruning
    if pruning is None:
        if "finish_best" in config.model_fields_set and config.finish_best:
            yield Finding(
                ("finish_best",),
                "nothing is stopped without `pruning`, so there is nothing to finish",
                fix="add `pruning: successive_halving`, or remove the line",
            )
        return
    if pruning.method == "median" and "reduction_factor" in pruning.model_fields_set:
        yield Finding(
            ("pruning", "reduction_factor"),
            "it has no effect with the method median, which lets the better half go on",
            fix="remove the line",
        )
    longest = max(ends(value)[1] for value in config.training_hyperparameter_sampling.epochs)
    if pruning.first_rung >= longest:
        yield Finding(
            ("pruning", "first_rung"),
            f"no run has more than {longest} epochs: nothing can be stopped",
            fix=f"a number below {longest}, or no pruning",
        )
