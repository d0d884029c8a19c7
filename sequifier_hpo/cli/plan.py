"""`sequifier-hpo plan`: what a search would run, before any time is spent on it."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sequifier_hpo.assembly.prepare import PreparedSearch, prepare_search
from sequifier_hpo.cli.options import (
    AsJson,
    ConfigPath,
    MetadataConfigPath,
    OneInputSet,
    SkipMetadata,
    StorageUrl,
    search_overrides,
)
from sequifier_hpo.cli.plan_strategy import (
    budget_lines,
    epochs_per_second,
    expected_epochs,
    strategy_lines,
    warm_start_lines,
)
from sequifier_hpo.cli.plan_time import measured_epochs_per_second
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.ranges import as_json
from sequifier_hpo.config.storage_url import sqlite_path
from sequifier_hpo.errors import ConfigIssue
from sequifier_hpo.preprocessing.counted_events import CountedEvents
from sequifier_hpo.preprocessing.inputs import (
    counted_by_search,
    counted_events,
    guesses_padding_of_numbers,
)
from sequifier_hpo.records import Counted, Run, Stored
from sequifier_hpo.report.leaderboard import Progress, progress, value_of
from sequifier_hpo.searchspace import (
    AdjustedCells,
    Parameter,
    SameRun,
    SpaceSizes,
    adjusted_cells,
    measure,
    same_runs,
)
from sequifier_hpo.words import counted, duration

if TYPE_CHECKING:
    from sequifier_hpo.study import StudySnapshot

_MAX_SHOWN = 10
_CONTINUOUS = "continuous"
_LOW_SHARE = 0.5  # of the validation events; below, a comparison rests on too little of the data


_Time = Annotated[
    bool,
    typer.Option(
        "--time", help="Train a few runs for a moment, to say how long a new search will take."
    ),
]


@dataclass(frozen=True)
class _Plan:
    """Everything that is shown."""

    prepared: PreparedSearch
    adjustments: list[AdjustedCells]
    duplicates: list[SameRun]
    sizes: SpaceSizes
    runs: Sequence[Run]
    """Of the study so far."""
    done: Progress | None
    """None if the study was never started."""
    epochs_per_second: float | None
    """Of runs side by side; None before the first has ended, unless measured."""
    is_measured: bool
    """Whether that is the pace of a moment's training, not of the study's own runs."""
    positions: Counted
    """Which positions the losses of a new study count."""
    events: CountedEvents | None
    """Of the validation split; None if the losses of all runs count all positions."""
    warm_start: list[str]
    """What earlier studies will teach a study that was never started."""

    @property
    def num_to_come(self) -> int:
        """Runs that the search would start or continue now."""
        finished = self.done.num_ended if self.done else 0
        return max(0, self.prepared.num_runs - finished)

    @property
    def seconds_to_come(self) -> float | None:
        """How long these runs will take at the pace of those before; None if there were none."""
        if self.epochs_per_second is None or not self.prepared.num_runs:
            return None
        epochs = expected_epochs(self.prepared).with_pruning / self.prepared.num_runs
        return self.num_to_come * epochs / self.epochs_per_second

    @property
    def guesses_padding(self) -> bool:
        """Whether zeros alone tell what is padding, in a table of numbers."""
        return guesses_padding_of_numbers(self.prepared.loaded.config, self.positions)


def plan(
    config_path: ConfigPath = Path("configs/hyperparameter_search.yaml"),
    storage: StorageUrl = None,
    input_columns: OneInputSet = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
    time: _Time = False,  # noqa: FBT002 - a flag
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what a search would run; runs nothing.

    Example: sequifier-hpo plan --config-path configs/hyperparameter_search.yaml
    """
    prepared = prepare_search(
        config_path,
        overrides=search_overrides(input_columns, metadata_config_path),
        skip_metadata=skip_metadata,
        storage=storage,
        workers=None,
        on_progress=say,
        is_for_reading=True,
    )
    has_options = input_columns is not None or metadata_config_path is not None
    study = _existing_study(prepared, may_be_other=has_options)
    runs = None if study is None else study.runs
    positions = counted_by_search(prepared.loaded.config)
    if study is not None and study.identity is not None:
        positions = study.identity.counted  # its space may have changed since it was fixed
    pace = epochs_per_second(runs or ())
    is_measured = time and pace is None and prepared.num_runs > 0
    found = _Plan(
        prepared=prepared,
        adjustments=adjusted_cells(prepared.space),
        duplicates=same_runs(prepared.effective, _MAX_SHOWN + 1),
        sizes=measure(prepared.space, prepared.effective),
        runs=runs or (),
        done=None if runs is None else progress(runs, prepared.num_runs),
        epochs_per_second=measured_epochs_per_second(prepared) if is_measured else pace,
        is_measured=is_measured,
        positions=positions,
        events=counted_events(prepared.loaded.config, positions),
        warm_start=warm_start_lines(prepared)
        if prepared.loaded.config.warm_start and runs is None
        else [],
    )
    print(json.dumps(_as_json(found), indent=2) if as_json else _as_text(found, config_path))


