"""Adding jobs: from what somebody asks for to rows, and the news of them. `manager` is how others get here.

One job costs one statement, which on PostgreSQL wakes the instance too; many at once cost one for each thousand.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from offloading import exceptions
from offloading.jobs import configuration, ids, outcomes, placement, signals, statements, topics
from offloading.jobs import properties as job_properties
from offloading.jobs.queues import Queue
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState, QueueType
from topology import identity, wakeup
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

_NAME_LENGTH = 255
# PostgreSQL takes 65,535 parameters in a statement, SQLite 32,766.
_ROWS = 1_000
_COLUMNS = (
    "id", "topic", "queue", "title", "name", "properties", "target", "application", "origin", "origin_fence", "fence",
    "priority", "retries", "retry_delay_seconds", "time_limit_seconds", "not_before", "rank_at", "queued_at",
    "created_at", "state", "claimed_by", "retry_count", "crash_count", "stop_requested_by", "progress_step",
    "result_message", "family",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What somebody asks for; see `manager.add_job`, whose arguments these are."""

    topic: str
    properties: Mapping[str, Any] | None = None
    title: str = ""
    name: str = ""
    priority: int = 0
    delay_seconds: float = 0.0
    not_before: datetime | None = None
    retries: int | None = None
    retry_delay_seconds: float | None = None
    time_limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Addition:
    """A job that is placed and not stored yet, and the queue that it goes to."""

    job: Job
    queue: Queue
    delay_seconds: float = 0.0


def addition(request: JobRequest, placer: placement.Placer) -> Addition:
    """Return what a request becomes. Raises TopicInvalid or PropertiesInvalid."""
    topic = topics.validate(request.topic)
    if len(request.name) > _NAME_LENGTH:
        raise exceptions.PropertiesInvalid(f"The name of a job has at most {_NAME_LENGTH} characters.")
    if request.not_before is not None and timezone.is_naive(request.not_before):
        raise exceptions.PropertiesInvalid("`not_before` needs a time zone.")
    queue = configuration.queue_of(topic)
    sling_id = identity.sling_id()
    job = Job(
        id=ids.uuid7(),
        topic=topic,
        queue=queue.name,
        title=request.title[:255],
        name=request.name,
        properties=job_properties.checked(request.properties),
        application=sling_id,
        target=placer.choose(topic=topic, creator=sling_id).target,
        retries=None if request.retries is None else max(request.retries, -1),
        retry_delay_seconds=request.retry_delay_seconds,
        time_limit_seconds=request.time_limit_seconds,
        priority=request.priority,
        not_before=request.not_before,
    )
    return Addition(job, queue, request.delay_seconds)


def insert(additions: Sequence[Addition], view: TopologyView) -> list[Job]:
    """Store placed jobs, tell of them, and wake who will run them; in the caller's transaction, if there is one.

    Returns those that were stored: not those that have the name of an unfinished job, or whose queue drops its jobs.
    """
    if len(additions) > _ROWS:
        parts = [additions[start : start + _ROWS] for start in range(0, len(additions), _ROWS)]
        with transaction.atomic():
            return [job for part in parts for job in insert(part, view)]
    wanted = [each for each in additions if each.queue.settings.type != QueueType.DROP]
    stored = _insert(wanted, view) if wanted else []
    signals.tell(
        *(JobChange(job.id, job.topic, JobState.QUEUED, "", job.queue, job.origin, job.target) for job in stored)
    )
    if not statements.is_postgresql():
        for kind, target in _wakeups(stored, view):
            wakeup.notify(kind, target)
    for topic, count in Counter(job.topic for job in stored if not job.target).items():
        logger.info("jobs have no instance yet", extra={"topic": topic, "count": count})
    return stored


