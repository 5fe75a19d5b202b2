"""A page of the jobs that somebody asks for, found in a bounded time however many there are.

What an index knows is found at once. What must be looked for row by row, such as words, is looked for window by window,
the newest rows first, until the page is full or the time is used up; then the page says how far that was, and the next
one goes on from there. How the rows are chosen stands in `lanes`.
"""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from django.db.models import Q, QuerySet

from offloading.jobs import filters, keyset, lanes, searchbox
from offloading.jobs.filters import Filter
from offloading.jobs.keyset import Key, Order
from offloading.models import Job

# How many rows are looked at with one statement; doubled while that is quick, up to the last of these.
_WINDOW, _MIN_WINDOW, _MAX_WINDOW = 1_000, 250, 20_000
# Shorter beginnings of ids are those of far too many jobs.
_ID_DIGITS = 8
_MAX_NAMED = 10
_MAX_TOPICS = 10
_QUICK_SECONDS = 0.02


@dataclass(frozen=True)
class SearchPage:
    """A page of jobs, sorted by `order`, the newest first. The properties are read when they are asked for.

    `is_complete`: the page is full, or there is nothing more. If not, the time was used up: everything down to
    `searched_until` was looked at, and the page of `older` goes on there. `older` is for `before`, `newer` for `after`;
    "" = nothing there. `topics` are those of stored jobs that the words fit, to be offered as a filter.
    """

    jobs: tuple[Job, ...]
    order: Order
    is_complete: bool
    searched_until: datetime | None
    newer: str
    older: str
    topics: tuple[str, ...] = ()


def search(
    wanted: Filter, *, before: str = "", after: str = "", limit: int = 50, budget_seconds: float = 0.15
) -> SearchPage:
    """Return a page of the jobs of a filter: the newest, or those on one side of a cursor of another page.

    Raises QueryInvalid for a cursor that is none of this filter.
    """
    order = lanes.order_of(wanted)
    start = keyset.read_cursor(after or before, order) if after or before else None
    named = [] if start else _named_by_id(wanted, limit)
    walk = Walk(order, start, descending=not after, limit=max(limit - len(named), 1))
    found = walk.find(wanted, time.monotonic() + budget_seconds)
    return replace(_page(walk, found, named), topics=_fitting_topics(wanted))


@dataclass(frozen=True)
class Found:
    """Jobs in the order in which they were read, and where to go on, None = nowhere. `is_cut`: the time was used up."""

    jobs: list[Job]
    last: Key | None
    is_cut: bool = False


@dataclass(frozen=True)
class Walk:
    """A walk through the jobs of a filter, from `start` on."""

    order: Order
    start: Key | None
    descending: bool
    limit: int

    def find(self, wanted: Filter, deadline: float) -> Found:
        """Return the first jobs of the walk. Looks into every lane at least once, whatever the deadline."""
        plan = lanes.plan(wanted)
        if plan.few is not None:
            return self._of_few(plan.few, plan.rest)
        found: list[Job] = []
        open_lanes = [Lane(self, rows, plan.rest) for rows in plan.lanes]
        window = _WINDOW
        while open_lanes:
            # All that will be found in the lanes comes after the place to which each of them was looked at.
            frontier = self.least(open_lanes)
            ready = [job for job in found if frontier and not self.is_beyond(keyset.key_of(job), frontier)]
            if len(ready) > self.limit:
                return self._cut(ready)
            is_late = time.monotonic() > deadline
            if frontier and is_late:
                return Found(self._sorted(ready), frontier, is_cut=True)
            lane = next(each for each in open_lanes if each.at == frontier)
            window = lane.advance(found, window)
            open_lanes = [each for each in open_lanes if not each.is_done]
        return self._cut(found)

    def least(self, open_lanes: list["Lane"]) -> Key | None:
        """Return how far the lane was looked at that is the furthest behind; None = one was not begun."""
        places = [each.at for each in open_lanes if each.at is not None]
        if len(places) < len(open_lanes):
            return None
        return max(places) if self.descending else min(places)

    def is_beyond(self, key: Key, place: Key) -> bool:
        return key < place if self.descending else key > place

    def _of_few(self, parts: lanes.Rows, rest: Q | None) -> Found:
        """Look at all of them at once: without a limit, no database is tempted to walk along another index."""
        keys: list[Key] = []
        for rows in parts:
            keys += keyset.keys(keyset.keyed(rows.filter(rest or Q()), self.order))
        wanted = sorted(key for key in keys if self.start is None or self.is_beyond(key, self.start))
        page = (wanted[::-1] if self.descending else wanted)[: self.limit + 1]
        jobs = keyset.keyed(Job.objects.filter(pk__in=[key.job_id for key in page]), self.order)
        return self._cut(list(jobs.defer("properties")))

    def _cut(self, found: list[Job]) -> Found:
        jobs = self._sorted(found)[: self.limit]
        return Found(jobs, keyset.key_of(jobs[-1]) if len(found) > self.limit else None)

    def _sorted(self, found: list[Job]) -> list[Job]:
        return sorted(found, key=keyset.key_of, reverse=self.descending)


