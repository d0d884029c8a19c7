"""Grid search: every distinct run of the product once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from optuna.samplers import GridSampler

from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace
from sequifier_hpo.strategy.asking import ask
from sequifier_hpo.strategy.cells import Cells
from sequifier_hpo.study.distributions import distributions
from sequifier_hpo.study.proposing import History, NoProposal, Proposal


class GridRuns:
    """Proposes every distinct run of a space, in a seeded order."""

    def __init__(self, space: SearchSpace, effective: EffectiveSpace, keyer: Keyer) -> None:
        self._cells = Cells(space, effective, keyer)
        self._distributions = distributions(space)
        self._sampler = PermutedGridSampler(space, effective)

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """The first run of the seeded order that was not handed out yet."""
        found = self._cells.first_unused(history)
        if isinstance(found, NoProposal):
            return found
        place, proposal = found
        labels = ask(
            self._sampler,
            {name: self._distributions[name] for name in proposal.labels},
            ordinal=ordinal,
            system_attrs={"grid_id": place},
        )
        assert labels == proposal.labels, "the sampler and the ledger name the same cell"
        return proposal

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides which runs come next, besides the space and the seed."""
        return {"search_strategy": "grid"}

    def is_wanted(self, key: str) -> bool:  # noqa: ARG002 - whichever it is
        """Whatever was started is finished."""
        return True

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:
        """The other cells of the grid that mean this run."""
        space, effective = self._cells.space, self._cells.effective
        cell = space.cell_of_point(point)
        twins = () if cell is None else effective.equals(cell)
        if cell is None and (same := self._cells.same_run(point, key)) is not None:
            cell = space.cell_of_point(same)  # the run's own cell went, those of others may be left
            twins = () if cell is None else effective.all_equal(cell)
        for twin in twins:
            yield Proposal(key, space.point_at(twin), space.labels_at(twin))


class PermutedGridSampler(GridSampler):
    """Optuna's grid sampler over a list of cells that is never written out.

    The list and the choice of the cell (`grid_id`) are ours, the sampling is Optuna's.
    """

    def __init__(self, space: SearchSpace, effective: EffectiveSpace) -> None:
        super().__init__({})  # it would write out the product
        names = [parameter.name for parameter in space.parameters if len(parameter.candidates) > 1]
        names += [part.name for part in space.parts]
        self._search_space = {name: [] for name in sorted(names)}
        self._param_names = list(self._search_space)
        self._all_grids = _PermutedCells(space, effective, self._param_names)  # type: ignore[assignment]


class _PermutedCells(Sequence[tuple[Stored | None, ...]]):
    """The distinct cells in their seeded order, each computed when it is asked for."""

    def __init__(self, space: SearchSpace, effective: EffectiveSpace, names: list[str]) -> None:
        self._space = space
        self._effective = effective
        self._names = names

    def __len__(self) -> int:
        return self._effective.num_distinct

    @overload
    def __getitem__(self, place: int) -> tuple[Stored | None, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> "Sequence[tuple[Stored | None, ...]]": ...
    def __getitem__(
        self, place: int | slice
    ) -> "tuple[Stored | None, ...] | Sequence[tuple[Stored | None, ...]]":
        if isinstance(place, slice):
            raise TypeError("cells are computed one at a time")
        labels = self._space.labels_at(self._effective.representative(place))
        return tuple(labels.get(name) for name in self._names)