def _insert(additions: Sequence[Addition], view: TopologyView) -> list[Job]:
    jobs = [each.job for each in additions]
    rows = [_row(each) for each in additions]
    statement = (
        f"INSERT INTO offloading_job ({', '.join(_COLUMNS)}) VALUES {', '.join(text for text, _ in rows)} "
        "ON CONFLICT (name) WHERE (NOT (name = '') AND state IN ('QUEUED', 'ACTIVE')) DO NOTHING "
        "RETURNING id, created_at, rank_at, queued_at, not_before"
    )
    parameters = [value for _, values in rows for value in values]
    if statements.is_postgresql():
        # The wake-up in the same statement: one way to the server and back. It is sent when this is committed.
        calls = [wakeup.message(kind, target) for kind, target in _wakeups(jobs, view)]
        told = "".join(", (SELECT pg_notify(%s, %s))" for _ in calls)
        statement = f"WITH added AS ({statement}) SELECT added.*{told} FROM added"
        parameters += [part for call in calls for part in (wakeup.CHANNEL, call)]
    times = {statements.to_uuid(row[0]): row[1:5] for row in statements.run(statement, parameters)}
    stored = [job for job in jobs if job.id in times]
    for job in stored:
        job.created_at, job.rank_at, job.queued_at, job.not_before = map(statements.to_moment, times[job.id])
        job._state.adding, job._state.db = False, connection.alias
    return stored


def _row(addition: Addition) -> tuple[str, list[Any]]:
    """Return the places of one row and the parameters for them; what is as usual stands in the text."""
    job = addition.job
    parameters: list[Any] = [statements.key(job.id)]
    places = ["%s"]

    def put(value: Any, usual: Any, text: str) -> None:
        if value == usual:
            places.append(text)
        else:
            places.append("%s")
            parameters.append(value)

    for name in ("topic", "queue", "title", "name"):
        put(getattr(job, name), "", "''")
    put(json.dumps(job.properties, ensure_ascii=False), "{}", "'{}'")
    for name in ("target", "application", "origin"):
        put(getattr(job, name), "", "''")
    put(job.origin_fence, None, "NULL")
    put(job.fence, 0, "0")
    put(job.priority, 0, "0")
    for name in ("retries", "retry_delay_seconds", "time_limit_seconds"):
        put(getattr(job, name), None, "NULL")
    for text, values in _times(addition):
        places.append(text)
        parameters += values
    places += [statements.now(), "'QUEUED'", "''", "0", "0", "''", "0", "''", "''"]
    return f"({', '.join(places)})", parameters


def _times(addition: Addition) -> list[tuple[str, list[Any]]]:
    """Return `not_before`, `rank_at` and `queued_at`, by the database's clock unless somebody named an instant.

    A higher priority counts as having waited longer, so that in the end everything has its turn. In an ordered queue
    nothing overtakes.
    """
    job = addition.job
    is_ordered = addition.queue.settings.type == QueueType.ORDERED
    ahead = 0 if is_ordered else job.priority * outcomes.AGEING_SECONDS
    if job.not_before is not None:
        shown = statements.moment(job.not_before)
        rank = statements.moment(job.not_before - timedelta(seconds=ahead))
        return [("%s", [shown]), ("%s", [rank]), ("%s", [shown])]
    if addition.delay_seconds > 0:
        due = statements.shifted("%s")
        return [
            (due, [addition.delay_seconds]),
            (due, [addition.delay_seconds - ahead]),
            (due, [addition.delay_seconds]),
        ]
    rank = (statements.shifted("%s"), [-ahead]) if ahead else (statements.now(), [])
    return [("NULL", []), rank, (statements.now(), [])]


def _wakeups(jobs: Iterable[Job], view: TopologyView) -> list[tuple[str, str]]:
    """Return whom to wake for these jobs, as kind and instance."""
    targets = {job.target for job in jobs if job.target}
    here = sorted(target for target in targets if view.is_local_member(target))
    calls = [("jobs", target) for target in here]
    return [*calls, ("transport", "")] if len(here) < len(targets) else calls
