"""How the jobs of a filter are found without reading them all: along which indexes, and in which order.

There is no index for everything that can be asked. A filter becomes a few lanes, each of them rows in the order of an
index; what the index does not know is checked row by row by whoever walks along them (`search`, `counting`).
A filter that an index narrows down to a few thousand jobs needs no walking: those are looked at all at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.db import connection
from django.db.models import Q, QuerySet

from offloading.jobs import conditions, filters, kept, states
from offloading.jobs.filters import DELAYED, UNASSIGNED, Filter
from offloading.jobs.keyset import Order
from offloading.models import UNFINISHED, Job, JobState

# So many jobs are looked at all at once.
FEW = 5_000
# Above these a walk along all lanes at once would cost more than it saves.
_MAX_TOPIC_LANES = 40
_MAX_QUEUE_LANES = 64
_MAX_NAMES = 10_000
_topics: kept.Kept[str, list[str]] = kept.Kept(min_size=500)
_WAITING = {JobState.QUEUED.value, UNASSIGNED, DELAYED}
_UNFINISHED = _WAITING | {JobState.ACTIVE.value}


Rows = tuple[QuerySet[Job], ...]


@dataclass(frozen=True)
class Plan:
    """`few`: all jobs that can be meant, in no order. Otherwise `lanes`, each with an index in that order.

    `rest` is what must still be checked, by row; None = nothing. No job is in two of the parts.
    """

    order: Order
    few: Rows | None
    lanes: Rows
    rest: Q | None


def plan(wanted: Filter) -> Plan:
    """Choose how to find the jobs of a filter."""
    order = order_of(wanted)
    if _is_covered(wanted, order):
        return Plan(order, None, _lanes(wanted, order), None)
    rest = wanted.condition(by_row=True)
    few = fewest(wanted)
    return Plan(order, few, (), rest) if few is not None else Plan(order, None, _lanes(wanted, order), rest)


def order_of(wanted: Filter) -> Order:
    """Say in which order the jobs of a filter are shown: that depends on nothing but the filter."""
    asked = asked_states(wanted)
    if wanted.families or (asked and asked <= states.FINAL):
        return Order.FINISHED
    return Order.RANK if asked and asked <= _UNFINISHED else Order.ID


def asked_states(wanted: Filter) -> frozenset[str]:
    """Return the states of which a job of the filter has one; none = any."""
    named = [names for names in (wanted.states, *wanted.search.states) if names]
    return min(named, key=len) if named else frozenset()


def fewest(wanted: Filter) -> Rows | None:
    """Return all jobs that can be meant, if an index shows that some part of the filter leaves only a few."""
    return next((parts for parts in _narrowed(wanted) if are_few(parts)), None)


def are_few(parts: Rows) -> bool:
    """Say whether these are so few that they can be looked at all at once."""
    count = 0
    for rows in parts:
        count += rows[: FEW + 1].count()
        if count > FEW:
            return False
    return True


def _narrowed(wanted: Filter) -> Iterator[Rows]:
    """Yield, for each part of the filter that has an index, what it leaves."""
    everything = Job.objects.order_by()
    if wanted.ids:
        yield (everything.filter(pk__in=wanted.ids),)
    for digits in wanted.search.ids:
        yield (everything.filter(filters.id_begins(digits)),)
    for family in wanted.families:
        yield (of_family(family),)
    if wanted.is_about_topics:
        yield (everything.filter(topic__in=topics_of(wanted)),)
    asked = asked_states(wanted)
    if asked and asked <= states.FINAL:
        yield tuple(of_state(state) for state in sorted(asked))
    elif asked and asked <= _UNFINISHED:
        yield tuple(_unfinished_of(asked))
        yield from ((of_queue(queue),) for queue in _queues(wanted))
    yield (everything,)


def _lanes(wanted: Filter, order: Order) -> Rows:
    if order is Order.FINISHED:
        families = wanted.families[:1]
        return tuple(map(of_family, families)) or tuple(map(of_state, sorted(asked_states(wanted))))
    if order is Order.RANK:
        return unfinished_lanes(wanted)
    return topic_lanes(wanted) or (Job.objects.all(),)


def topic_lanes(wanted: Filter) -> Rows:
    """Return the jobs of the topics that the filter means, topic by topic; none if it means any, or very many."""
    names = topics_of(wanted) if wanted.is_about_topics else []
    return tuple(Job.objects.filter(topic=name) for name in names) if len(names) <= _MAX_TOPIC_LANES else ()


def unfinished_lanes(wanted: Filter) -> Rows:
    """Return the unfinished jobs of the queues that the filter can mean, queue by queue."""
    queues = _queues(wanted)[:1] or unfinished_queues()
    if len(queues) > _MAX_QUEUE_LANES:
        return (Job.objects.filter(conditions.HasState(*UNFINISHED)),)
    return tuple(of_queue(queue) for queue in queues)


def _is_covered(wanted: Filter, order: Order) -> bool:
    """Say whether the lanes hold the jobs of the filter and no others."""
    if order is Order.RANK:
        return False
    if order is Order.ID:
        return replace(wanted, topic="") == Filter() and (not wanted.topic or bool(topic_lanes(wanted)))
    return (replace(wanted, family="") if wanted.family else replace(wanted, states=frozenset())) == Filter()


# --- Rows that have an index, written as the index is -----------------------------------------------------------------


def of_state(state: str) -> QuerySet[Job]:
    """Return the finished jobs of a state."""
    return Job.objects.filter(state=state, finished_at__isnull=False)


def of_family(family: str) -> QuerySet[Job]:
    return Job.objects.filter(~Q(family=""), family=family, finished_at__isnull=False)


def of_queue(queue: str) -> QuerySet[Job]:
    """Return the unfinished jobs of a queue."""
    return Job.objects.filter(conditions.HasState(*UNFINISHED), queue=queue)


def waiting() -> Rows:
    """Return the jobs that are ready, and those that wait for a time."""
    queued = Job.objects.filter(conditions.HasState(JobState.QUEUED))
    return queued.filter(not_before=None), queued.filter(not_before__isnull=False)


def running() -> QuerySet[Job]:
    return Job.objects.filter(conditions.HasState(JobState.ACTIVE))


def _unfinished_of(asked: frozenset[str]) -> Iterator[QuerySet[Job]]:
    ready, delayed = waiting()
    if JobState.QUEUED in asked:
        yield from (ready, delayed)
    elif UNASSIGNED in asked:
        yield from (ready.filter(target=""), delayed if DELAYED in asked else delayed.filter(target=""))
    elif DELAYED in asked:
        yield delayed
    if JobState.ACTIVE in asked:
        yield running()


def _queues(wanted: Filter) -> list[str]:
    return [value for name, value in wanted.equalities() if name == "queue"]


# --- Names that are in use --------------------------------------------------------------------------------------------


def topics_of(wanted: Filter) -> list[str]:
    """Return the topics of stored jobs that the filter asks for."""
    if wanted.topic and "*" not in wanted.topic and not wanted.words:
        return [wanted.topic]
    return [topic for topic in known_topics() if wanted.takes_topic(topic)]


def known_topics() -> list[str]:
    """Return the topics of all stored jobs, sorted."""
    return _topics.get("topics", lambda: _distinct("topic", ""), size=len)


def unfinished_queues() -> list[str]:
    """Return the names of the queues that have unfinished jobs, sorted."""
    return _distinct("queue", f"state IN ({', '.join(repr(str(each)) for each in UNFINISHED)}) AND")


def _distinct(column: str, condition: str) -> list[str]:
    """Return the values of the first column of an index: one step for each value, not one for each row."""
    table = Job._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE found(value) AS ("
            f" SELECT min({column}) FROM {table} WHERE {condition} {column} >= '' UNION ALL"
            f" SELECT (SELECT min({column}) FROM {table} WHERE {condition} {column} > found.value)"
            f" FROM found WHERE found.value IS NOT NULL"
            f") SELECT value FROM found WHERE value IS NOT NULL LIMIT %s",
            [_MAX_NAMES],
        )
        return sorted(value for (value,) in cursor.fetchall())
