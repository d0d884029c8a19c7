"""YAML in and out: lines, traps and broken files."""

import os
from pathlib import Path

import pytest

from sequifier_hpo.config.yaml_file import dotted, dump_yaml, parse_yaml, read_yaml
from sequifier_hpo.errors import ConfigError, ConfigIssue


def issue_in(text: str) -> ConfigIssue:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, file="x.yaml")
    return caught.value.issues[0]


def test_every_value_knows_its_line() -> None:
    document = parse_yaml("a: 1\nb:\n  c: [x,\n    y]\n", file="x.yaml")

    assert document.line_of(("b", "c", 1)) == 4
    assert document.line_of(("b", "missing", "deeper")) == 2


def test_a_location_is_shown_as_a_dotted_path() -> None:
    assert dotted(("a", "b", 1, "c")) == "a.b[1].c"


def test_a_key_given_twice_is_an_error_that_names_both_lines() -> None:
    issue = issue_in("a: 1\nb: 2\na: 3\n")

    assert (issue.path, issue.line) == ("a", 3)
    assert "line 1" in issue.problem


def test_a_tab_is_explained() -> None:
    issue = issue_in("a:\n\t- 1\n")

    assert issue.line == 2
    assert "spaces" in issue.fix


def test_a_syntax_error_names_its_line() -> None:
    assert issue_in("a: 1\nb: [1, 2\nc: 3\n").line in {2, 3}


@pytest.mark.parametrize("text", ["12:30", "010", "-0777", "1:00.5"])
def test_numbers_that_yaml_reads_in_another_base_are_refused(text: str) -> None:
    assert f"YAML reads {text}" in issue_in(f"a: {text}\n").problem


@pytest.mark.parametrize(
    ("name", "read"),
    [("no", "false"), ("on", "true"), ("~", "null"), ("0x1F", "31"), ("1_0", "10")],
)
def test_a_name_that_yaml_reads_as_another_value_is_to_be_quoted(name: str, read: str) -> None:
    issue = issue_in(f"a:\n  {name}: real\n")

    assert (issue.path, issue.line) == (f"a.{name}", 2)
    assert issue.problem == f"YAML reads the name `{name}` as {read}"
    assert issue.fix == f"put it in quotes: `'{name}':`"


def test_names_in_quotes_and_plain_numbers_are_names() -> None:
    document = parse_yaml("a: {'no': 1, 7: 2, \"0x1F\": 3}\n", file="x.yaml")

    assert document.data["a"] == {"no": 1, 7: 2, "0x1F": 3}


def test_zero_and_plain_numbers_are_not_surprising() -> None:
    document = parse_yaml("a: [0, 10, 0.5, 1_000]\n", file="x.yaml")

    assert document.data == {"a": [0, 10, 0.5, 1000]}


def test_anchors_and_merge_keys_are_understood() -> None:
    document = parse_yaml("base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\n", file="x.yaml")

    assert document.data["c"] == {"x": 1, "y": 3}


def test_an_alias_that_contains_itself_is_an_error() -> None:
    assert "contains itself" in issue_in("a: &x [1, *x]\n").problem


def test_aliases_that_explode_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    assert "too many" in issue_in("\n".join(lines)).problem


def test_nesting_beyond_reason_is_an_error_and_not_a_crash() -> None:
    assert issue_in("a: " + "[" * 5000 + "]" * 5000).problem


def test_a_python_tag_is_refused() -> None:
    assert "!!python/object" in issue_in("a: !!python/object/apply:os.system ['true']\n").problem


def test_a_text_with_a_character_that_no_path_may_hold_is_refused() -> None:
    issue = issue_in('a: 1\nb: "x\\0y"\n')

    assert "NUL" in issue.problem
    assert (issue.path, issue.line) == ("b", 2)


@pytest.mark.parametrize(("text", "kind"), [("- 1\n", "list"), ("hello\n", "single value")])
def test_a_file_that_is_not_a_mapping_is_an_error(text: str, kind: str) -> None:
    assert kind in issue_in(text).problem


def test_an_empty_file_is_an_error() -> None:
    assert "empty" in issue_in("# nothing\n").problem


def test_bytes_that_are_not_utf8_are_located(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")

    with pytest.raises(ConfigError, match="UTF-8") as caught:
        read_yaml(path)

    assert caught.value.issues[0].line == 2


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_yaml(tmp_path / "nope.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        read_yaml(tmp_path)


def test_what_is_written_reads_back_equal() -> None:
    data = {
        "lr": 1e-05,
        "texts": ["yes", "no", "010", "12:30", "null", "~", "1e-5", "", "2024-01-01", "ä: b"],
        "nested": {"a": [[1, 2.0], [True, None]]},
    }

    assert parse_yaml(dump_yaml(data), file="x").data == data


def test_small_numbers_are_written_so_that_yaml_1_1_reads_them_as_numbers() -> None:
    assert "1.0e-05" in dump_yaml({"weight_decay": 1e-05})


def doubling(what: str, content: str) -> str:
    """Mappings or lists of which each holds the one before it twice."""
    lines = [f"m0: &m0 {content}"]
    lines += [f"m{i}: &m{i} {what.format(f'*m{i - 1}, *m{i - 1}')}" for i in range(1, 31)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (doubling("{{<<: [{}]}}", "{}"), "aliases expand to too many values"),
        (doubling("{{<<: [{}]}}", "{a: 1}"), "aliases expand to too many values"),
        ("a: " + "[" * 30_000, "nested deeper than 100 levels"),
        ("a: " + "{a: " * 30_000, "nested deeper than 100 levels"),
        ("m0: &m0 []\n" + "".join(f"m{i}: &m{i} [*m{i - 1}]\n" for i in range(1, 200)), "deeper"),
        ("- \n" * 300_000, "more than 250,000 names and values"),
        ("a: " + "1" * 5000, "a number of 5,000 characters"),
        ("a: 0" + "7" * 5000, "a number of 5,001 characters"),
        ("a: 1" + ":59" * 2000, "a number of 6,001 characters"),
    ],
    ids=str.split("merged-empty merged lists mappings chain values decimal octal sexagesimal"),
)
def test_a_file_without_an_end_is_refused_with_a_sentence(text: str, problem: str) -> None:
    assert problem in issue_in(text).problem


def test_a_line_that_is_no_yaml_is_not_shown_whole() -> None:
    assert len(issue_in("a: [1,\nb: " + "x" * 100_000 + ": y: z").problem) < 300


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "search.yaml")

    with pytest.raises(ConfigError, match=r"search\.yaml\n.*it is a named pipe"):
        read_yaml(tmp_path / "search.yaml")


def test_no_more_mistakes_are_shown_than_anybody_reads() -> None:
    text = str(ConfigError([ConfigIssue(f"field{i}", "wrong") for i in range(1_234)]))

    assert text.count("wrong") == 100
    assert text.endswith("and 1,134 more mistakes")
