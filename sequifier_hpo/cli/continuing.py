"""More epochs for a finished run, as a run of its own."""

import shutil
from pathlib import Path

from sequifier_hpo.atomic import StagedFiles, write_atomically
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import find_study
from sequifier_hpo.config.run_file import read_run_file_head, run_file_text
from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.errors import InputError


def continued_file(run: str, epochs: int | None) -> Path:
    """Write the file of a run that goes on where another has ended; nothing of that is touched.

    Args:
        run: Number of a run of the usual search file's study, or path of a run's `train.yaml`.
        epochs: The epoch with which it is to end.

    Returns:
        The new run's `train.yaml`, beside the old one's; its first checkpoint is in place.

    Raises:
        InputError: If there is no such run, or no checkpoint of it, or it has got as far already.
    """
    file = _run_file(run)
    config = load_train_config(file)
    paths, name = config.paths, config.model_name
    found = {paths.epoch_of_checkpoint(name, p.name): p for p in paths.checkpoints_of(name)}
    finished = [epoch for epoch in found if epoch is not None]
    if not finished:
        raise InputError(
            f"there is no checkpoint of {name} in {paths.checkpoints}",
            "fetch it from where the run was trained, or train it again",
        )
    last = max(finished)
    if epochs is None or epochs <= last:
        given = "no --epochs are given" if epochs is None else f"--epochs {epochs} is no more"
        raise InputError(
            f"{name} was trained for {last} epochs, and {given}", f"ask for {last + 1} or more"
        )
    new = config.with_more_epochs(epochs)
    target = file.with_name(f"{new.model_name}.yaml")
    head = read_run_file_head(file.read_text(encoding="utf-8"))
    if not target.exists():
        write_atomically(target, run_file_text(new, head.counted_last))
    checkpoint = paths.checkpoint(new.model_name, last)
    if not paths.checkpoints_of(new.model_name):
        with StagedFiles() as files, files.open(checkpoint) as copy, found[last].open("rb") as old:
            shutil.copyfileobj(old, copy)
    say(f"{new.model_name}: goes on after epoch {last} of {name}, which stays as it is; {target}")
    return target


def _run_file(run: str) -> Path:
    if not run.isdecimal():
        return Path(run)
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.report.chosen_run import chosen_run  # noqa: PLC0415
    from sequifier_hpo.report.run_files import train_file_of  # noqa: PLC0415
    from sequifier_hpo.report.study_reader import read_source  # noqa: PLC0415

    source = find_study(None, None, None)
    snapshot = read_source(source)
    return train_file_of(source, chosen_run(source, snapshot, int(run)), snapshot.study_id)
