"""Which checkpoints a run continues, which it may remove, and before which it stops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.messages import FromWorker, RunTrial, TrialEnded
from sequifier_hpo.records import (
    Checkpoints,
    DataDigest,
    OutcomeKind,
    RunIdentity,
    SplitDigest,
)
from sequifier_hpo.training.checkpoint import OWN_KEY, fingerprint_of, read_checkpoint
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.worker.trial import run_trial

pytestmark = pytest.mark.slow

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
Run = Any  # the fixture `run`: a recorder of training runs


def data(cat1: str = "a", *, num_windows: int = 44, validation_cat1: str = "v") -> DataDigest:
    return DataDigest(
        training=SplitDigest(num_windows=num_windows, window_length=5, columns={"cat1": cat1}),
        validation=SplitDigest(num_windows=19, window_length=5, columns={"cat1": validation_cat1}),
    )


ALONE = RunIdentity(study_id=None, key="", data=data())
IN_STUDY = RunIdentity(study_id="study-1", key="key-1", data=data())


def files(config: TrainConfig) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in config.paths.checkpoints.iterdir()}


def rewrite(config: TrainConfig, epoch: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the content of an epoch's checkpoint."""
    path = config.paths.checkpoint(config.model_name, epoch)
    content = read_checkpoint(path)
    change(content)
    torch.save(content, path)


def as_of_0_1_0(content: dict[str, Any]) -> None:
    del content[OWN_KEY]["identity"], content[OWN_KEY]["fields"]


def as_of_sequifier(content: dict[str, Any]) -> None:
    del content[OWN_KEY]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (data("b"), "in the training split, `cat1` changed: values, ids or scaling"),
        (
            data(validation_cat1="w"),
            "in the validation split, `cat1` changed: values, ids or scaling",
        ),
        (
            data("b", num_windows=40),
            "the training split holds 40 windows; it held 44",
        ),
    ],
)
def test_a_run_alone_with_other_data_stops_and_says_what_has_changed(
    make_config: Config, make_data: Data, run: Run, changed: DataDigest, words: str
) -> None:
    config = make_config(epochs=2)
    run(config, make_data(), identity=ALONE)
    before = files(config)
    run.epochs.clear()

    with pytest.raises(InputError) as caught:
        run(
            make_config(epochs=3),
            make_data(),
            resume=True,
            identity=ALONE.model_copy(update={"data": changed}),
        )

    assert "small-epoch-2.pt cannot be continued" in str(caught.value)
    assert words in str(caught.value)
    assert "--restart" in caught.value.fix
    assert run.epochs == []
    assert files(config) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.02}, "learning_rate: 0.01 in the checkpoint, 0.02 now"),
        ({"dropout": 0.1, "seed": 4}, "seed: 3 in the checkpoint, 4 now"),
        (
            {"optimizer": {"name": "AdamW", "weight_decay": 0.1}},
            "optimizer.weight_decay: nothing in the checkpoint, 0.1 now",
        ),
        (
            {"input_columns": ["cat2", "cat1"]},
            'input_columns: ["cat1"] in the checkpoint, ["cat2", "cat1"] now',
        ),
    ],
)
def test_a_run_alone_with_other_fields_stops_and_names_both_values(
    make_config: Config, make_data: Data, run: Run, changes: dict[str, Any], words: str
) -> None:
    config = make_config(epochs=2)
    run(config, make_data(), identity=ALONE)
    before = files(config)
    run.epochs.clear()

    with pytest.raises(InputError) as caught:
        run(make_config(epochs=3, **changes), make_data(), resume=True, identity=ALONE)

    assert words in str(caught.value)
    assert run.epochs == []
    assert files(config) == before


def test_many_differences_are_not_all_listed(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(), make_data(), identity=ALONE)
    wider = {"initial_embedding_dim": 16, "dim_model": 16, "dim_feedforward": 9, "num_layers": 2}
    others = {"batch_size": 4, "learning_rate": 0.02, "dropout": 0.3, "seed": 4, "seq_length": 4}

    with pytest.raises(InputError, match=r"and 1 more field\n"):
        run(make_config(**wider, **others), make_data(), resume=True, identity=ALONE)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 3, "device": "cpu", "log_interval": 1, "save_interval_epochs": 3},
        {
            "epochs": 3,
            "column_types": {"cat1": "Int64", "new": "Float64"},
            "n_classes": {"cat1": 7},
        },
        {"epochs": 3, "prediction_length": 2},
    ],
    ids=["intervals", "columns that it does not read", "positions that the exported model gives"],
)
def test_what_does_not_shape_the_weights_keeps_no_run_from_going_on(
    make_config: Config, make_data: Data, run: Run, changes: dict[str, Any]
) -> None:
    run(make_config(epochs=2), make_data(), identity=ALONE)

    run(make_config(**changes), make_data(), resume=True, identity=ALONE)

    assert [report.epoch for report in run.epochs] == [1, 2, 3]


