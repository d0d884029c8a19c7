"""Descriptions of a study and its runs in Markdown, as optuna-dashboard shows them.

Names and values are the user's text: they stand in code spans, where nothing is markup.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sequifier_hpo.config.paths import run_name
from sequifier_hpo.config.search import LoadedSearch
from sequifier_hpo.records import DataDigest, Run
from sequifier_hpo.report.leaderboard import MIN_RUNS_FOR_IMPORTANCE, value_of
from sequifier_hpo.report.study_facts import StudyFacts, facts_of_space
from sequifier_hpo.searchspace import Point, SearchSpace, value_text, values_of
from sequifier_hpo.study.batch_plans import BATCH_PLAN_ATTRIBUTES
from sequifier_hpo.words import shortened

_MAX_VALUE = 400  # characters: hundreds of columns would bury the rest
_MAX_ATTRIBUTE = 100  # characters: the dashboard never breaks the line, and grows as wide


@dataclass(frozen=True)
class Places:
    """Where things are, as a reader in the project's root finds them."""

    search_file: str
    run_file: str
    """With `{run}` for the run's name, as the following."""
    log: str
    metrics: str
    models: str
    study_folder: str


def places_of(search: LoadedSearch) -> Places:
    """Where the files of a search are."""
    config = search.config
    paths = config.paths

    def shown(path: Path) -> str:
        return str(path.relative_to(paths.root) if path.is_relative_to(paths.root) else path)

    return Places(
        search_file=str(search.document.file),
        run_file=shown(config.run_folder / "{run}.yaml"),
        log=shown(paths.log("{run}")),
        metrics=shown(paths.metrics("{run}")),
        models=shown(paths.models / "sequifier-{run}-*"),
        study_folder=shown(config.study_folder),
    )


def study_note(
    space: SearchSpace,
    *,
    num_runs: int,
    num_distinct: int,
    places: Places,
    data: DataDigest | None = None,
) -> str:
    """What is searched, on which data, in which space, and how to resume.

    Args:
        space: The compiled search file.
        num_runs: Distinct runs planned for the study.
        num_distinct: Distinct runs that the space has, unless it is continuous.
        places: Where things are.
        data: What the runs are trained and judged on; None = not said.
    """
    config, facts = space.config, facts_of_space(space, data)
    targets = ", ".join(f"{_code(column)} ({kind})" for column, kind in facts.targets.items())
    how = (
        f"{config.search_strategy}: {_how_many(space, num_runs, num_distinct)}; seed {config.seed}"
    )
    return "\n".join(
        [
            f"# {_code(config.hp_search_name)}",
            "",
            f"Which configuration predicts {targets} best? The smallest validation loss wins.",
            "",
            *_table(("", ""), [("Search", how), ("File", _code(places.search_file))]),
            "",
            "## Data",
            "",
            *_table(("", ""), _data_rows(space, facts)),
            "",
            "## Space",
            "",
            *_table(("parameter", "values"), _space_rows(space)),
            "",
            f"How important a parameter seems is chance before {MIN_RUNS_FOR_IMPORTANCE} runs "
            "have ended.",
            "",
            "The values of a linked group go together: they are one parameter. Fixed:",
            "",
            *_table(("field", "value"), _field_rows(_shown(space, space.constants))),
            "",
            *_going_on(places),
        ]
    )


def _how_many(space: SearchSpace, num_runs: int, num_distinct: int) -> str:
    """How many runs there are, and of how many."""
    if space.is_continuous:
        return f"{num_runs:,} of a space with continuous ranges"
    which = "every one" if num_runs == num_distinct else f"{num_runs:,}"
    return f"{which} of {space.num_cells:,} combinations, {num_distinct:,} of them distinct"


def _going_on(places: Places) -> list[str]:
    """What to type next, and where the files are."""
    option = f"--config-path {places.search_file}"
    return [
        "## Go on",
        "",
        "The same command resumes the study, and adds runs after `n_samples` was raised:",
        "",
        *(f"    {line}" for line in _commands(option)),
        "",
        "## Files",
        "",
        f"- the report: {_code(places.study_folder + '/report.html')}",
        f"- the leaderboard: {_code(places.study_folder + '/results.csv')}",
        f"- a run's configuration: {_code(_of_run(places.run_file, 'RUN'))}",
        f"- its models: {_code(_of_run(places.models, 'RUN'))}",
        "",
    ]


def trial_note(space: SearchSpace, point: Point, run_number: int, places: Places) -> str:
    """The configuration of a run, what was adjusted to make it valid, and where its files are."""
    return _configuration_note(
        space, point, run_name(space.config.hp_search_name, run_number), places
    )


