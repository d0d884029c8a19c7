"""The origin of a checkpoint: recorded by the run that writes it, checked by the run that finds it.

A checkpoint is continued only by the run that it belongs to, and removed unasked only where it is
certain that nothing else is lost.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import ValidationError

from sequifier_hpo.config.description import WEIGHTS, description_of
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.digests import digest_differences
from sequifier_hpo.records import DataDigest, RunIdentity
from sequifier_hpo.words import counted

_MOST_SHOWN = 8  # differences; a checkpoint of something else altogether has dozens
_LONGEST_VALUE = 60
_FIX = (
    "undo the change; or start afresh with `--restart`, which removes the checkpoints; or "
    "choose another `model_name`, which keeps them"
)
_FIX_OF_DOUBT = (
    "if the data have not changed since, continue with `--trust-checkpoint`; if they have, start "
    "afresh with `--restart`, or choose another `model_name`"
)
_FIX_IN_SEARCH = "move it elsewhere, then run the search again with `--retry-failed`"


@cache
def without_influence(run_file: type[TrainConfig]) -> frozenset[str]:
    """Names of the fields that may differ between a run and one that continues its checkpoint.

    They do not change a single weight at any step: where files are, what is logged and exported,
    when the run ends.
    """
    return frozenset(
        field.name
        for field in description_of(run_file).fields.values()
        # The types of the columns that are read: the network is made after them.
        if field.influence is not WEIGHTS and field.name != "column_types"
    )


@dataclass(frozen=True)
class Origin:
    """What a run is, as recorded in its checkpoints."""

    identity: RunIdentity | None
    """None = whoever ordered the run did not say."""
    fields: dict[str, Any]
    """The JSON values of all fields that shape the weights, and of some that do not."""
    fingerprint: str
    """SHA-256 of them and of the number of training windows: all that 0.1.0 knew of a run."""

    @property
    def is_alone(self) -> bool:
        """Whether the run is known to belong to no study."""
        return self.identity is not None and self.identity.study_id is None

    @property
    def is_of_study(self) -> bool:
        """Whether the run is known to belong to a study."""
        return self.identity is not None and self.identity.study_id is not None

    def as_state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        identity = None if self.identity is None else self.identity.model_dump()
        return {"fingerprint": self.fingerprint, "identity": identity, "fields": self.fields}


@dataclass(frozen=True)
class Verdict:
    """What a run may do with a checkpoint found under its name."""

    is_continued: bool
    is_replaceable: bool
    """Whether a fresh start that was ordered may remove it without asking."""
    reasons: tuple[str, ...] = ()
    """Why it is not certain that the checkpoint is the run's, or why it is certain that it is not."""
    fix: str = _FIX

    def hindered(self, reason: str, *, is_lost: bool = False) -> "Verdict":
        """The same verdict, but the checkpoint cannot be continued for this reason.

        Args:
            reason: What is in the way.
            is_lost: Whether a fresh start would never get as far.
        """
        return replace(
            self,
            is_continued=False,
            is_replaceable=self.is_replaceable and not is_lost,
            reasons=(reason,),
        )


def judge(run: Origin, own: Mapping[str, Any] | None, *, trusts: bool) -> Verdict:
    """Compare a run with what a checkpoint says about itself.

    Args:
        run: The run that found it.
        own: What stands in the checkpoint under our key; None = Sequifier itself wrote it.
        trusts: Whether a checkpoint that does not say of which data it is, is of the present data.
    """
    if run.identity is None:
        return _judge_by_fingerprint(run, own)
    if run.identity.study_id is None:
        return _judge_alone(run, run.identity.data, own, trusts=trusts)
    return _judge_in_search(run, run.identity, own)


def _judge_by_fingerprint(run: Origin, own: Mapping[str, Any] | None) -> Verdict:
    """For a run without an identity."""
    if own is None or (not _says_identity(own) and own.get("fingerprint") == run.fingerprint):
        return Verdict(is_continued=True, is_replaceable=True)
    if _says_identity(own):
        reason = "it records its run, and this run has no identity to compare with"
        return Verdict(is_continued=False, is_replaceable=False, reasons=(reason,))
    reasons = ("it was written by another configuration", *_field_differences(own, run))
    return Verdict(is_continued=False, is_replaceable=True, reasons=reasons)