def test_the_order_of_what_the_weights_follow_is_a_difference(
    make_config: Config, make_data: Data, run: Run
) -> None:
    both = {"target_columns": ["cat1", "cat2"]}
    config = make_config(**both)
    identity = ALONE.model_copy(update={"data": data()})
    run(config, make_data(), identity=identity)
    criterion = {"cat2": "CrossEntropyLoss", "cat1": "CrossEntropyLoss"}

    with pytest.raises(InputError, match="criterion: in a different order now"):
        run(make_config(**both, criterion=criterion), make_data(), resume=True, identity=identity)


@pytest.mark.parametrize("age", [lambda _: None, as_of_0_1_0], ids=["present", "0.1.0"])
def test_a_fresh_start_of_the_very_same_run_needs_no_permission(
    make_config: Config, make_data: Data, run: Run, age: Callable[[dict[str, Any]], None]
) -> None:
    config = make_config(epochs=2)
    first = run(config, make_data(), identity=ALONE)
    rewrite(config, 2, age)
    run.epochs.clear()

    again = run(config, make_data(), identity=ALONE)

    assert [report.epoch for report in run.epochs] == [1, 2]
    assert again.best_validation_loss == first.best_validation_loss


@pytest.mark.parametrize(
    ("changes", "changed", "age", "words"),
    [
        ({"learning_rate": 0.02}, data(), None, "learning_rate: 0.01 in the checkpoint, 0.02 now"),
        ({}, data("b"), None, "`cat1` changed: values, ids or scaling"),
        (
            {"learning_rate": 0.02},
            data(),
            as_of_0_1_0,
            "it was written by another configuration",
        ),
        ({}, data(), as_of_sequifier, "it was written by Sequifier"),
    ],
    ids=["other fields", "other data", "0.1.0", "Sequifier"],
)
def test_a_fresh_start_alone_removes_nothing_else_unasked(
    make_config: Config,
    make_data: Data,
    run: Run,
    changes: dict[str, Any],
    changed: DataDigest,
    age: Callable[[dict[str, Any]], None] | None,
    words: str,
) -> None:
    config = make_config(epochs=2)
    run(config, make_data(), identity=ALONE)
    if age is not None:
        rewrite(config, 2, age)
    before = files(config)
    now = make_config(epochs=2, **changes)
    identity = ALONE.model_copy(update={"data": changed})
    run.epochs.clear()

    with pytest.raises(InputError, match="a fresh start would remove") as caught:
        run(now, make_data(), identity=identity)
    untouched = files(config)
    run(now, make_data(), identity=identity, checkpoints=Checkpoints.REMOVED)

    assert words in str(caught.value)
    assert untouched == before
    assert [report.epoch for report in run.epochs] == [1, 2]


def test_a_restart_removes_what_could_be_continued(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=2, continue_training=True)
    run(config, make_data(), identity=ALONE)
    run.epochs.clear()

    run(config, make_data(), resume=True, identity=ALONE, checkpoints=Checkpoints.REMOVED)

    assert [report.epoch for report in run.epochs] == [1, 2]


@pytest.mark.parametrize("stop_after", [None, 24], ids=["finished", "in epoch 3"])
def test_fewer_epochs_than_a_checkpoint_has_are_no_reason_to_remove_it(
    make_config: Config, make_data: Data, run: Run, stop_after: int | None
) -> None:
    config = make_config(epochs=4)
    run(config, make_data(), identity=ALONE, stop_after=stop_after)
    before = files(config)

    with pytest.raises(InputError, match="it is past epoch 2, the last one of this run"):
        run(make_config(epochs=2), make_data(), resume=True, identity=ALONE)

    assert files(config) == before


