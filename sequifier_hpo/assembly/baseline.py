"""The losses of trivial predictors, as a study keeps them; a worker has computed them."""

from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from sequifier_hpo.assembly.locate import StudySource
from sequifier_hpo.assembly.view import StudyReader
from sequifier_hpo.errors import SequifierHpoError
from sequifier_hpo.records import Baseline

ATTRIBUTE = "baselines"
"""User attribute of the study: a list of objects with `name` and `loss`."""

_STORED = TypeAdapter(tuple[Baseline, ...])


def baselines_from(attribute: object) -> tuple[Baseline, ...]:
    """The baselines in a study's attribute; none if it is absent or something else."""
    try:
        return _STORED.validate_python(attribute)
    except ValidationError:
        return ()


def baselines_of(reader: StudyReader) -> tuple[Baseline, ...]:
    """The baselines of an open study; none if it has none yet, or cannot be read."""
    with suppress(SequifierHpoError, KeyError):
        attributes = reader.cached_storage.get_study_user_attrs(reader.study_id)
        return baselines_from(attributes.get(ATTRIBUTE))
    return ()


def stored_baselines(source: StudySource) -> tuple[Baseline, ...]:
    """The same of a study that is not open."""
    with suppress(SequifierHpoError), StudyReader(source) as reader:
        return baselines_of(reader)
    return ()
