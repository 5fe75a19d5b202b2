"""What the jobs list shows: which jobs, how many of each state, one page of them. Filters and page live in the URL.

Pages follow the ids, which rise with the time of creation: so a page costs the same however far down it is, and a new
job moves nobody's rows.
"""

import uuid
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Case, CharField, Count, F, Prefetch, Q, QuerySet, Value, When
from django.http import QueryDict

from offloading.models import Attempt, Job, JobState
from offloading.templatetags.jobs import JOBS, UNASSIGNED

PAGE_SIZE = 50
LABELS = {UNASSIGNED: "No instance", **dict(JobState.choices)}
ORDER = (JobState.QUEUED, UNASSIGNED, JobState.ACTIVE, JobState.SUCCEEDED, JobState.GIVEN_UP, JobState.ERROR,
         JobState.STOPPED, JobState.DROPPED)  # fmt: skip
# Those that are rarely there do not take room while they are not.
SHOWN_WHEN_THERE = {JobState.STOPPED, JobState.DROPPED}


@dataclass(frozen=True)
class Filter:
    """What somebody asked for. `before` and `after` are ids at the edge of a page."""

    state: str = ""
    words: str = ""
    before: uuid.UUID | None = None
    after: uuid.UUID | None = None

    @classmethod
    def read(cls, query: QueryDict) -> "Filter":
        """Read a query string; what makes no sense in it is as if it was not there."""
        state = query.get("state", "")
        return cls(
            state=state if state in LABELS else "",
            # PostgreSQL knows no text with a NUL in it.
            words=query.get("q", "").replace("\0", "").strip()[:200],
            before=_uuid(query.get("before", "")),
            after=_uuid(query.get("after", "")),
        )

    def url(self, **changes: object) -> str:
        """Write the query string of this filter with `changes`, on its first page unless they say which."""
        fields = {"state": self.state, "q": self.words} | changes
        return "?" + urlencode({name: value for name, value in fields.items() if value})


@dataclass(frozen=True)
class StateCount:
    """One number of the strip on top, and where it leads."""

    label: str
    count: int
    url: str
    tone: str
    icon: str
    is_current: bool


@dataclass(frozen=True)
class Page:
    """One page of jobs, newest first, with the addresses of its neighbours ("" = there is none)."""

    jobs: list[Job]
    newer_url: str
    older_url: str


def counts(wanted: Filter) -> list[StateCount]:
    """Count the jobs that match the words, by state, in one query."""
    is_unassigned = When(state=JobState.QUEUED, target="", then=Value(UNASSIGNED))
    rows = (
        _matching(wanted.words)
        .order_by()
        .values_list(Case(is_unassigned, default=F("state"), output_field=CharField()))
    )
    by_state: dict[str, int] = dict(rows.annotate(count=Count("pk")))
    everything = StateCount(
        "All", sum(by_state.values()), wanted.url(state=""), "quiet", "bolt", is_current=not wanted.state
    )
    return [
        everything,
        *(_count(wanted, state, by_state.get(state, 0)) for state in ORDER if _shows(wanted, state, by_state)),
    ]


def page(wanted: Filter) -> Page:
    """Read one page and whether there is more on either side."""
    jobs = _of_state(_matching(wanted.words), wanted.state)
    if wanted.after:
        found = list(_with_attempts(jobs.filter(pk__gt=wanted.after).order_by("pk"))[: PAGE_SIZE + 1])
        rows = found[:PAGE_SIZE][::-1]
        has_newer, has_older = len(found) > PAGE_SIZE, True
    else:
        older = jobs.filter(pk__lt=wanted.before) if wanted.before else jobs
        found = list(_with_attempts(older.order_by("-pk"))[: PAGE_SIZE + 1])
        rows = found[:PAGE_SIZE]
        has_newer, has_older = wanted.before is not None, len(found) > PAGE_SIZE
    return Page(
        jobs=rows,
        newer_url=wanted.url(after=rows[0].pk) if rows and has_newer else wanted.url() if has_newer else "",
        older_url=wanted.url(before=rows[-1].pk) if rows and has_older else "",
    )


def _shows(wanted: Filter, state: str, by_state: dict[str, int]) -> bool:
    return state not in SHOWN_WHEN_THERE or bool(by_state.get(state)) or wanted.state == state


def _count(wanted: Filter, state: str, count: int) -> StateCount:
    tone, icon = JOBS[state]
    return StateCount(LABELS[state], count, wanted.url(state=state), tone, icon, is_current=wanted.state == state)


def _with_attempts(jobs: QuerySet[Job]) -> QuerySet[Job]:
    runs = Attempt.objects.only("job_id", "fence", "instance_label", "outcome", "started_at").order_by("fence", "pk")
    return jobs.defer("properties").prefetch_related(Prefetch("attempts", queryset=runs))


def _of_state(jobs: QuerySet[Job], state: str) -> QuerySet[Job]:
    if state == UNASSIGNED:
        return jobs.filter(state=JobState.QUEUED, target="")
    if state == JobState.QUEUED:
        return jobs.filter(state=state).exclude(target="")
    return jobs.filter(state=state) if state else jobs


def _matching(words: str) -> QuerySet[Job]:
    if not words:
        return Job.objects.all()
    return Job.objects.filter(Q(topic__icontains=words) | Q(title__icontains=words) | _id_begins(words))


def _id_begins(words: str) -> Q:
    """Match the ids that begin with `words`, if those could be the beginning of one."""
    digits = words.replace("-", "").lower()
    if not 4 <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        return Q(pk__in=[])
    return Q(pk__gte=uuid.UUID(digits.ljust(32, "0")), pk__lte=uuid.UUID(digits.ljust(32, "f")))


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