def _existing_study(prepared: PreparedSearch, *, may_be_other: bool) -> "StudySnapshot | None":
    """The study as it stands; None if there is none, or if options make the search another one."""
    file = sqlite_path(prepared.storage_url)
    if file is not None and not file.exists():
        return None
    # Optuna and what it brings take half a second: only when there is a study to read.
    from sequifier_hpo.assembly.read_study import existing_study  # noqa: PLC0415
    from sequifier_hpo.study import SpaceChangedError  # noqa: PLC0415

    try:
        return existing_study(prepared)
    except SpaceChangedError as error:
        if not may_be_other:
            raise
        say(
            f"with these options, this is another search than that of the study `{prepared.name}` "
            f"({'; '.join(error.lines)}): it is planned as a new one, and needs a name of its own"
        )
        return None


def _as_text(found: _Plan, config_path: Path) -> str:
    prepared = found.prepared
    space, sizes = prepared.space, found.sizes
    lines = [f"study {prepared.name}, storage {prepared.shown_storage}", ""]
    lines += [line for parameter in space.parameters for line in _parameter_lines(parameter)]
    cells, distinct = _sizes(prepared)
    lines += [
        "",
        f"combinations              {_text(cells)}",
        f"distinct configurations   {_text(distinct)}",
        *_adjustment_lines(found),
        *_duplicate_lines(found),
        "",
        f"parameters of a model     {sizes.parameters.minimum:,} to {sizes.parameters.maximum:,}, "
        f"median {sizes.parameters.median:,}",
        f"memory of a training step about {_bytes(sizes.memory_bytes.minimum)} to "
        f"{_bytes(sizes.memory_bytes.maximum)}, median {_bytes(sizes.memory_bytes.median)}, "
        "in addition to torch and the data",
    ]
    if not isinstance(distinct, int) or sizes.num_measured < distinct:
        lines.append(f"  (of {sizes.num_measured:,} distinct configurations)")
    lines += ["", *strategy_lines(prepared), *found.warm_start]
    lines += [f"  {line}" for line in budget_lines(prepared, found.runs)]
    if found.done is not None:
        done = found.done
        lines.append(
            f"so far: {done.num_complete:,} complete, "
            + (f"{done.num_pruned:,} stopped early, " if done.num_pruned else "")
            + f"{done.num_failed:,} failed, "
            f"{done.num_running:,} running, {done.num_interrupted:,} interrupted"
        )
    lines += [*_loss_lines(found), *_warning_lines(found)]
    lines += [
        f"remaining: {counted(found.num_to_come, 'run')}, on {prepared.device}{_time(found)}",
        "",
        "next:",
        f"  sequifier-hpo hyperparameter-search --config-path {config_path}",
    ]
    return "\n".join(lines)


def _time(found: _Plan) -> str:
    if not found.num_to_come:
        return ""
    if found.seconds_to_come is None:
        return "; how long they take is known after the first, or from `plan --time`"
    pace = "measured now" if found.is_measured else "of the runs so far"
    return f": about {duration(found.seconds_to_come)} at the pace {pace}"


def _loss_lines(found: _Plan) -> list[str]:
    """Which events the validation loss is over, where runs with several lengths are compared."""
    events, last_positions = found.events, found.positions.last_positions
    if events is None or last_positions is None:
        return []
    about = "" if found.positions.padding_is_stored else "about "
    which = "position" if last_positions == 1 else f"{last_positions} positions"
    lines = [
        f"the validation loss counts the last {which} of every window, which all runs predict: "
        f"{about}{events.share:.0%} of the events of the validation split "
        f"({events.num_counted:,} of {events.num_events:,})"
    ]
    if events.share >= _LOW_SHARE:
        return lines
    if events.widest_step > last_positions:
        lines.append(
            "  more would count with a smaller stride: preprocess again with a number of "
            f"{last_positions} or less for this split in `stride_by_split`"
        )
    else:
        lines.append("  more would count without the smallest value of seq_length")
    return lines


def _warnings(prepared: PreparedSearch) -> list[ConfigIssue]:
    # To plan on a machine without the device is no mistake; to search there is.
    issue = prepared.device_issue
    return [*prepared.loaded.warnings, *([issue] if issue else [])]


def _warning_lines(found: _Plan) -> list[str]:
    lines = [f"warning: {warning}" for warning in _warnings(found.prepared)]
    if found.guesses_padding:
        lines.append(
            "warning: the windows do not say which of their items are padding, and hold no ids: "
            "leading items that are 0 in every column count as padding, even where 0 is the mean. "
            "Windows made by `sequifier-hpo preprocess` record it"
        )
    return lines


