"""Finding jobs: Sling's `findJobs` for programs, and the search that the screens and commands are built on.

query.find_jobs(QueryType.ERROR, "acme/mail/send", limit=10, templates=[{"to": "ann@example.org"}])
query.search(Filter(words="ann state:error"))
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Q

from offloading import exceptions
from offloading.jobs import conditions, keyset, lanes, states, templates
from offloading.jobs.counting import Counts as Counts
from offloading.jobs.counting import counts as counts
from offloading.jobs.filters import DELAYED as DELAYED
from offloading.jobs.filters import UNASSIGNED as UNASSIGNED
from offloading.jobs.filters import Filter as Filter
from offloading.jobs.keyset import Order
from offloading.jobs.search import SearchPage as SearchPage
from offloading.jobs.search import search as search
from offloading.models import UNFINISHED, Job, JobState


class QueryType(StrEnum):
    """Which jobs: unfinished ones (the oldest first) or finished ones (the last one to finish first)."""

    ALL = "ALL"  # all unfinished ones, as in Sling
    QUEUED = "QUEUED"
    ACTIVE = "ACTIVE"
    HISTORY = "HISTORY"  # all finished ones
    CANCELLED = "CANCELLED"  # all finished ones that did not succeed
    SUCCEEDED = "SUCCEEDED"
    STOPPED = "STOPPED"
    GIVEN_UP = "GIVEN_UP"
    ERROR = "ERROR"
    DROPPED = "DROPPED"


_FINISHED = {
    QueryType.HISTORY: states.FINAL,
    QueryType.CANCELLED: states.FINAL - {JobState.SUCCEEDED},
    **{QueryType(state): frozenset({state}) for state in states.FINAL},
}
_UNFINISHED = {
    QueryType.ALL: states.UNFINISHED,
    QueryType.QUEUED: states.WAITING,
    QueryType.ACTIVE: states.RUNNING,
}


@dataclass(frozen=True)
class Query:
    """What is looked for: see `find_jobs`."""

    type: QueryType = QueryType.ALL
    topic: str | None = None
    templates: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True)
class FindPage:
    """Jobs, and the cursor that the next page begins after; "" = there is no more."""

    jobs: tuple[Job, ...]
    after: str


def find_jobs(
    query_type: QueryType | str,
    topic: str | None = None,
    limit: int = 0,
    templates: Iterable[Mapping[str, object]] = (),
) -> list[Job]:
    """Return the jobs of all instances of that type and exact topic (None = of all topics) that fit the templates.

    A limit below 1 is none. `templates` are described in the module of that name. Raises QueryInvalid.
    """
    return _find(Query(_type(query_type), topic, tuple(templates)), None, limit)


def find_page(query: Query, *, after: str = "", limit: int = 100) -> FindPage:
    """Return jobs as `find_jobs` does, page by page. Raises QueryInvalid, also for the cursor of another order."""
    order = _order(query)
    found = _find(query, keyset.read_cursor(after, order) if after else None, max(limit, 1) + 1)
    page = found[: max(limit, 1)]
    return FindPage(tuple(page), keyset.cursor(order, keyset.key_of(page[-1])) if len(found) > len(page) else "")


def _type(value: QueryType | str) -> QueryType:
    try:
        return QueryType(value)
    except ValueError as error:
        known = ", ".join(QueryType)
        raise exceptions.QueryInvalid(f"There is no type of query {value!r}. There are: {known}.") from error


def _order(query: Query) -> Order:
    return Order.FINISHED if query.type in _FINISHED else Order.CREATED


def _find(query: Query, start: keyset.Key | None, limit: int) -> list[Job]:
    order = _order(query)
    descending = order is Order.FINISHED
    wanted = templates.condition(query.templates)
    if query.topic is not None:
        wanted &= Q(conditions.OneOf("topic", query.topic))
    if start is not None:
        wanted &= keyset.beyond(order, start, descending=descending)
    found: list[Job] = []
    # Each part is in the order of an index; of each the first ones are enough.
    for rows in _parts(query):
        part = keyset.ordered(keyset.keyed(rows.filter(wanted), order), order, descending=descending)
        found += part[:limit] if limit > 0 else part
    found.sort(key=keyset.key_of, reverse=descending)
    return found[:limit] if limit > 0 else found


def _parts(query: Query) -> lanes.Rows:
    """Return the jobs that can be meant, each part written as an index is."""
    names = _FINISHED.get(query.type) or _UNFINISHED[query.type]
    if query.topic is not None and lanes.are_few((Job.objects.filter(topic=query.topic),)):
        return (Job.objects.filter(conditions.OneOf("state", *names), topic=query.topic),)
    if query.type in _FINISHED:
        return tuple(lanes.of_state(state) for state in sorted(names))
    if query.type is QueryType.ACTIVE:
        return (lanes.running(),)
    return (Job.objects.filter(conditions.HasState(*UNFINISHED), conditions.OneOf("state", *names)),)
