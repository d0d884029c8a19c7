"""How two search spaces differ, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sequifier_hpo.config.description import Description, description_of
from sequifier_hpo.config.ranges import NumberRange, as_json, of_json, ranges_in
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.fingerprint import columns_in, comparable, is_parameter
from sequifier_hpo.searchspace.labels import row_text, value_text
from sequifier_hpo.searchspace.revisions import shape_of, varying_fields
from sequifier_hpo.words import listed


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What was added, removed or changed between two descriptions, a line each.

    Descriptions of earlier versions held more: what has no influence, and what the metadata say of
    columns that no run reads. That is not compared.
    """
    description = description_of(TrainConfig)
    stored, given = comparable(stored), comparable(given)
    lines: list[str] = []
    for name in sorted({*stored, *given}):
        before, after = stored.get(name), given.get(name)
        if canonical(before) != canonical(after) or (name in stored) != (name in given):
            if is_parameter(name, description):
                is_linked = name in description.groups
                lines += _of_candidates(name, before or [], after or [], is_linked=is_linked)
            else:
                lines += _of_setting(name, before, after, description)
    return lines + _of_columns(columns_in(stored), columns_in(given))


def unlike(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What of two spaces makes their losses incomparable, as lines."""
    judged = description_of(TrainConfig).judged

    def part(described: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in described.items() if name in judged}

    before, after = part(comparable(stored)), part(comparable(given))
    return [
        f"{name}: {_shown(before.get(name))} becomes {_shown(after.get(name))}"
        for name in judged
        if canonical(before.get(name)) != canonical(after.get(name))
    ]


def _of_setting(name: str, before: Any, after: Any, description: Description) -> list[str]:
    if description.fields[name].is_from_metadata and before and after:
        # Other columns have other entries; what is said of a column that both know is compared.
        both = before.keys() & after.keys()
        before, after = ({c: said[c] for c in said if c in both} for said in (before, after))
        if before == after:
            return []
    return [f"{name}: {_shown(before)} becomes {_shown(after)}"]


def _of_candidates(
    name: str, before: Sequence[Any], after: Sequence[Any], *, is_linked: bool
) -> list[str]:
    """What became of a list of candidates, or of the rows of a linked group."""
    known, kept = set(map(canonical, before)), set(map(canonical, after))
    gone = [of_json(each) for each in before if canonical(each) not in kept]
    come = [of_json(each) for each in after if canonical(each) not in known]
    if is_linked and len(fields := {field for row in (*before, *after) for field in row}) == 1:
        (name,) = fields
    if not gone and not come:
        return [f"{name}: in another order"]
    rows = [of_json(each) for each in (*before, *after)] if is_linked else []
    varying = varying_fields(rows)

    def text(candidate: Any) -> str:
        if not is_linked:
            return value_text(candidate)
        if len(candidate) == 1:
            return value_text(next(iter(candidate.values())))
        return f"the row {row_text(candidate, varying)}"

    words = [*_pairs(gone, come, is_linked=is_linked), *_taken_in(gone, come, after)]
    if len(before) == len(after) == 1 and gone and come:
        words.append(f"{text(gone.pop())} becomes {text(come.pop())}")
    for verb, candidates in (("added", come), ("removed", gone)):
        if candidates:
            words.append(f"{listed([text(each) for each in candidates])} {verb}")
    return [f"{name}: {'; '.join(words)}"]


def _pairs(gone: list[Any], come: list[Any], *, is_linked: bool) -> Iterator[str]:
    """The former and the present of what is still the same candidate; both are taken out."""
    for former in list(gone):
        for present in come:
            words = _span_words(former, present)
            if words is None and is_linked:
                words = _row_words(former, present)
            if words is not None:
                gone.remove(former)
                come.remove(present)
                yield words
                break


def _taken_in(gone: list[Any], come: list[Any], after: Sequence[Any]) -> Iterator[str]:
    """Numbers that are part of a range now; they are taken out, and the range with them."""
    for span in [each for each in map(of_json, after) if isinstance(each, NumberRange)]:
        if numbers := [each for each in gone if span.has(each)]:
            yield f"{listed([value_text(each) for each in numbers])} " + (
                f"{'becomes' if len(numbers) == 1 else 'become'} {span}"
            )
            for taken, candidates in ((numbers, gone), ([span], come)):
                candidates[:] = [each for each in candidates if each not in taken]


def _span_words(former: Any, present: Any) -> str | None:
    """What became of the ranges in a candidate; None if the other is another one."""
    before, after = dict(ranges_in(former)), dict(ranges_in(present))
    if not before or shape_of(former) != shape_of(present):
        return None
    changed = [(before[path], after[path]) for path in before if before[path] != after[path]]
    return ", ".join(_span_became(*spans) for spans in changed)


def _row_words(former: Mapping[str, Any], present: Mapping[str, Any]) -> str | None:
    """What became of a row; None if the other has another anchor, or other fields."""
    anchor, *others = former
    changed = [field for field in former if _differ(former[field], present.get(field))]
    if not others or former.keys() != present.keys() or anchor in changed:
        return None
    changes = [
        f"{field} {value_text(former[field])} becomes {value_text(present[field])}"
        for field in changed
    ]
    return f"in the row {anchor}={value_text(former[anchor])}, {listed(changes)}"


def _differ(one: Any, other: Any) -> bool:
    return canonical(as_json(one)) != canonical(as_json(other))


def _span_became(former: NumberRange, present: NumberRange) -> str:
    how = ""
    if present.low <= former.low and former.high <= present.high:
        how = " (wider)"
    elif former.low <= present.low and present.high <= former.high:
        how = " (narrower)"
    is_moved = (former.low, former.high) != (present.low, present.high)
    return f"{former} becomes {present}{how if is_moved else ''}"


def _of_columns(before: set[str], after: set[str]) -> list[str]:
    """Columns of the data that come into use, or go out of it."""
    lines = []
    if new := sorted(after - before):
        lines.append(f"columns: {listed(new)} {'is' if len(new) == 1 else 'are'} read from now on")
    if old := sorted(before - after):
        lines.append(f"columns: {listed(old)} {'is' if len(old) == 1 else 'are'} read no longer")
    return lines


def _shown(setting: Any) -> str:
    return value_text(setting)