def verification_note(search_name: str, places: Places) -> str:
    """What the study of a winner check is, and how to resume it."""
    return "\n".join(
        [
            f"# Winner check of {_code(search_name)}",
            "",
            f"The best runs of the study {_code(search_name)}, retrained with new seeds: does "
            "the winner still win? These trials are not runs of the search. `verified_run` is the "
            "run that was trained again, `seed` its new seed.",
            "",
            "The same command resumes the check and compares the runs:",
            "",
            f"    sequifier-hpo verify --config-path {places.search_file}",
            "",
        ]
    )


def retraining_note(space: SearchSpace, point: Point, model_name: str, places: Places) -> str:
    """The same as of a run, for one that is trained again with another seed."""
    return _configuration_note(space, point, model_name, places)


def _configuration_note(space: SearchSpace, point: Point, name: str, places: Places) -> str:
    values, adjustments = values_of(space, point)
    varying = {field for p in space.parameters for field in p.fields}
    values = _shown(space, values)
    chosen = {field: value for field, value in values.items() if field in varying}
    fixed = {field: value for field, value in values.items() if field not in varying}
    lines = [f"# {_code(name)}", "", *_table(("field", "value"), _field_rows(chosen)), ""]
    if adjustments:
        lines += ["Adjusted, with the reason:", ""]
        lines += [f"- {_code(str(adjustment))}" for adjustment in adjustments] + [""]
    lines += ["Fixed in this search:", "", *_table(("field", "value"), _field_rows(fixed))]
    lines += ["", "Files, in the project's root:", ""]
    files = (places.run_file, places.log, places.metrics, places.models)
    lines += [f"- {_code(_of_run(file, name))}" for file in files]
    return "\n".join([*lines, ""])


def trial_attributes(space: SearchSpace, point: Point) -> dict[str, Any]:
    """Readable values of linked rows and of fixed fields, for the columns of a table.

    All other values are parameters, and stand in the table as such.
    """
    attributes = _flat(_shown(space, space.constants))
    values = _shown(space, space.point_values(point))
    for parameter in space.parameters:
        if parameter.is_linked:  # its label may be shortened
            attributes.update(
                _flat({field: values[field] for field in parameter.fields if field in values})
            )
    _, adjustments = values_of(space, point)
    if adjustments:
        text = "; ".join(str(adjustment) for adjustment in adjustments)
        attributes["adjustments"] = shortened(text, _MAX_ATTRIBUTE)
    return attributes


def retraining_attributes(space: SearchSpace, point: Point, run: Run, seed: int) -> dict[str, Any]:
    """The same of a run that is trained again with another seed."""
    # What an out-of-memory retry came down to is what the search has measured.
    measured = {a: v for a, v in run.attributes.items() if a in BATCH_PLAN_ATTRIBUTES}
    return {
        **trial_attributes(space, point),
        **measured,
        "verified_run": run.number,
        "seed": seed,
    }


def _shown(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Field values without null, and without what the metadata decide."""
    fields = space.description.fields
    return {
        field: value
        for field, value in values.items()
        if value is not None and not fields[field].is_from_metadata
    }


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Field values for a table: numbers stay numbers, the rest becomes text."""
    flat: dict[str, Any] = {}
    for field, value in values.items():
        if isinstance(value, list):
            flat[field] = ", ".join(map(str, value))
        elif isinstance(value, dict):
            flat[field] = ", ".join(f"{k}: {v}" for k, v in value.items())
        else:
            flat[field] = value
    return flat


def _data_rows(space: SearchSpace, facts: StudyFacts) -> Iterable[tuple[str, str]]:
    for name, path, size in facts.splits():
        yield name, f"{_code(path)}, {size}" if size else _code(path)
    yield "metadata", _code(space.config.metadata_config_path)
    yield "columns", _code(", ".join(space.column_order))


def _space_rows(space: SearchSpace) -> Iterable[tuple[str, str]]:
    for parameter in space.parameters:
        values = (_code(value_of(candidate.label)) for candidate in parameter.candidates)
        yield _code(parameter.name), " · ".join(values)


def _field_rows(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for field, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value_text(value)
        yield _code(field), _code(shown)


def _commands(option: str) -> Iterable[str]:
    yield f"sequifier-hpo hyperparameter-search {option}"
    yield f"sequifier-hpo status {option} --watch"
    yield f"sequifier-hpo best {option}"


def _of_run(path: str, name: str) -> str:
    return path.replace("{run}", name)


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    """The dashboard draws tables without any space between columns: it is part of the text."""
    lines = [f"| {head[0]} | {head[1]} |", "| :-- | :-- |"]
    return [*lines, *(f"| {a}&ensp; | {b} |" for a, b in rows)]


def _code(text: str) -> str:
    """A code span; a bar would end the cell of a table, and a backtick the span."""
    clean = " ".join(shortened(text, _MAX_VALUE).replace("`", "'").split())
    # With an even number of backslashes before it, some readers take a bar for the end of the cell.
    return "`" + re.sub(r"(\\*)\|", lambda m: m[1] + "\\" * (1 + len(m[1]) % 2) + "|", clean) + "`"
