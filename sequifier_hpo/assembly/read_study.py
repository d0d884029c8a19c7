"""The study of a search file as it stands, read without changing it."""

from contextlib import closing
from functools import partial

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.inference.kept_models import ModelsOfRuns
from sequifier_hpo.preprocessing.inputs import counted_by_search, recounted
from sequifier_hpo.report.study_reader import read_source
from sequifier_hpo.study import Storage, StudyMissingError, StudyPlan, StudySnapshot, read_study


def study_plan(prepared: PreparedSearch) -> StudyPlan:
    """What the study of a search should be."""
    config = prepared.loaded.config
    return StudyPlan(
        name=prepared.name,
        space=prepared.space,
        data=prepared.data,
        counted=counted_by_search(config),
        key_of=lambda point, seed: prepared.keyer.key(point, seed=seed),
        num_runs=prepared.num_runs,
        recount=partial(recounted, config),
        models=ModelsOfRuns(prepared.source, prepared.on_progress),
    )


def existing_study(prepared: PreparedSearch) -> StudySnapshot | None:
    """The study of a search as it stands, or None if it was never started.

    Raises:
        SpaceChangedError, DataChangedError: If it is another search's, or of other data.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    try:
        with closing(Storage(prepared.storage_url, is_for_reading=True)) as storage:
            found = read_study(storage, prepared.name)
    except StudyMissingError:
        return None
    found.require_space(study_plan(prepared))
    if found.identity is not None:
        found.require_data(prepared.data)
    return found


def read_search(prepared: PreparedSearch) -> StudySnapshot:
    """The study whose winner is to be checked, as it stands.

    Raises:
        InputError: If the search was never started.
        SpaceChangedError, DataChangedError, UnknownDataError: If it is not the study of this
            search file and its data.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    snapshot = read_source(prepared.source)
    snapshot.require_space(study_plan(prepared))
    snapshot.require_data(prepared.data)
    return snapshot
