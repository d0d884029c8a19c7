"""The model that the options of a command name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import find_study
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.chosen_model import ChosenModel, model_of_file, model_of_run


@contextmanager
def chosen_model(
    config_path: Path | None,
    storage: str | None,
    study_name: str | None,
    run: int | None,
    model: Path | None,
    metadata: Path | None,
) -> Iterator[ChosenModel]:
    """The model of a file, or of a run of a study.

    Raises:
        InputError: If the options name both, or none that is there.
    """
    if model is None:
        source = find_study(config_path, storage, study_name)
        with model_of_run(source, run, metadata, say) as chosen:
            yield chosen
        return
    of_study = {
        "--run": run,
        "--config-path": config_path,
        "--storage": storage,
        "--study-name": study_name,
    }
    stray = [name for name, value in of_study.items() if value is not None]
    if stray:
        raise InputError(
            f"--model names a file, and {stray[0]} a run of a study", "leave one of them out"
        )
    yield model_of_file(model, metadata)
