"""The history: how long finished jobs stay, and deleting those whose time is over.

Everything is deleted in small transactions with rests between them, so that nobody who writes waits long for it. What
is kept for ever is skipped and not looked at again with each run. Nothing above this app needs a finished job: whoever
refers to one by its id gets over its absence.
"""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from offloading import exceptions
from offloading.jobs import configuration, signals, states, statistics, topics
from offloading.jobs.signals import JobChange
from offloading.models import FailureFamily, Job, JobState, Transfer

logger = logging.getLogger(__name__)

# In the order in which they are looked at.
_SETTINGS = {
    JobState.DROPPED: "OFFLOADING_HISTORY_DAYS_DROPPED",
    JobState.SUCCEEDED: "OFFLOADING_HISTORY_DAYS_SUCCEEDED",
    JobState.STOPPED: "OFFLOADING_HISTORY_DAYS_STOPPED",
    JobState.GIVEN_UP: "OFFLOADING_HISTORY_DAYS_GIVEN_UP",
    JobState.ERROR: "OFFLOADING_HISTORY_DAYS_ERROR",
}
# Failures that come again within that time are the same family still, "since when" included.
FAMILIES_KEPT = timedelta(days=7)
TASK_AGE_MINUTES = 2_880
_LONGEST_DAYS = 36_500.0

# How long a batch shall take: reached by changing its size. In SQLite everybody who writes waits for it; in PostgreSQL
# only who wants these very jobs, and much of the time goes into statements that cost the same for any number of them.
_AIM_SECONDS = {"sqlite": 0.02, "postgresql": 0.06}
_SMALLEST_BATCH = 10
_SHORTEST_REST_SECONDS = 0.005
# What was skipped because it had to be kept is looked at again after that.
_LOOK_AGAIN_SECONDS = 3_600.0

_SETTLED = (Transfer.State.DONE, Transfer.State.FENCED)

# Rests for so many seconds, and says whether to stop: `time.sleep`, or the `wait` of an event.
Rest = Callable[[float], object]
# Deletes a batch of at most so many rows. Returns how many that were and how long the transaction took, or None if
# nothing is left.
Step = Callable[[int], "Deleted | None"]


@dataclass(frozen=True)
class Deleted:
    """What one batch was: the rows deleted, the seconds that took, and the rows looked at."""

    rows: int
    seconds: float
    seen: int = 0


def cutoffs(now: datetime) -> dict[JobState, datetime]:
    """Return before when a job must have ended to be deleted now, by its state. Missing ones are kept for ever."""
    days = {state: float(getattr(settings, name)) for state, name in _SETTINGS.items()}
    return {state: now - timedelta(days=min(kept, _LONGEST_DAYS)) for state, kept in days.items() if kept > 0}


def clean_up(*, limit_seconds: float = 60.0, batch: int = 500, rest: Rest = time.sleep) -> int:
    """Delete what the settings do not keep, for at most `limit_seconds`; return how many jobs that were."""
    return CleanUp(batch).run(limit_seconds=limit_seconds, rest=rest)


