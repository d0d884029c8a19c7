"""`preprocess.yaml`: defaults, and every mistake with its line."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from sequifier_hpo.config.preprocess import PreprocessConfig, load_preprocess_config
from sequifier_hpo.errors import ConfigError, ConfigIssue

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a valid file, with lines replaced, added or (None) removed; returns its path."""
    (tmp_path / "shop.csv").write_text("sequenceId,itemPosition,a\n0,0,1\n")

    def write_file(**changes: str | None) -> Path:
        lines: dict[str, str | None] = {
            "project_root": str(tmp_path),
            "data_path": str(tmp_path / "shop.csv"),
            "split_ratios": "[0.7, 0.2, 0.1]",
            "seq_length": "6",
        }
        lines |= changes
        path = tmp_path / "preprocess.yaml"
        path.write_text("".join(f"{k}: {v}\n" for k, v in lines.items() if v is not None))
        return path

    return write_file


def issues_of(path: Path) -> list[ConfigIssue]:
    with pytest.raises(ConfigError) as caught:
        load_preprocess_config(path)
    return list(caught.value.issues)


def test_keys_that_are_left_out_take_the_defaults_of_sequifier(write: Write) -> None:
    config = load_preprocess_config(write())

    defaults = config.model_dump(exclude={"project_root", "data_path", "split_ratios"})
    assert defaults == {
        "read_format": "csv",
        "write_format": "parquet",
        "merge_output": True,
        "selected_columns": None,
        "statistics_from": "all",
        "seq_length": 6,
        "stride_by_split": [6, 6, 6],
        "max_rows": None,
        "seed": 1010,
        "n_cores": None,
        "batches_per_file": 1024,
        "process_by_file": True,
        "continue_preprocessing": False,
        "subsequence_start_mode": "distribute",
        "use_precomputed_maps": None,
        # Ours.
        "sequence_column": None,
        "order_column": None,
        "column_types": {},
        "missing": None,
        "split_by": "position",
    }


def test_a_config_built_in_code_takes_the_same_dependent_defaults() -> None:
    config = PreprocessConfig(
        project_root=".", data_path="x", split_ratios=[0.5, 0.5], seq_length=4, write_format="pt"
    )

    assert (config.merge_output, config.stride_by_split) == (False, [4, 4])


@pytest.mark.parametrize(
    ("write_format", "merged"), [("pt", False), ("csv", True), ("parquet", True)]
)
def test_merge_output_left_out_is_what_the_write_format_needs(
    write: Write, write_format: str, *, merged: bool
) -> None:
    config = load_preprocess_config(write(write_format=write_format))

    assert config.merge_output is merged


def test_a_parquet_split_may_be_several_files(write: Write) -> None:
    config = load_preprocess_config(write(write_format="parquet", merge_output="false"))

    assert config.merge_output is False


@pytest.mark.parametrize(("write_format", "merge_output"), [("pt", "true"), ("csv", "false")])
def test_merge_output_that_contradicts_the_write_format_is_an_error(
    write: Write, write_format: str, merge_output: str
) -> None:
    path = write(write_format=write_format, merge_output=merge_output)

    (issue,) = issues_of(path)

    assert (issue.path, issue.line) == ("merge_output", 6)
    assert issue.problem == f"contradicts `write_format: {write_format}`"


def test_a_column_that_must_have_a_map_and_has_none_is_an_error(write: Write) -> None:
    path = write(use_precomputed_maps="[a, b]")
    folder = path.parent / "configs" / "id_maps"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"1": 2}')

    (issue,) = issues_of(path)

    assert (issue.path, issue.line) == ("use_precomputed_maps[1]", 5)
    assert issue.problem == f"there is no {folder}/b.json"


def test_metadata_of_other_data_are_refused_with_what_to_do(write: Write) -> None:
    (issue,) = issues_of(write(metadata_config_path="configs/metadata_configs/old.json"))

    assert issue.path == "metadata_config_path"
    assert "to keep the ids of other metadata, write their `id_maps` to" in issue.fix


def test_exact_ratios_are_the_decimals_that_were_written(write: Write) -> None:
    config = load_preprocess_config(write())

    assert config.exact_ratios() == (Fraction(7, 10), Fraction(1, 5), Fraction(1, 10))


