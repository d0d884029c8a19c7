"""From runs to the series that are drawn: pure, deterministic, and capped in size."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import quantiles

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.leaderboard import leaderboard, value_of, varying_labels

MAX_CURVES = 2000
MAX_EPOCHS = 120  # of a curve
MAX_CURVE_POINTS = 60_000  # of all curves: a browser draws so many at once
MAX_LINES = 300
MAX_POINTS = 400
_ALWAYS_SHOWN = 50  # the best runs are always drawn


@dataclass
class History:
    """Runs in the order in which they ended."""

    runs: list[Run]
    """The complete ones."""
    places: list[int]
    """Epochs that all runs were trained for until each of them ended."""
    best_so_far: list[float]
    stopped: list[Run]
    """Those that were stopped early."""
    places_of_stopped: list[int]
    num_epochs: int
    """Of all runs together."""


@dataclass(frozen=True)
class Curve:
    """Validation loss per epoch of one run."""

    run: Run
    epochs: list[int]
    losses: list[float]


@dataclass(frozen=True)
class ChoiceLosses:
    """Losses of the runs that chose one value of a parameter."""

    label: str
    """As stored: with its index."""
    losses: list[float]
    shown: list[Run] = field(default_factory=list)
    """The runs that are drawn as points."""
    failed: list[Run] = field(default_factory=list)
    """Those that have no loss."""

    @property
    def text(self) -> str:
        """The readable value."""
        return value_of(self.label)


@dataclass(frozen=True)
class Slice:
    """One parameter: its values in the order of the search file."""

    parameter: str
    choices: list[ChoiceLosses]


@dataclass(frozen=True)
class Span:
    """The numbers of a range that were drawn."""

    low: float
    high: float
    is_log: bool

    def share(self, number: float) -> float:
        """Where a number lies between the smallest, 0, and the largest, 1."""
        low, high, at = (
            (math.log(n) for n in (self.low, self.high, number))
            if self.is_log
            else (self.low, self.high, number)
        )
        return (at - low) / (high - low) if high > low else 0.5

    def number(self, share: float) -> float:
        """The number at such a place."""
        if self.is_log:
            return math.exp(math.log(self.low) * (1 - share) + math.log(self.high) * share)
        return self.low * (1 - share) + self.high * share


@dataclass(frozen=True)
class Scatter:
    """The numbers of a range, of the runs that have one and a loss, best first."""

    parameter: str
    span: Span
    losses: list[float]
    shown: list[Run]
    """The runs that are drawn as points."""
    failed: list[Run] = field(default_factory=list)
    """Those that have no loss."""


@dataclass(frozen=True)
class Axis:
    """One axis of the parallel coordinates."""

    parameter: str
    labels: list[str]
    """The values; none where they are numbers of a range."""
    span: Span | None = None


@dataclass(frozen=True)
class Parallel:
    """All varying parameters side by side."""

    axes: list[Axis]
    runs: list[Run]
    """Those drawn, best first."""
    num_complete: int


@dataclass(frozen=True)
class Bar:
    """One run on the timeline; times in seconds since the study's first start."""

    run: Run
    lane: int
    start: float
    end: float


def history(data: ReportData) -> History:
    """Runs by the epochs that were spent until they ended, and the best loss so far."""
    ended = [run for run in data.own_runs if not is_open(run)]
    ends = {run.number: _naive(run.ended) or _naive(data.read_at) for run in ended}
    found = History([], [], [], [], [], 0)
    for run in sorted(ended, key=lambda run: (ends[run.number], run.number)):
        # What is not known of old runs counts as one, so that none lies on another.
        found.num_epochs += run.epochs_trained or 1
        if run.validation_loss is not None:
            found.runs.append(run)
            found.places.append(found.num_epochs)
            found.best_so_far.append(min([run.validation_loss, *found.best_so_far[-1:]]))
        elif run.state is RunState.PRUNED:
            found.stopped.append(run)
            found.places_of_stopped.append(found.num_epochs)
    return found


