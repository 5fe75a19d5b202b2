"""What the jobs list shows: which jobs, how many of each state, one page of them. Filters and page live in the URL.

Finding and counting are done by `search` and `counting`, in a bounded time whatever there is; here their answers become
links, rows and words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from urllib.parse import urlencode

from django.db.models import Count, Max, OuterRef, Subquery
from django.http import QueryDict

from offloading import capabilities
from offloading.jobs import configuration, counting, lanes, pauses, search
from offloading.jobs.counting import Counts
from offloading.jobs.filters import DELAYED, UNASSIGNED, Filter
from offloading.jobs.keyset import Order
from offloading.jobs.search import SearchPage
from offloading.models import Attempt, Job, JobState
from offloading.templatetags.jobs import JOBS
from topology.snapshot import TopologyView

PAGE_SIZE = 50
LABELS = {UNASSIGNED: "No instance", DELAYED: "Delayed", **dict(JobState.choices)}
STRIP = (UNASSIGNED, DELAYED, JobState.QUEUED, JobState.ACTIVE, JobState.SUCCEEDED, JobState.GIVEN_UP, JobState.ERROR,
         JobState.STOPPED, JobState.DROPPED)  # fmt: skip
# Those that are rarely there do not take room while they are not.
SHOWN_WHEN_THERE = {UNASSIGNED, DELAYED, JobState.STOPPED, JobState.DROPPED}
SORTED = {
    Order.ID: "newest first",
    Order.CREATED: "newest first",
    Order.FINISHED: "last ended first",
    Order.RANK: "last in line first",
}
# A list to choose from that is longer is no help any more; the search box takes any topic.
MOST_CHOICES = 200
NOT = "-"
# What of the address says which page of the list it is.
_PAGE = ("before", "after", "further")
# Together with the rest of the page that is first bytes within 300 ms: one rather searches further than waits.
_SEARCH_SECONDS = 0.1
# Who asked to search further has seen that it takes long.
_FURTHER_SECONDS = 2.0
_COUNT_SECONDS = 0.05


@dataclass(frozen=True)
class Wanted:
    """What the address asks for. A topic or pattern with "-" in front is all but that. `before`, `after`: cursors.

    `further`, if anything: somebody asked to search on, and waits longer for it.
    """

    state: str = ""
    q: str = ""
    topic: str = ""
    queue: str = ""
    target: str = ""
    family: str = ""
    before: str = ""
    after: str = ""
    further: str = ""

    @classmethod
    def read(cls, query: QueryDict) -> "Wanted":
        """Read a query string."""
        return cls(**{each.name: query.get(each.name, "").strip() for each in fields(cls)})

    def url(self, **changes: str) -> str:
        """Write the query string of this with `changes`, on its first page unless they say which."""
        asked = self.asked | changes
        return "?" + urlencode({each.name: asked[each.name] for each in fields(self) if asked.get(each.name)})

    @property
    def here(self) -> str:
        """The query string of this very page."""
        return self.url(before=self.before, after=self.after, further=self.further)

    @property
    def asked(self) -> dict[str, str]:
        """What is asked for, by the names in the address; without the page."""
        values = {each.name: str(getattr(self, each.name)) for each in fields(self)}
        return {name: value for name, value in values.items() if value and name not in _PAGE}

    def filter(self, seen_at: datetime | None = None) -> Filter:
        """Return the filter that this stands for; with `seen_at`, without the jobs that came later.

        Raises QueryInvalid, naming what can never be.
        """
        is_without = self.topic.startswith(NOT)
        without = f'{NOT}topic:"{self.topic.removeprefix(NOT)}"' if is_without else ""
        return Filter(
            states=frozenset([self.state.upper()] if self.state else []),
            topic="" if is_without else self.topic,
            queue=self.queue,
            target=self.target,
            family=self.family,
            words=f"{without} {self.q}".strip(),
            created_before=seen_at,
        )


@dataclass(frozen=True)
class StateCount:
    """One number of the strip on top, and where it leads. `at_least`: there may be more."""

    label: str
    count: int
    at_least: bool
    url: str
    tone: str
    icon: str
    is_current: bool


@dataclass(frozen=True)
class Chip:
    """One thing that is asked for besides state and words, and the address without it."""

    label: str
    value: str
    url: str


@dataclass(frozen=True)
class Row:
    """A job as the list shows it. `hint` says why it waits, as far as that costs nothing to know."""

    job: Job
    where: str
    attempts: int
    hint: str = ""
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """One page of jobs, with the addresses of its neighbours ("" = there is none)."""

    rows: list[Row]
    newer_url: str
    older_url: str
    is_complete: bool
    searched_until: datetime | None
    sorted_by: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Choices:
    """What the selects offer: topics and patterns to see alone or to leave out, and queues."""

    topics: list[str]
    queues: list[str]


def strip(wanted: Wanted, found: Counts) -> list[StateCount]:
    """Return the numbers of jobs by state, for the words and filters that are asked for."""
    is_least = not found.is_complete
    everything = StateCount(
        "All", found.total, is_least, wanted.url(state=""), "quiet", "bolt", is_current=not wanted.state
    )
    states = (str(state) for state in STRIP)
    return [everything, *(_count(wanted, state, found) for state in states if _shows(wanted, state, found))]


def page(wanted: Wanted, view: TopologyView) -> Page:
    """Read one page, and what is to be said about each of its jobs. Raises QueryInvalid."""
    found = search.search(
        wanted.filter(),
        before=wanted.before,
        after=wanted.after,
        limit=PAGE_SIZE,
        budget_seconds=_FURTHER_SECONDS if wanted.further else _SEARCH_SECONDS,
    )
    further = "" if found.is_complete else "1"
    return Page(
        rows=_rows(found.jobs, view),
        newer_url=_newer(wanted, found),
        older_url=wanted.url(before=found.older, further=further) if found.older else "",
        is_complete=found.is_complete,
        searched_until=found.searched_until,
        sorted_by=SORTED[found.order],
        topics=tuple(topic for topic in found.topics if topic != wanted.topic),
    )


def counts(wanted: Wanted) -> Counts:
    """Count the jobs that match, by state. Raises QueryInvalid."""
    return counting.counts(wanted.filter(), budget_seconds=_COUNT_SECONDS)


def matching(wanted: Wanted, found: Counts) -> int:
    """Return how many jobs match all that is asked for, the state too."""
    return found.by_state.get(wanted.state.upper(), 0) if wanted.state else found.total


def chips(wanted: Wanted, view: TopologyView) -> list[Chip]:
    """Return what is asked for besides state and words."""
    target = view.get(wanted.target)
    found = [
        Chip("Without topic", wanted.topic.removeprefix(NOT), wanted.url(topic=""))
        if wanted.topic.startswith(NOT)
        else Chip("Topic", wanted.topic, wanted.url(topic="")),
        Chip("Queue", wanted.queue, wanted.url(queue="")),
        Chip("Instance", target.label if target else wanted.target, wanted.url(target="")),
        Chip("Failure family", wanted.family[:12], wanted.url(family="")),
    ]
    return [chip for chip in found if chip.value]


def choices(view: TopologyView) -> Choices:
    """Return what can be chosen: what jobs are there of, and the patterns that instances have consumers for."""
    known = lanes.known_topics()
    announced = {each for one in capabilities.of_view(view).values() for each in one.registered if "*" in each}
    patterns = sorted(announced)
    names = {each.name for each in configuration.current() if "{0}" not in each.name}
    queues = sorted(names | set(lanes.unfinished_queues()))
    topics = [*patterns, *(each for each in known if each not in announced)]
    return Choices(topics=topics[:MOST_CHOICES], queues=queues[:MOST_CHOICES])


def _newer(wanted: Wanted, found: SearchPage) -> str:
    if not found.newer:
        return wanted.url() if wanted.before and not found.jobs else ""
    return wanted.url(after=found.newer)


def _shows(wanted: Wanted, state: str, found: Counts) -> bool:
    return state not in SHOWN_WHEN_THERE or bool(found.by_state.get(state)) or wanted.state == state


def _count(wanted: Wanted, state: str, found: Counts) -> StateCount:
    tone, icon = JOBS[state]
    return StateCount(
        label=LABELS[state],
        count=found.by_state.get(state, 0),
        at_least=state in found.at_least,
        url=wanted.url(state=state),
        tone=tone,
        icon=icon,
        is_current=wanted.state == state,
    )


def _rows(jobs: Sequence[Job], view: TopologyView) -> list[Row]:
    tries = _tries(job.pk for job in jobs)
    paused = pauses.active()
    found = []
    for job in jobs:
        count, label = tries.get(job.pk, (0, ""))
        target = view.get(job.target)
        planned = target.label if target else job.target
        where = label if label and job.state != JobState.QUEUED else planned
        hint, until = _hint(job, paused) if job.state == JobState.QUEUED else ("", None)
        found.append(Row(job, where, count, hint, until=until))
    return found


def _hint(job: Job, paused: pauses.Pauses) -> tuple[str, datetime | None]:
    """Say in a few words why a job waits, and until when if it is a time that it waits for."""
    if not job.target:
        return "No instance takes it: see why", None
    holding = paused.holding(job.queue, job.topic)
    if holding:
        return f"{holding[0].get_kind_display()} paused by {holding[0].paused_by}", None
    if job.not_before:
        return "Tried again" if job.retry_count else "Starts", job.not_before
    return "", None


def _tries(job_ids: Iterable[object]) -> dict[object, tuple[int, str]]:
    """Return how many attempts each job had, and where the last one was."""
    attempts = Attempt.objects.filter(job_id__in=list(job_ids)).order_by()
    counted = dict(attempts.values_list("job_id").annotate(count=Count("pk")))
    last = Attempt.objects.filter(job=OuterRef("job")).order_by().values("job").annotate(last=Max("fence"))
    labels = dict(attempts.filter(fence=Subquery(last.values("last"))).values_list("job_id", "instance_label"))
    return {job_id: (count, labels.get(job_id, "")) for job_id, count in counted.items()}
