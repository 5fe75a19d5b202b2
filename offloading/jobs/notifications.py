"""Notifications about jobs, under the topics and with the payload of Sling's: for information, in the process itself.

A subscriber is told after the transaction is committed, in the process and thread that made the change, one
notification after the other; so it should be quick. One that fails is logged and harms neither the job nor the others.
While nobody subscribes, nothing is read and nothing is made.

Unlike Sling, every way in which a job ends without success is told: stopping and dropping a waiting one, too.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from offloading.jobs import signals, states, templates, topics
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, Job, JobState

logger = logging.getLogger(__name__)

PREFIX = "org/apache/sling/event/notification/job/"
ADDED, START, FINISHED = PREFIX + "ADDED", PREFIX + "START", PREFIX + "FINISHED"
FAILED, CANCELLED, REMOVED = PREFIX + "FAILED", PREFIX + "CANCELLED", PREFIX + "REMOVED"
TOPICS = (ADDED, START, FINISHED, FAILED, CANCELLED, REMOVED)

Payload = dict[str, Any]
Callback = Callable[[str, Payload], object]


# --- Who wants to hear --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Subscriber:
    callback: Callback
    wanted: frozenset[str]


_subscribers: dict[str, _Subscriber] = {}


def register(name: str, callback: Callback, *, topics: str | Iterable[str] = PREFIX + "*") -> None:
    """Have `callback(topic, payload)` told of what it wants; the same name again replaces the former one.

    `topics` are topics of notifications, or a pattern of them as consumers register for. Raises ValueError for what
    stands for none of the six.
    """
    wanted = frozenset(_matching([topics] if isinstance(topics, str) else topics))
    _subscribers[name] = _Subscriber(callback, wanted)


def unregister(name: str) -> None:
    """Tell that subscriber nothing any more."""
    _subscribers.pop(name, None)


def names() -> list[str]:
    """Return who is told."""
    return sorted(_subscribers)


@contextmanager
def temporarily(callback: Callback, *, topics: str | Iterable[str] = PREFIX + "*") -> Iterator[None]:
    """Have `callback` told as long as the block runs."""
    name = uuid.uuid4().hex
    register(name, callback, topics=topics)
    try:
        yield
    finally:
        unregister(name)


def _matching(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        found = [topic for topic in TOPICS if topics.matching(topic, [pattern])]
        if not found:
            raise ValueError(f"{pattern!r} stands for none of the notifications, which are {', '.join(TOPICS)}")
        yield from found


# --- What is told -------------------------------------------------------------------------------------------------


def on_jobs_changed(changes: tuple[JobChange, ...], **_: Any) -> None:
    """Read what there is to tell of a transaction while it is as it was told, and tell it when that is committed."""
    wanted = frozenset[str]().union(*(each.wanted for each in _subscribers.values()))
    if not wanted:
        return
    told = [change for change in changes if not wanted.isdisjoint(_candidates(change))]
    if told:
        found = _notifications(told)
        transaction.on_commit(lambda: _deliver(found), robust=True)


def _candidates(change: JobChange) -> tuple[str, ...]:
    """Return what a change may have to be told as. Whether what runs no more failed, only its attempt knows."""
    if not change.state:
        return (REMOVED,)
    if change.state != JobState.QUEUED:
        return (_BY_STATE[JobState(change.state)],)
    if change.previous == JobState.ACTIVE:
        return (FAILED, ADDED)
    # As in Sling, nothing is told of a job that no instance has.
    return (ADDED,) if change.target else ()


_BY_STATE = {
    JobState.ACTIVE: START,
    JobState.SUCCEEDED: FINISHED,
    JobState.ERROR: CANCELLED,
    JobState.GIVEN_UP: CANCELLED,
    JobState.STOPPED: CANCELLED,
    JobState.DROPPED: CANCELLED,
}


def _notifications(changes: Iterable[JobChange]) -> list[tuple[str, Payload]]:
    # Of a job that was added or is gone, nothing but what the change says is told.
    ids = [change.job_id for change in changes if not {ADDED, REMOVED}.issuperset(_candidates(change))]
    jobs = Job.objects.in_bulk(ids)
    # What failed keeps its fence while it waits; whatever was taken back or given back got another one.
    ended = Attempt.objects.filter(job_id__in=ids, fence=F("job__fence"), ended_at__isnull=False)
    attempts = {attempt.job_id: attempt for attempt in ended}
    found = []
    for change in changes:
        attempt = attempts.get(change.job_id)
        candidates = _candidates(change)
        topic = candidates[0] if attempt or candidates[0] != FAILED else ADDED
        if topic != ADDED or change.target:
            found.append((topic, _payload(topic, change, jobs.get(change.job_id), attempt)))
    return found


def _payload(topic: str, change: JobChange, job: Job | None, attempt: Attempt | None) -> Payload:
    """Return what a subscriber gets."""
    which = {
        "event.job.topic": change.topic,
        "slingevent:eventId": str(change.job_id),
        "event.job.queuename": change.queue,
    }
    if job is None or topic in (ADDED, REMOVED):
        return which | {":time": 0}
    spent = 0
    if topic == START:
        spent = _milliseconds(job.queued_at, job.started_at)
    elif topic == FINISHED and attempt:
        spent = _milliseconds(attempt.started_at, attempt.ended_at)
    return {**job.properties, **_managed(job), **which, ":time": spent}


def _managed(job: Job) -> Mapping[str, Any]:
    """Return the properties that the engine keeps; those that have no value are left out."""
    found = {}
    for name, managed in templates.MANAGED.items():
        value = getattr(job, managed.column)
        if value not in (None, ""):
            found[name] = value * managed.unit if managed.unit != 1 else value
    if job.state not in states.FINAL:
        found.pop("slingevent:finishedState", None)
        found.pop("slingevent:finishedDate", None)
    return found


def _milliseconds(start: datetime | None, end: datetime | None) -> int:
    return max(round((end - start).total_seconds() * 1000), 0) if start and end else 0


def _deliver(found: Iterable[tuple[str, Payload]]) -> None:
    for topic, payload in found:
        for name, subscriber in list(_subscribers.items()):
            if topic in subscriber.wanted:
                _tell(name, subscriber.callback, topic, {**payload, "timestamp": time.time_ns() // 1_000_000})


def _tell(name: str, callback: Callback, topic: str, payload: Payload) -> None:
    try:
        callback(topic, payload)
    except Exception:
        logger.exception("subscriber failed", extra={"subscriber": name, "topic": topic})


def connect() -> None:
    """Begin to listen to what happens to jobs."""
    signals.jobs_changed.connect(on_jobs_changed, dispatch_uid="job-notifications")