def _adjustment_lines(found: _Plan) -> list[str]:
    if not found.adjustments:
        return []
    lines = ["adjusted so that every run is valid:"]
    for adjusted in found.adjustments[:_MAX_SHOWN]:
        number = adjusted.num_cells
        which = "some combinations" if number is None else counted(number, "combination")
        lines.append(f"  {which}: {adjusted.adjustment}")
    return lines + _more(len(found.adjustments))


def _duplicate_lines(found: _Plan) -> list[str]:
    if not found.duplicates:
        return []
    lines = ["equivalent choices, trained once:"]
    for same in found.duplicates[:_MAX_SHOWN]:
        shared = dict(set.intersection(*(set(choice.items()) for choice in same.choices)))
        first = same.choices[0]
        lines.append(f"  with {_named(first, set(shared))}:" if shared else "  always:")
        own = [f"    {_named(choice, set(choice) - set(shared))}" for choice in same.choices]
        lines += own[:_MAX_SHOWN] + ["    ..."] * (len(own) > _MAX_SHOWN)
    return lines + (["  ..."] if len(found.duplicates) > _MAX_SHOWN else [])


def _parameter_lines(parameter: Parameter) -> list[str]:
    kind = "linked group" if parameter.is_linked else "parameter"
    shown = [f"  {label}" for label in parameter.labels[:_MAX_SHOWN]]
    head = f"{parameter.name} ({kind}, {_size(parameter)})"
    return [head, *shown, *_more(len(parameter.labels))]


def _size(parameter: Parameter) -> str:
    """How many choices there are, and where there are no numbers of them."""
    if not parameter.is_continuous:
        return counted(len(parameter.choices), "choice")
    if len(parameter.candidates) == 1:
        return "continuous"
    return f"{counted(len(parameter.candidates), 'choice')}, continuous"


def _named(choice: Mapping[str, Stored], names: Container[str]) -> str:
    return ", ".join(
        f"{name}: {value_of(label)}" for name, label in choice.items() if name in names
    )


def _more(total: int) -> list[str]:
    return [f"  ... and {total - _MAX_SHOWN:,} more"] if total > _MAX_SHOWN else []


def _as_json(found: _Plan) -> dict[str, Any]:
    prepared = found.prepared
    return {
        "study": prepared.name,
        "storage": prepared.shown_storage,
        "strategy": prepared.loaded.config.search_strategy,
        "parameters": {
            parameter.name: {
                "linked": parameter.is_linked,
                "choices": [
                    {"label": choice.label, "values": as_json(dict(choice.values))}
                    for choice in parameter.candidates
                ],
                "num_choices": (_CONTINUOUS if parameter.is_continuous else len(parameter.choices)),
            }
            for parameter in prepared.space.parameters
        },
        "warnings": [str(warning) for warning in _warnings(prepared)],
        "num_combinations": _sizes(prepared)[0],
        "num_distinct": _sizes(prepared)[1],
        "adjustments": [vars(adjusted) for adjusted in found.adjustments],
        "duplicates": [
            [dict(choice) for choice in same.choices] for same in found.duplicates[:_MAX_SHOWN]
        ],
        "num_measured": found.sizes.num_measured,
        "model_parameters": vars(found.sizes.parameters),
        "memory_bytes": vars(found.sizes.memory_bytes),
        "num_runs": prepared.num_runs,
        "expected_epochs": vars(expected_epochs(prepared)),
        "num_complete": found.done.num_complete if found.done else 0,
        "num_pruned": found.done.num_pruned if found.done else 0,
        "num_failed": found.done.num_failed if found.done else 0,
        "time_budget": prepared.loaded.config.time_budget,
        "epoch_budget": prepared.loaded.config.epoch_budget,
        "num_to_come": found.num_to_come,
        "warm_start": [line.strip() for line in found.warm_start],
        "seconds_to_come": found.seconds_to_come,
        "counted_events": found.events
        and {
            "last_positions": found.positions.last_positions,
            "num_counted": found.events.num_counted,
            "num_events": found.events.num_events,
            "share": found.events.share,
            "is_estimate": not found.positions.padding_is_stored,
        },
        "guesses_padding_of_numbers": found.guesses_padding,
    }


def _sizes(prepared: PreparedSearch) -> tuple[int | str, int | str]:
    """Combinations, and those of them that are distinct."""
    space, effective = prepared.space, prepared.effective
    return (
        _CONTINUOUS if space.is_continuous else space.num_cells,
        _CONTINUOUS if effective.is_continuous else effective.num_distinct,
    )


def _text(number: int | str) -> str:
    return f"{number:,}" if isinstance(number, int) else number


def _bytes(number: int) -> str:
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
