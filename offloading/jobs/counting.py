"""How many of the jobs that somebody asks for are in which state: the strip of numbers above a list.

Counted from the store, in a bounded time. Without further conditions the indexes alone know it; with them, rows are
counted window by window, the newest first, until the time is used up, and what is said of a state is then the least.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.db.models import Count, Q, QuerySet

from offloading.jobs import kept, lanes, search, states
from offloading.jobs.filters import DELAYED, UNASSIGNED, Filter
from offloading.jobs.keyset import Order
from offloading.models import Job, JobState

_BUDGET_SECONDS = 0.1
_WINDOW = 1_000


@dataclass(frozen=True)
class Counts:
    """The number of jobs by state. QUEUED includes those that are UNASSIGNED or DELAYED, which are counted again.

    `at_least`: the states of which not all jobs could be looked at in the time that there is.
    """

    by_state: dict[str, int]
    at_least: frozenset[str] = frozenset()

    @property
    def is_complete(self) -> bool:
        return not self.at_least

    @property
    def total(self) -> int:
        return sum(self.by_state.get(state, 0) for state in JobState)


_kept: kept.Kept[tuple[Filter, float], Counts] = kept.Kept(min_size=10_000)


def counts(wanted: Filter, *, budget_seconds: float = _BUDGET_SECONDS) -> Counts:
    """Count the jobs of a filter by state, whatever states it names itself. What was slow is kept for a moment."""
    everywhere = replace(wanted, states=frozenset())
    return _kept.get((everywhere, budget_seconds), lambda: _count(everywhere, budget_seconds), size=lambda it: it.total)


def _count(wanted: Filter, budget_seconds: float) -> Counts:
    if wanted == Filter():
        return _of_everything()
    rest = wanted.condition(by_row=True)
    few = lanes.fewest(wanted)
    if few is not None:
        return Counts(dict(sum((_grouped(rows.filter(rest)) for rows in few), Counter())))
    return _walked(wanted, rest, time.monotonic() + budget_seconds)


def _of_everything() -> Counts:
    finished = Job.objects.filter(finished_at__isnull=False).order_by()
    found = _unfinished(Filter()) + Counter(dict(finished.values_list("state").annotate(count=Count("*"))))
    return Counts(dict(found))


def _unfinished(wanted: Filter) -> Counter[str]:
    """Count the unfinished jobs of a filter that `_is_indexed`: the indexes of waiting and running jobs know it all."""
    meant = wanted.condition(by_row=True)
    ready, delayed = (rows.filter(meant) for rows in lanes.waiting())
    found: Counter[str] = Counter()
    for rows, is_delayed in ((ready, False), (delayed, True)):
        all_of_them = rows.count()
        found[JobState.QUEUED.value] += all_of_them
        found[UNASSIGNED] += rows.filter(target="").count()
        found[DELAYED] += all_of_them * is_delayed
    found[JobState.ACTIVE.value] = lanes.running().filter(meant).count()
    return +found


def _is_indexed(wanted: Filter) -> bool:
    return replace(wanted, queue="", target="", topic="") == Filter()


def _walked(wanted: Filter, rest: Q, deadline: float) -> Counts:
    """Count window by window, lane after lane in turn, so that the short ones come to their end; each at least once."""
    is_known = _is_indexed(wanted)
    found = _unfinished(wanted) if is_known else Counter()
    waiting = deque(_all_lanes(wanted, rest, with_unfinished=not is_known))
    while waiting and (waiting[0].lane.at is None or time.monotonic() < deadline):
        part = waiting.popleft()
        begun = time.monotonic()
        rows, end = part.lane.window(part.window)
        found += _grouped(rows.filter(part.lane.rest or Q()))
        part.lane.at, part.window = end, search.next_window(part.window, time.monotonic() - begun)
        if end is not None:
            waiting.append(part)
    return Counts(dict(found), frozenset(state for part in waiting for state in part.states))


@dataclass
class _Part:
    """A lane that is counted, the states that its jobs can have, and how many rows are counted next."""

    lane: search.Lane
    states: frozenset[str]
    window: int


def _all_lanes(wanted: Filter, rest: Q, *, with_unfinished: bool) -> Iterator[_Part]:
    """Yield lanes that hold all jobs of the filter, each job once: the unfinished ones if wanted, and the others."""
    by_rank, by_end, by_id = (
        search.Walk(order, None, descending=True, limit=0) for order in (Order.RANK, Order.FINISHED, Order.ID)
    )
    if wanted.families:
        yield _Part(search.Lane(by_end, lanes.of_family(wanted.families[0]), rest), states.FINAL, _WINDOW)
        return
    for rows in lanes.unfinished_lanes(wanted) if with_unfinished else ():
        yield _Part(search.Lane(by_rank, rows, rest), states.UNFINISHED | {UNASSIGNED, DELAYED}, _WINDOW)
    by_topic = lanes.topic_lanes(wanted)
    for rows in by_topic:
        yield _Part(search.Lane(by_id, rows, rest & Q(finished_at__isnull=False)), states.FINAL, _WINDOW)
    for state in () if by_topic else sorted(states.FINAL):
        yield _Part(search.Lane(by_end, lanes.of_state(state), rest), frozenset({state}), _WINDOW)


def _grouped(rows: QuerySet[Job]) -> Counter[str]:
    """Count rows with one statement."""
    waits = Q(state=JobState.QUEUED)
    groups = (
        rows.order_by()
        .values_list("state")
        .annotate(
            count=Count("*"),
            unassigned=Count("pk", filter=waits & Q(target="")),
            delayed=Count("pk", filter=waits & Q(not_before__isnull=False)),
        )
    )
    found: Counter[str] = Counter()
    for state, count, unassigned, delayed in groups:
        found.update({state: count, UNASSIGNED: unassigned, DELAYED: delayed})
    return +found