def test_a_checkpoint_of_0_1_0_is_continued_alone_only_by_who_trusts_it(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=2), make_data(), identity=ALONE)
    rewrite(make_config(), 2, as_of_0_1_0)
    longer = make_config(epochs=3)
    run.epochs.clear()

    with pytest.raises(InputError, match="it does not record its data") as caught:
        run(longer, make_data(), resume=True, identity=ALONE)
    run(longer, make_data(), resume=True, identity=ALONE, checkpoints=Checkpoints.TRUSTED)

    assert "--trust-checkpoint" in caught.value.fix
    assert [report.epoch for report in run.epochs] == [3]


def test_no_trust_reaches_to_a_checkpoint_of_0_1_0_of_another_configuration(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=2), make_data(), identity=ALONE)
    rewrite(make_config(), 2, as_of_0_1_0)

    with pytest.raises(InputError, match="it was written by another configuration"):
        run(
            make_config(epochs=3, learning_rate=0.02),
            make_data(),
            resume=True,
            identity=ALONE,
            checkpoints=Checkpoints.TRUSTED,
        )


def test_the_fingerprint_is_the_one_that_0_1_0_wrote(make_config: Config) -> None:
    config = make_config(dropout=0.3, optimizer={"name": "AdEMAMix", "T_alpha_beta3": 10})

    assert (
        fingerprint_of(config, 44)
        == "2f4c1364862fae364c143506780a3eb61fd106d0a7d1a456bad6ef13e9272e88"
    )


def test_a_checkpoint_of_sequifier_is_continued_alone(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=2), make_data(), identity=ALONE)
    rewrite(make_config(), 2, as_of_sequifier)
    run.epochs.clear()

    run(make_config(epochs=3), make_data(), resume=True, identity=ALONE)

    assert [report.epoch for report in run.epochs] == [3]


def test_a_checkpoint_of_sequifier_that_does_not_fit_is_kept(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=1)
    run(config, make_data(), identity=ALONE)
    rewrite(config, 1, as_of_sequifier)
    before = files(config)

    with pytest.raises(InputError, match="it does not fit this run"):
        run(make_config(dim_feedforward=16), make_data(), resume=True, identity=ALONE)

    assert files(config) == before


def test_a_run_of_a_study_goes_on_alone_with_the_same_data_and_fields(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=2), make_data(), identity=IN_STUDY)
    run.epochs.clear()

    run(make_config(epochs=3), make_data(), resume=True, identity=ALONE)

    assert [report.epoch for report in run.epochs] == [3]


def test_a_run_of_a_study_that_was_stopped_ends_as_if_it_had_not_been(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=3, dropout=0.3)
    whole = run(config, make_data(), identity=IN_STUDY)
    expected = read_checkpoint(config.paths.checkpoint("small", 3))

    stopped = run(config, make_data(), identity=IN_STUDY, stop_after=14)
    run.epochs.clear()
    result = run(config, make_data(), identity=IN_STUDY, resume=True)

    assert stopped.kind is OutcomeKind.INTERRUPTED
    assert [report.epoch for report in run.epochs] == [2, 3]
    assert result.best_validation_loss == whole.best_validation_loss
    found = read_checkpoint(config.paths.checkpoint("small", 3))
    for name, weights in expected["model_state_dict"].items():
        assert torch.equal(found["model_state_dict"][name], weights)
    assert found[OWN_KEY]["identity"] == expected[OWN_KEY]["identity"] == IN_STUDY.model_dump()


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    ("writer", "age", "words"),
    [
        (
            IN_STUDY.model_copy(update={"study_id": "study-2"}),
            None,
            "it belongs to another study, with the id study-2",
        ),
        (
            IN_STUDY.model_copy(update={"key": "key-2"}),
            None,
            "it belongs to another run of this study",
        ),
        (
            ALONE.model_copy(update={"data": data("b")}),
            None,
            "it belongs to a run that was trained alone",
        ),
        (IN_STUDY, as_of_sequifier, "it was written by Sequifier"),
    ],
    ids=["study", "key", "alone", "Sequifier"],
)
def test_a_run_of_a_study_neither_takes_nor_removes_a_checkpoint_of_something_else(
    make_config: Config,
    make_data: Data,
    run: Run,
    *,
    resume: bool,
    writer: RunIdentity,
    age: Callable[[dict[str, Any]], None] | None,
    words: str,
) -> None:
    config = make_config(epochs=2, continue_training=not resume)
    run(config, make_data(), identity=writer)
    if age is not None:
        rewrite(config, 2, age)
    before = files(config)
    sent: list[FromWorker] = []
    order = RunTrial(
        trial_number=0,
        attempt=1,
        config=config,
        config_path=None,
        resume=resume,
        identity=IN_STUDY,
    )

    run_trial(order, make_data, sent.append, lambda: False)

    (ended,) = sent
    assert isinstance(ended, TrialEnded)
    assert ended.result.kind is OutcomeKind.INVALID
    assert words in ended.result.reason
    assert "small-epoch-2.pt" in ended.result.reason
    assert "Traceback" not in config.paths.log("small").read_text()
    assert files(config) == before