def curves(data: ReportData) -> list[Curve]:
    """Loss curves, best run first; of many runs the best and an even sample of the others."""
    with_losses = [run for run in data.own_runs if run.losses]
    ranked = leaderboard(with_losses)
    others = [run for run in with_losses if run.validation_loss is None]
    drawn = sample([*ranked, *others], MAX_CURVES)
    num_epochs = min(MAX_EPOCHS, MAX_CURVE_POINTS // max(1, len(drawn)))
    return [_curve(run, MAX_EPOCHS if run is drawn[0] else num_epochs) for run in drawn]


def slices(data: ReportData) -> list[Slice | Scatter]:
    """Per varying parameter the losses under each of its values; the most important first.

    Runs that were stopped early are there with the best loss that they had by then, and those that
    failed without: left out, what does badly would look better than it is.
    """
    ranked = sorted(
        (run for run in data.own_runs if run.loss is not None),
        key=lambda run: (loss_of(run), run.number),
    )
    shown = {run.number for run in sample(ranked, MAX_POINTS)}
    found: list[Slice | Scatter] = []
    for parameter in varying_parameters(data):
        having, without = (
            [run for run in runs if parameter in run.labels] for runs in (ranked, data.failed)
        )
        if (span := _span(parameter, [*having, *without])) is not None:
            points = [run for run in having if run.number in shown]
            losses = [loss_of(run) for run in having]
            found.append(Scatter(parameter, span, losses, points, without))
        elif choices := _choices(parameter, having, without, shown):
            found.append(Slice(parameter, choices))
    return found


def _choices(
    parameter: str, ranked: Sequence[Run], failed: Sequence[Run], shown: Collection[int]
) -> list[ChoiceLosses]:
    """The runs by the value of a parameter, in the order of the search file."""
    choices: dict[str, ChoiceLosses] = {}
    for run in (*ranked, *failed):
        label = str(run.labels[parameter])
        choice = choices.setdefault(label, ChoiceLosses(label, losses=[]))
        if run.state is RunState.FAILED:
            choice.failed.append(run)
            continue
        choice.losses.append(loss_of(run))
        if run.number in shown:
            choice.shown.append(run)
    return [choices[label] for label in sorted(choices, key=index_of)]


def parallel(data: ReportData) -> Parallel:
    """Axes and lines of the parallel coordinates."""
    ranked = leaderboard(data.own_runs)
    axes = []
    for parameter in varying_parameters(data):
        labels = {str(run.labels[parameter]) for run in ranked if parameter in run.labels}
        if len(labels) > 1:
            span = _span(parameter, ranked)
            shown = sorted(labels, key=index_of) if span is None else []
            axes.append(Axis(parameter, shown, span))
    return Parallel(axes, sample(ranked, MAX_LINES), len(ranked))


def timeline(data: ReportData) -> list[Bar]:
    """Every run on a free lane: as few lanes as there were concurrent runs."""
    timed = [run for run in data.own_runs if run.started is not None]
    timed.sort(key=lambda run: (_naive(run.started), run.number))
    if not timed:
        return []
    origin = _naive(timed[0].started)
    now = _naive(data.read_at)
    assert origin is not None
    assert now is not None
    lanes: list[float] = []
    bars = []
    for run in timed:
        started = _naive(run.started)
        assert started is not None
        start = (started - origin).total_seconds()
        end = max(start, ((_naive(run.ended) or now) - origin).total_seconds())
        lane = next((i for i, free_at in enumerate(lanes) if free_at <= start), len(lanes))
        lanes[lane : lane + 1] = [end]
        bars.append(Bar(run, lane, start, end))
    return bars


def varying_parameters(data: ReportData) -> list[str]:
    """Parameters with more than one value among the runs, the most important first."""
    importance = data.importances
    return sorted(varying_labels(data.own_runs), key=lambda name: -importance.get(name, 0.0))


def number_in(run: Run, parameter: str) -> float | None:
    """The number that a run has of a range; None if it has none."""
    found = run.labels.get(parameter)
    return None if isinstance(found, str) else found


def sample(ranked: Sequence[Run], limit: int) -> list[Run]:
    """At most `limit` of some runs, best first: the best ones, and an even sample of the rest."""
    if len(ranked) <= limit:
        return list(ranked)
    rest = ranked[_ALWAYS_SHOWN:]
    wanted = limit - _ALWAYS_SHOWN
    return [*ranked[:_ALWAYS_SHOWN], *(rest[i * len(rest) // wanted] for i in range(wanted))]


def loss_range(values: Sequence[float], usual: float = 0.9) -> tuple[float, float] | None:
    """A range of losses that a few outliers do not stretch; None without values.

    Args:
        values: Losses; those that are not finite do not count.
        usual: Share of the values guaranteed to be inside.
    """
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return None
    low, high = finite[0], finite[-1]
    if len(finite) >= 4:
        bulk = finite[int(usual * (len(finite) - 1))] - low
        if high - low > 2 * bulk > 0:
            high = low + 1.5 * bulk
    margin = (high - low) * 0.06 or abs(low) * 0.05 or 0.1
    return low - margin, high + margin


def five_numbers(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    """Minimum, quartiles and maximum."""
    ordered = sorted(values)
    if len(ordered) == 1:
        return (ordered[0],) * 5
    first, median, third = quantiles(ordered, n=4, method="inclusive")
    return ordered[0], first, median, third, ordered[-1]


def spread(run_number: int, salt: int = 0) -> float:
    """Jitter in [0, 1) for neighbouring runs: the same in every report."""
    return (run_number * 0.6180339887 + salt * 0.7548776662) % 1.0


def index_of(label: str) -> tuple[int, str]:
    """Sort key of labels: the place of the value in the search file."""
    head = label.partition(":")[0]
    return (int(head) if head.isdecimal() else 0, label)


def loss_of(run: Run) -> float:
    """The loss of a complete run, and of one that was stopped early the best by then."""
    assert run.loss is not None, "only complete and stopped runs have a loss"
    return run.loss


def is_open(run: Run) -> bool:
    """Whether this run is unfinished."""
    return run.state in {RunState.RUNNING, RunState.INTERRUPTED}


def _span(parameter: str, runs: Sequence[Run]) -> Span | None:
    """The numbers of a parameter; None if it is none of a range."""
    numbers = [n for run in runs if (n := number_in(run, parameter)) is not None]
    if not numbers:
        return None
    is_log = min(numbers) > 0 and any(parameter in run.logarithmic for run in runs)
    return Span(min(numbers), max(numbers), is_log)


def _curve(run: Run, num_epochs: int) -> Curve:
    """The losses of at most so many epochs, among them the best and the last."""
    points = [(epoch, loss) for epoch, loss in sorted(run.losses.items()) if math.isfinite(loss)]
    if len(points) > num_epochs:
        best = min(points, key=lambda point: point[1])
        step = len(points) / (num_epochs - 2)
        kept = {points[int(i * step)] for i in range(num_epochs - 2)} | {best, points[-1]}
        points = sorted(kept)
    return Curve(run, [epoch for epoch, _ in points], [loss for _, loss in points])


def _naive(moment: datetime | None) -> datetime | None:
    """Local time without its zone: storages give it so."""
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone().replace(tzinfo=None)