def test_ratios_that_do_not_sum_to_one_are_an_error(write: Write) -> None:
    (issue,) = issues_of(write(split_ratios="[0.7, 0.2]"))

    assert (issue.path, issue.line) == ("split_ratios", 3)
    assert issue.problem == "the ratios sum to 0.9"


def test_ratios_rounded_to_six_digits_are_accepted(write: Write) -> None:
    config = load_preprocess_config(write(split_ratios="[0.333333, 0.333333, 0.333333]"))

    assert len(config.split_ratios) == 3


def test_a_stride_list_of_another_length_than_the_ratios_is_an_error(write: Write) -> None:
    (issue,) = issues_of(write(stride_by_split="[1, 2]"))

    assert (issue.path, issue.allowed) == ("stride_by_split", "one stride for each split")


def test_a_data_path_that_does_not_exist_is_an_error(write: Write) -> None:
    (issue,) = issues_of(write(data_path="nowhere.csv"))

    assert (issue.path, issue.line) == ("data_path", 2)
    assert issue.problem == "nowhere.csv does not exist"


def test_an_id_column_among_the_selected_columns_is_an_error(write: Write) -> None:
    (issue,) = issues_of(write(selected_columns="[a, itemPosition]"))

    assert issue.path == "selected_columns[1]"


def test_an_unknown_key_is_an_error_with_the_nearest_name(write: Write) -> None:
    (issue,) = issues_of(write(seq_lenght="3"))

    assert (issue.line, issue.fix) == (5, "did you mean `seq_length`?")


@pytest.mark.parametrize("key", ["project_root", "data_path", "split_ratios", "seq_length"])
def test_a_mandatory_key_that_is_missing_is_the_only_error(write: Write, key: str) -> None:
    (issue,) = issues_of(write(**{key: None}))

    assert (issue.path, issue.problem) == (key, "this field is required and missing")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("read_format", "pt"),
        ("write_format", "feather"),
        ("merge_output", "maybe"),
        ("selected_columns", "[]"),
        ("split_ratios", "[]"),
        ("seq_length", "0"),
        ("seq_length", "2.5"),
        ("stride_by_split", "null"),
        ("max_rows", "-1"),
        ("seed", "-1"),
        ("n_cores", "-1"),
        ("batches_per_file", "0"),
        ("continue_preprocessing", "7"),
        ("subsequence_start_mode", "random"),
    ],
)
def test_a_value_outside_its_rule_is_one_error_at_its_key(
    write: Write, key: str, value: str
) -> None:
    (issue,) = issues_of(write(**{key: value}))

    assert issue.path == key


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("split_ratios", "[1.5, -0.5]", "split_ratios[1]"),
        ("stride_by_split", "[1, 0, 1]", "stride_by_split[1]"),
    ],
)
def test_a_value_in_a_list_outside_its_rule_is_an_error_at_its_place(
    write: Write, key: str, value: str, place: str
) -> None:
    (issue,) = issues_of(write(**{key: value}))

    assert issue.path == place


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_lines(write: Write) -> None:
    path = write(
        data_path="nowhere.csv",
        split_ratios="[0.5, 0.4]",
        seq_length="0",
        write_format="pt",
        merge_output="true",
        stride_by_split="[1]",
    )

    issues = issues_of(path)

    assert [(issue.line, issue.path) for issue in issues] == [
        (2, "data_path"),
        (3, "split_ratios"),
        (4, "seq_length"),
        (6, "merge_output"),
        (7, "stride_by_split"),
    ]


def test_overrides_replace_keys_before_anything_is_checked(write: Write, tmp_path: Path) -> None:
    config = load_preprocess_config(
        write(data_path="nowhere.csv"), overrides={"data_path": str(tmp_path), "seq_length": 3}
    )

    assert (config.data_path, config.seq_length) == (str(tmp_path), 3)
    assert config.stride_by_split == [3, 3, 3]


def test_a_wrong_override_is_quoted_itself_and_not_the_text_of_the_file(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_preprocess_config(write(), overrides={"seq_length": -5})

    (issue,) = caught.value.issues
    assert issue.problem == "-5 is out of range"
