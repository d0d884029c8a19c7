"""Linked groups: fields of the search file that vary together, paired by list index."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sequifier_hpo.config.schema import Finding

MODEL_SECTION = "model_hyperparameter_sampling"
TRAINING_SECTION = "training_hyperparameter_sampling"


@dataclass(frozen=True)
class LinkedGroup:
    """Index *i* of every list of the group forms row *i*."""

    name: str
    """Name of the group, and of the one categorical parameter it becomes."""
    section: str
    """Section of the search file that holds the lists; "" = its root."""
    anchor: str
    """The list that sets the number of rows."""
    linked: tuple[str, ...]
    """The lists that must be as long as the anchor's; a null or absent one does not count."""

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields of a row, the anchor first."""
        return (self.anchor, *self.linked)

    def loc(self, field: str, row: int | None = None) -> tuple[str | int, ...]:
        """Where a field, or its value in one row, stands in the search file."""
        place: tuple[str | int, ...] = (self.section, field) if self.section else (field,)
        return place if row is None else (*place, row)


MODEL_BACKBONE = LinkedGroup(
    "model_backbone",
    MODEL_SECTION,
    "dim_model",
    ("n_head", "initial_embedding_dim", "joint_embedding_dim", "feature_embedding_dims"),
)
TRAINING_SCHEDULE = LinkedGroup(
    "training_schedule", TRAINING_SECTION, "learning_rate", ("epochs", "scheduler")
)
DATA_SCHEMA = LinkedGroup(
    "data_schema", "", "input_columns", ("column_types", "categorical_columns", "real_columns")
)


def length_findings(group: LinkedGroup, lists: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding, naming every list of the group and its length, if they differ."""
    present = {
        field: len(lists[field]) for field in group.fields if isinstance(lists.get(field), list)
    }
    if len(set(present.values())) > 1:
        expected = present[group.anchor]
        wrong = next(field for field, length in present.items() if length != expected)
        table = ", ".join(f"{field} has {length}" for field, length in present.items())
        yield Finding(
            group.loc(wrong),
            f"the linked lists of the {group.name} group differ in length: {table}",
            f"{expected} values, as many as `{group.anchor}`: index i of every list forms row i",
            f"add or remove values, so that every list has {expected}",
        )