@pytest.mark.parametrize("stop_after", [None, 14], ids=["finished", "stopped"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_run_of_a_study_goes_on_with_what_its_file_was_trained_to_by_hand(
    make_config: Config, make_data: Data, run: Run, stop_after: int | None, *, resume: bool
) -> None:
    config = make_config(epochs=3, dropout=0.3)
    whole = run(config, make_data(), identity=IN_STUDY)
    run(config, make_data(), identity=IN_STUDY, stop_after=14)
    run(config, make_data(), identity=ALONE, stop_after=stop_after)
    sent: list[FromWorker] = []

    run_trial(
        RunTrial(
            trial_number=0,
            attempt=2,
            config=config,
            config_path=None,
            resume=resume,
            identity=IN_STUDY,
        ),
        make_data,
        sent.append,
        lambda: False,
    )

    ended = sent[-1]
    assert isinstance(ended, TrialEnded)
    assert ended.result.kind is OutcomeKind.COMPLETED, ended.result.reason
    assert ended.result.best_validation_loss == whole.best_validation_loss


@pytest.mark.parametrize("resume", [True, False])
def test_what_was_trained_by_hand_beyond_the_run_of_a_study_is_kept(
    make_config: Config, make_data: Data, run: Run, *, resume: bool
) -> None:
    config = make_config(epochs=3)
    run(config, make_data(), identity=ALONE)
    before = files(config)

    with pytest.raises(InputError, match="it is past epoch 2, the last one of this run") as caught:
        run(make_config(epochs=2), make_data(), identity=IN_STUDY, resume=resume)

    assert "--retry-failed" in caught.value.fix
    assert files(config) == before


def test_a_smaller_batch_after_an_out_of_memory_starts_the_run_of_a_study_afresh(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=2), make_data(), identity=IN_STUDY)
    run.epochs.clear()

    run(make_config(epochs=3, batch_size=4), make_data(), identity=IN_STUDY, resume=True)

    assert [report.epoch for report in run.epochs] == [1, 2, 3]
    assert any("batch_size: 8 in the checkpoint, 4 now" in message for message in run.messages)


def test_an_attempt_of_0_1_0_at_a_run_of_a_study_is_made_again_and_named_in_the_log(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=2)
    run(config, make_data(), identity=IN_STUDY)
    rewrite(config, 2, as_of_0_1_0)
    run.epochs.clear()

    run(config, make_data(), identity=IN_STUDY, resume=True)

    assert [report.epoch for report in run.epochs] == [1, 2]
    assert any(m.startswith("skipping the checkpoint") and "epoch-2.pt" in m for m in run.messages)


def test_a_checkpoint_of_0_1_0_of_another_configuration_ends_the_run_of_a_study(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(), make_data(), identity=IN_STUDY)
    rewrite(make_config(), 2, as_of_0_1_0)

    with pytest.raises(InputError, match="it was written by another configuration"):
        run(make_config(seed=4), make_data(), identity=IN_STUDY)


def test_a_run_that_does_not_say_what_it_is_leaves_checkpoints_alone_that_do(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(), make_data(), identity=ALONE)

    with pytest.raises(InputError, match="this run has no identity to compare with"):
        run(make_config(), make_data(), resume=True)


def test_an_identity_in_words_of_another_version_is_none(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(), make_data(), identity=ALONE)

    def of_tomorrow(content: dict[str, Any]) -> None:
        content[OWN_KEY]["identity"] = {"run": "as yet unknown"}

    rewrite(make_config(), 2, of_tomorrow)

    with pytest.raises(InputError, match="it does not record its data"):
        run(make_config(epochs=3), make_data(), resume=True, identity=ALONE)


def test_a_damaged_checkpoint_is_in_nobodys_way(
    make_config: Config, make_data: Data, run: Run, tmp_path: Path
) -> None:
    config = make_config(epochs=1)
    config.paths.checkpoints.mkdir(parents=True)
    config.paths.checkpoint("small", 1).write_bytes(b"half")

    run(config, make_data(), identity=ALONE, resume=True)

    assert [report.epoch for report in run.epochs] == [1]