def _judge_alone(
    run: Origin, data: DataDigest, own: Mapping[str, Any] | None, *, trusts: bool
) -> Verdict:
    """For a run of the command `train`: the same data and the same fields."""
    if own is None:
        reason = "it was written by Sequifier, which does not record the run"
        return Verdict(is_continued=True, is_replaceable=False, reasons=(reason,))
    identity = _identity_in(own)
    if identity is not None:
        found = (*digest_differences(identity.data, data), *_field_differences(own, run))
        return Verdict(is_continued=not found, is_replaceable=not found, reasons=found)
    if own.get("fingerprint") != run.fingerprint:
        found = ("it was written by another configuration", *_field_differences(own, run))
        return Verdict(is_continued=False, is_replaceable=False, reasons=found)
    reason = "it does not record its data: an earlier version wrote it"
    return Verdict(is_continued=trusts, is_replaceable=True, reasons=(reason,), fix=_FIX_OF_DOUBT)


def _judge_in_search(run: Origin, identity: RunIdentity, own: Mapping[str, Any] | None) -> Verdict:
    """For a run of a study: of the same study, and with the same key."""
    found = None if own is None else _identity_in(own)
    if own is None:
        reason = "it was written by Sequifier"
    elif found is None and own.get("fingerprint") == run.fingerprint:
        # An earlier version's attempt at this very run; on which data, nobody knows.
        reason = "it does not record its study or its data"
        return Verdict(is_continued=False, is_replaceable=True, reasons=(reason,))
    elif found is None:
        reason = "it was written by another configuration"
    elif found.study_id is None:
        reason = "it belongs to a run that was trained alone"
        differences = (
            *digest_differences(found.data, identity.data),
            *_field_differences(own, run),
        )
        if not differences:
            # Someone trained the run's own file by hand: it is the same training.
            return Verdict(is_continued=True, is_replaceable=True, fix=_FIX_IN_SEARCH)
    elif found.study_id != identity.study_id:
        reason = f"it belongs to another study, with the id {found.study_id}"
    elif found.key != identity.key:
        reason = "it belongs to another run of this study"
    else:
        # Those of an attempt that ran out of memory were made with larger batches.
        differences = _field_differences(own, run)
        return Verdict(is_continued=not differences, is_replaceable=True, reasons=differences)
    return Verdict(is_continued=False, is_replaceable=False, reasons=(reason,), fix=_FIX_IN_SEARCH)


def _says_identity(own: Mapping[str, Any]) -> bool:
    return own.get("identity") is not None


def _identity_in(own: Mapping[str, Any]) -> RunIdentity | None:
    """The run that a checkpoint belongs to; None if it does not record one that we can read."""
    try:
        return RunIdentity.model_validate(own.get("identity"))
    except ValidationError:
        return None


def _field_differences(own: Mapping[str, Any], run: Origin) -> tuple[str, ...]:
    """Every field that shapes the weights and differs, with both values.

    Empty too where the checkpoint does not name its fields: those of 0.1.0 have a fingerprint only.
    """
    if not isinstance(own.get("fields"), dict):
        return ()
    before, now = _with_influence(own["fields"]), _with_influence(run.fields)
    if _as_text(before) == _as_text(now):
        return ()
    old, new = dict(_leaves("", before)), dict(_leaves("", now))
    found = [
        f"{name}: {_shown(old.get(name))} in the checkpoint, {_shown(new.get(name))} now"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if not found:
        found = [
            f"{name}: in a different order now"
            for name, value in now.items()
            if _as_text(value) != _as_text(before[name])
        ]
    more = len(found) - _MOST_SHOWN
    return (*found[:_MOST_SHOWN], *([f"and {counted(more, 'more field')}"] if more > 0 else []))


def _with_influence(fields: Mapping[str, Any]) -> dict[str, Any]:
    passed_over = without_influence(TrainConfig)
    return {name: value for name, value in fields.items() if name not in passed_over}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value below a mapping under its dotted name, as JSON."""
    if not isinstance(value, dict) or not value:
        yield name, _as_text(value)
        return
    for key, item in value.items():
        yield from _leaves(f"{name}.{key}" if name else str(key), item)


def _as_text(value: Any) -> str:
    return json.dumps(value)


def _shown(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
