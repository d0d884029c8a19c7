"""The data that a run or a search reads: what they are, what of them counts, whether they fit."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sequifier_hpo.config.metadata import is_categorical, metadata_file_of, metadata_of
from sequifier_hpo.config.paths import split_path
from sequifier_hpo.config.ranges import ends, entries, of_json
from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.config.search import LoadedSearch, SearchFile
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import ConfigError, ConfigIssue, InputError
from sequifier_hpo.preprocessing.counted_events import CountedEvents, count_events, read_places
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.preprocessing.stored_split import StoredSplit, describe_split
from sequifier_hpo.records import Counted, DataDigest, Recount


def data_of_run(config: TrainConfig, on_progress: Callable[[str], None]) -> DataDigest:
    """The digest of a run's data, in the columns that it reads.

    Args:
        config: The run.
        on_progress: Takes a line of text before a split is read, which takes time if it is large.

    Raises:
        InputError: If a split cannot be read, or the run would be validated on what it trains on.
        ConfigError: If there is a metadata file, and it is none.
    """
    metadata = metadata_of(config)
    splits = (config.training_data_path, config.validation_data_path)
    for named in () if metadata is None else metadata.split_paths:
        path = split_path(named, config.project_root)
        if path in splits and not Path(path).exists():
            raise InputError(
                f"the data {path} does not exist; {metadata_file_of(config)} names it",
                "run `sequifier-hpo preprocess` first, or correct project_root",
            )
    digest = data_digest(
        Path(splits[0]),
        Path(splits[1]),
        config.read_format,
        metadata=metadata,
        column_types=config.column_types,
        on_progress=on_progress,
    ).reading(config.columns_read)
    if digest.training == digest.validation:
        paths = config.training_data_path, config.validation_data_path
        raise InputError(f"`validation_data_path`: {_same_windows(*paths)}", _OTHER_VALIDATION)
    return digest


def data_of_search(
    config: SearchFile, on_progress: Callable[[str], None], *, keeps: bool
) -> DataDigest:
    """The digest of the data of a search, in the columns that some run of it reads.

    Args:
        config: The search file.
        on_progress: Takes a line of text before a split is read, which takes time if it is large.
        keeps: Whether to keep the digest for the next time.

    Raises:
        InputError: If a split cannot be read.
        ConfigError: If there is a metadata file, and it is none.
    """
    training, validation = (Path(path) for _, path in _splits(config))
    digest = data_digest(
        training,
        validation,
        config.read_format,
        metadata=metadata_of(config),
        column_types=config.types_of_columns,
        on_progress=on_progress,
        keeps=keeps,
    )
    return digest.reading(config.columns_read)


def counted_by_run(config: TrainConfig, path: Path) -> Counted:
    """Which positions the validation loss of a run file counts.

    Args:
        config: What was read from it, whose metadata say how padding is known.
        path: The file, whose head says which positions.
    """
    head = read_run_file_head(path.read_text(encoding="utf-8"))
    return Counted(last_positions=head.counted_last, padding_is_stored=_padding_is_stored(config))


def counted_by_search(config: SearchFile) -> Counted:
    """Which positions the losses of a new study count: those that all its runs predict."""
    lengths = {end for length, _ in entries(config.seq_length) for end in ends(length)}
    last_positions = min(lengths) if len(lengths) > 1 else None
    return Counted(last_positions=last_positions, padding_is_stored=_padding_is_stored(config))


def recounted(config: SearchFile, counted: Counted, former: Mapping[str, Any]) -> Recount:
    """Which positions the losses of a study count that goes on with another file.

    They are the same, unless some run of the file predicts fewer.

    Args:
        config: The other file.
        counted: What the losses of the runs so far count.
        former: The described space that these are from.
    """
    least = min(ends(length)[0] for length, _ in entries(config.seq_length))
    number = counted.last_positions or of_json(former["seq_length"][0])
    if counted_by_search(config).last_positions is None and least == number:
        return Recount(counted, formerly=number)
    last_positions = min(least, number)
    return Recount(counted.model_copy(update={"last_positions": last_positions}), formerly=number)


def counted_events(config: SearchFile, counted: Counted) -> CountedEvents | None:
    """How many events of the validation split the losses count; None if they count all positions.

    Raises:
        InputError: If the split cannot be read.
    """
    if counted.last_positions is None:
        return None
    _, (_, path) = _splits(config)
    described = describe_split(Path(path), config.read_format)
    return count_events(
        *read_places(Path(path), config.read_format, described),
        window_length=described.window_length,
        last_positions=counted.last_positions,
    )


def guesses_padding_of_numbers(config: SearchFile, counted: Counted) -> bool:
    """Whether padding is known by zeros alone, which numbers may be as well."""
    types = config.types_of_columns.values()
    return not counted.padding_is_stored and bool(types) and not any(map(is_categorical, types))


def check_splits(
    loaded: LoadedSearch, on_progress: Callable[[str], None], *, keeps: bool = True
) -> None:
    """Compare a search file with the stored windows.

    Args:
        loaded: The search file.
        on_progress: Takes a line of text before a split is read, if its values must be compared.
        keeps: Whether to keep the digests of their values for the next time.

    Raises:
        ConfigError: If a split is missing or unreadable, a column is missing from it, its windows
            are shorter than a `seq_length`, or both splits hold the same ones.
    """
    config, document = loaded.config, loaded.document
    issues: list[ConfigIssue] = []
    described: list[StoredSplit] = []
    for field, path in _splits(config):
        try:
            split = describe_split(Path(path), config.read_format)
        except InputError as error:
            issues.append(document.issue((field,), error.problem, fix=error.fix))
            continue
        described.append(split)
        issues += _split_issues(loaded, split, path)
    # Reading their values takes time: only where they can be the same.
    if not issues and len({(split.num_windows, split.window_length) for split in described}) == 1:
        data = data_of_search(config, on_progress, keeps=keeps)
        if data.training == data.validation:
            issues.append(_validates_on_training(loaded))
    if issues:
        unique = {(issue.path, issue.problem): issue for issue in issues}
        raise ConfigError(list(unique.values()))


def _split_issues(loaded: LoadedSearch, split: StoredSplit, path: str) -> Iterator[ConfigIssue]:
    config, document = loaded.config, loaded.document
    for seq_length, place in entries(config.seq_length):
        if ends(seq_length)[1] > split.window_length:
            yield document.issue(
                ("seq_length", *place),
                f"{seq_length} is longer than the windows of {path}, which hold "
                f"{split.window_length} past items",
                allowed=f"1 to {split.window_length}",
                fix="choose a smaller value, or preprocess with a larger seq_length",
            )
    for column in sorted(config.columns_read - set(split.columns)):
        yield document.issue(
            ("input_columns",),
            f"the column `{column}` is not in {path}",
            allowed=", ".join(split.columns),
            fix="run preprocess again, or correct the column",
        )


_OTHER_VALIDATION = (
    "give `split_ratios` of the preprocessing file two shares or more, such as [0.8, 0.2], and run "
    "preprocess again; or name another split in `validation_data_path`"
)


def _validates_on_training(loaded: LoadedSearch) -> ConfigIssue:
    """The issue at the field that names the validation split, or the metadata that do."""
    document = loaded.document
    field = "validation_data_path"
    named_by = field if (field,) in document.lines else "metadata_config_path"
    paths = (path for _, path in _splits(loaded.config))
    return document.issue((named_by,), _same_windows(*paths), fix=_OTHER_VALIDATION)


def _same_windows(training: str, validation: str) -> str:
    is_same_file = Path(training).samefile(validation)
    what = "is also the training split" if is_same_file else f"holds the same windows as {training}"
    return (
        f"the validation split {validation} {what}, so that losses would be measured on what was "
        "trained on"
    )


def _padding_is_stored(config: SearchFile | TrainConfig) -> bool:
    metadata = metadata_of(config)
    return metadata is not None and metadata.padding is not None


def _splits(config: SearchFile) -> Iterator[tuple[str, str]]:
    """(field, path) of the training and the validation split."""
    for field in ("training_data_path", "validation_data_path"):
        path = getattr(config, field)
        assert path is not None, "filled in from the metadata"
        yield field, path