@dataclass
class Lane:
    """How far a lane was looked at."""

    walk: Walk
    rows: QuerySet[Job]
    rest: Q | None
    at: Key | None = None
    is_done: bool = False

    def advance(self, found: list[Job], window: int) -> int:
        """Look at the next rows, add those that match to `found`, and return how large the next window shall be."""
        begun = time.monotonic()
        need = self.walk.limit + 1
        rows, end = self.window(window)
        jobs = list(rows.filter(self.rest or Q()).defer("properties")[:need])
        found += jobs
        if len(jobs) == need:
            self.at = keyset.key_of(jobs[-1])
        else:
            self.at, self.is_done = end, end is None
        return next_window(window, time.monotonic() - begun)

    def window(self, size: int) -> tuple[QuerySet[Job], Key | None]:
        """Return the next rows of the lane, and the key of the last of them; None = these are all that are left."""
        order, descending, place = self.walk.order, self.walk.descending, self.at or self.walk.start
        rows = self.rows.filter(keyset.beyond(order, place, descending=descending)) if place else self.rows
        rows = keyset.ordered(keyset.keyed(rows, order), order, descending=descending)
        if self.rest is None:
            return rows, None
        end = next(iter(keyset.keys(rows[size - 1 : size])), None)
        return rows.filter(keyset.up_to(order, end, descending=descending)) if end else rows, end


def next_window(window: int, seconds: float) -> int:
    """Return how many rows to look at next, when the last ones took so long."""
    if seconds < _QUICK_SECONDS:
        return min(window * 2, _MAX_WINDOW)
    return max(window // 2, _MIN_WINDOW) if seconds > 3 * _QUICK_SECONDS else window


def _page(walk: Walk, found: Found, named: list[Job]) -> SearchPage:
    shown = found.jobs if walk.descending else found.jobs[::-1]
    onward = keyset.cursor(walk.order, found.last) if found.last else ""
    place = keyset.key_of(found.jobs[0]) if found.jobs else walk.start
    back = keyset.cursor(walk.order, place) if walk.start and place else ""
    newer, older = (back, onward) if walk.descending else (onward, back)
    return SearchPage(
        jobs=(*named, *(job for job in shown if job not in named)),
        order=walk.order,
        is_complete=not found.is_cut,
        searched_until=keyset.instant_of(walk.order, found.last) if found.is_cut and found.last else None,
        newer=newer,
        older=older,
    )


def _named_by_id(wanted: Filter, limit: int) -> list[Job]:
    """Return the jobs whose ids begin with the one word that is looked for: they stand on top of the first page."""
    words = wanted.search.words
    digits = searchbox.id_prefix(words[0], digits=_ID_DIGITS) if len(words) == 1 else ""
    if not digits:
        return []
    jobs = Job.objects.filter(filters.id_begins(digits)).filter(wanted.condition(by_row=True))
    return list(jobs.order_by("-pk").defer("properties")[: min(limit, _MAX_NAMED)])


def _fitting_topics(wanted: Filter) -> tuple[str, ...]:
    words = [word.lower() for word in wanted.search.words]
    if not words:
        return ()
    found = (topic for topic in lanes.known_topics() if all(word in topic.lower() for word in words))
    return tuple(islice(found, _MAX_TOPICS))