class Pace:
    """How many rows to delete at once, found by trying, and how long to leave the database to others after it."""

    def __init__(self, most: int, aim_seconds: float | None = None) -> None:
        self._most = most
        self._aim_seconds = aim_seconds or _AIM_SECONDS[connection.vendor]
        self.batch = min(most, max(_SMALLEST_BATCH, most // 5))

    def rest_after(self, deleted: Deleted) -> float:
        """Take in how long a batch took; return how long to rest."""
        factor = min(2.0, self._aim_seconds / max(deleted.seconds, 0.001))
        self.batch = min(self._most, max(_SMALLEST_BATCH, int(self.batch * factor)))
        return max(deleted.seconds, _SHORTEST_REST_SECONDS)


class Sweep:
    """Deletes the jobs that ended in one state before a time, the oldest first. Goes on where it was each time."""

    def __init__(self, state: JobState, *, topics: tuple[str, ...] = (), heeds_queues: bool = True) -> None:
        self._state = state
        self._topics = topics
        self._heeds_queues = heeds_queues
        self._mark: tuple[datetime | None, uuid.UUID] | None = None

    def step(self, before: datetime, batch: int) -> Deleted | None:
        """Delete the next batch; None if there is none."""
        rows = list(self._next(before).values_list("finished_at", "id", "queue")[:batch])
        if not rows:
            return None
        expired = [job_id for _, job_id, queue in rows if not self._is_kept(queue)]
        deleted = _delete(expired, self._state, before) if expired else Deleted(0, 0.0)
        self._mark = rows[-1][:2]
        return replace(deleted, seen=len(rows))

    def left(self, before: datetime) -> int:
        """Return how many there are to go through."""
        return self._next(before).count()

    def _next(self, before: datetime) -> models.QuerySet[Job]:
        found = Job.objects.filter(state=self._state, finished_at__lt=before)
        if self._topics:
            found = found.filter(topic__in=self._topics)
        if self._mark:
            at, job_id = self._mark
            found = found.filter(models.Q(finished_at__gt=at) | models.Q(id__gt=job_id), finished_at__gte=at)
        return found.order_by("finished_at", "id")

    def _is_kept(self, queue: str) -> bool:
        return self._heeds_queues and self._state == JobState.SUCCEEDED and configuration.named(queue).keep_jobs


class CleanUp:
    """The regular clean-up: what is kept although its time is over is remembered for an hour."""

    def __init__(self, batch: int = 500) -> None:
        self._pace = Pace(batch)
        self._sweeps: dict[JobState, Sweep] = {}
        self._look_again_at = 0.0

    def run(self, *, limit_seconds: float, rest: Rest = time.sleep) -> int:
        """Delete what is due, for at most `limit_seconds`; return how many jobs that were."""
        started = time.monotonic()
        if started >= self._look_again_at:
            self._sweeps, self._look_again_at = {}, started + _LOOK_AGAIN_SECONDS
        now = timezone.now()
        jobs = self._take_turns(self._job_steps(now), limit_seconds, rest)
        left = limit_seconds - (time.monotonic() - started)
        others = self._take_turns([_compact, _family_step(now)], left, rest)
        if jobs or others:
            seconds = round(time.monotonic() - started, 1)
            logger.info("history cleaned up", extra={"jobs": jobs, "other_rows": others, "seconds": seconds})
        return jobs

    def _job_steps(self, now: datetime) -> list[Step]:
        return [self._job_step(state, before) for state, before in cutoffs(now).items()]

    def _job_step(self, state: JobState, before: datetime) -> Step:
        sweep = self._sweeps.setdefault(state, Sweep(state))
        return lambda batch: sweep.step(before, batch)

    def _take_turns(self, steps: list[Step], limit_seconds: float, rest: Rest) -> int:
        """Let each step do a batch in turn, so that much of one kind holds up no other; return the rows deleted."""
        deadline = time.monotonic() + limit_seconds
        turns, rows = deque(steps), 0
        while turns and time.monotonic() < deadline:
            step = turns.popleft()
            deleted = step(self._pace.batch)
            if deleted is None:
                continue
            rows += deleted.rows
            turns.append(step)
            if deleted.rows and rest(self._pace.rest_after(deleted)):
                break
        return rows


# --- On request ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """Which jobs to delete: those that ended before a time in one of `states`; no `topics` means all topics."""

    before: datetime
    states: tuple[JobState, ...]
    topics: tuple[str, ...]


def read_request(properties: Mapping[str, Any], now: datetime) -> Request:
    """Return what the properties of a HistoryCleanUpTask ask for.

    `age` in minutes, `topic` and `state` each a text or a list of texts. Raises PropertiesInvalid, naming the property.
    """
    wanted = _texts(properties, "state")
    unknown = [name for name in wanted if name not in states.FINAL]
    if unknown:
        known = ", ".join(state for state in JobState if state in states.FINAL)
        raise exceptions.PropertiesInvalid(f"Property 'state' names {unknown[0]!r}. The final states are: {known}.")
    return Request(
        before=now - timedelta(minutes=min(_age(properties), _LONGEST_DAYS * 24 * 60)),
        states=tuple(state for state in _SETTINGS if state in wanted or not wanted),
        topics=tuple(_topic(name) for name in _texts(properties, "topic")),
    )


def delete(request: Request, batch: int = 500, rest: Rest = time.sleep) -> Iterator[tuple[int, int]]:
    """Delete what is asked for, batch by batch; yields how many jobs were looked at and how many deleted.

    Jobs that their queue keeps are deleted too: somebody asks for it. Results that are not home yet stay.
    """
    pace = Pace(batch)
    for sweep in _sweeps(request):
        while deleted := sweep.step(request.before, pace.batch):
            yield deleted.seen, deleted.rows
            rest(pace.rest_after(deleted))


def count(request: Request) -> int:
    """Return how many jobs `delete` would go through."""
    return sum(sweep.left(request.before) for sweep in _sweeps(request))


def _sweeps(request: Request) -> list[Sweep]:
    return [Sweep(state, topics=request.topics, heeds_queues=False) for state in request.states]


def _age(properties: Mapping[str, Any]) -> float:
    value = properties.get("age", TASK_AGE_MINUTES)
    try:
        minutes = float(value)
    except (TypeError, ValueError) as error:
        raise exceptions.PropertiesInvalid(f"Property 'age' is a number of minutes, not {value!r}.") from error
    return minutes if minutes >= 1 else TASK_AGE_MINUTES


def _texts(properties: Mapping[str, Any], name: str) -> list[str]:
    value = properties.get(name) or []
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise exceptions.PropertiesInvalid(f"Property {name!r} is a text or a list of texts, not {value!r}.")
    return found


def _topic(name: str) -> str:
    """Return a topic that may be written as Sling stores it, with dots. Our own names hold none."""
    try:
        return topics.validate(name.replace(".", "/"))
    except exceptions.TopicInvalid as error:
        raise exceptions.PropertiesInvalid(f"Property 'topic': {error}") from error


# --- Transactions -------------------------------------------------------------------------------------------------


def _delete(job_ids: list[uuid.UUID], state: JobState, before: datetime) -> Deleted:
    """Delete those of the jobs that are still so, with their attempts and transfers, and tell of it."""
    with transaction.atomic():
        started = time.perf_counter()
        jobs = _deletable(job_ids, state, before)
        # Only the key: their properties may be large.
        Job.objects.filter(id__in=[job.id for job in jobs]).only("id").delete()
        signals.tell(*(JobChange(job.id, job.topic, "", state, job.queue, job.origin, job.target) for job in jobs))
    return Deleted(len(jobs), time.perf_counter() - started)


def _deletable(job_ids: list[uuid.UUID], state: JobState, before: datetime) -> list[Job]:
    """Lock the jobs and return those that are as they were when they were read; what somebody else is at is left out.

    Asked for by their ids alone: given the state and the time as well, SQLite would rather go through all that fit.
    """
    columns = Job.objects.only("id", "topic", "queue", "origin", "target", "state", "finished_at")
    locked = columns.filter(id__in=job_ids).order_by("id").select_for_update(skip_locked=True)
    found = [job for job in locked if job.state == state and job.finished_at and job.finished_at < before]
    copies = [job.id for job in found if job.origin]
    held = _held(copies) if copies else set[uuid.UUID]()
    return [job for job in found if job.id not in held]


def _held(copies: list[uuid.UUID]) -> set[uuid.UUID]:
    """Return the copies whose origin would wait for ever for a result that is no more, as in manager.remove_job."""
    results = Transfer.objects.filter(job__in=copies, direction=Transfer.Direction.BACK, is_sender=True)
    return set(results.exclude(state__in=_SETTLED).values_list("job_id", flat=True))


def _compact(batch: int) -> Deleted | None:
    """Put old rows of the statistics together; that takes rows away, and no sum."""
    started = time.perf_counter()
    rows = statistics.compact(limit=batch)
    return Deleted(rows, time.perf_counter() - started) if rows else None


def _family_step(now: datetime) -> Step:
    jobs = Job.objects.filter(~models.Q(family=""), family=models.OuterRef("pk"))
    old = FailureFamily.objects.filter(~models.Exists(jobs), last_seen_at__lt=now - FAMILIES_KEPT)
    return lambda batch: _delete_rows(old.order_by("fingerprint"), batch)


def _delete_rows(old: models.QuerySet[Any], batch: int) -> Deleted | None:
    keys = list(old.values_list("pk", flat=True)[:batch])
    if not keys:
        return None
    with transaction.atomic():
        started = time.perf_counter()
        # A family that was seen again since then is as it was no longer, and stays.
        rows, _ = old.order_by().filter(pk__in=keys).delete()
    return Deleted(rows, time.perf_counter() - started)
