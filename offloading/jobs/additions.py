"""Adding jobs: from what somebody asks for to rows, and the news of them. `manager` is how others get here.

One job costs one statement, which on PostgreSQL wakes the instance too; many at once cost one for each thousand.
"""

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from offloading import exceptions
from offloading.jobs import configuration, ids, placement, signals, statements, topics, transitions
from offloading.jobs import properties as job_properties
from offloading.jobs.queues import Queue
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState, QueueType
from topology import identity, wakeup
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

# created_at, rank_at, queued_at and not_before as the database returned them.
Times = tuple[Any, ...]

_NAME_LENGTH = 255
# Bounds within which every time that follows from these numbers is one for database and Python.
_FARTHEST = 1_000_000
_LARGEST = 2**31 - 1
_LONGEST_SECONDS = 10 * 366 * 86_400
_YEARS = (1900, 9900)
# PostgreSQL takes 65,535 parameters in a statement, SQLite 32,766.
_ROWS = 1_000
_COLUMNS = (
    "id", "topic", "queue", "title", "name", "properties", "target", "application", "origin", "origin_fence", "fence",
    "priority", "retries", "retry_delay_seconds", "time_limit_seconds", "not_before", "rank_at", "queued_at",
    "created_at", "state", "claimed_by", "retry_count", "crash_count", "stop_requested_by", "progress_step",
    "result_message", "family",
)  # fmt: skip
# What a job has about which nothing special was asked: given by the request, and the same for all.
_PLAIN = ("id", "topic", "queue", "title", "properties", "target", "application")
_USUAL = {
    "name": "", "origin": "", "fence": 0, "priority": 0, "state": "QUEUED", "claimed_by": "", "retry_count": 0,
    "crash_count": 0, "stop_requested_by": "", "progress_step": 0, "result_message": "", "family": "",
}  # fmt: skip


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
    """A job that is placed and not stored yet. `properties` are its JSON."""

    request: JobRequest
    job_id: uuid.UUID
    queue: Queue
    properties: str
    target: str
    application: str
    # Of a copy from another installation: where it comes from, and its fences there and here.
    origin: str = ""
    origin_fence: int | None = None
    fence: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether nothing but topic, title and properties was asked for."""
        asked = self.request
        return not (
            self.origin
            or asked.name
            or asked.priority
            or asked.delay_seconds
            or asked.not_before
            or asked.retries is not None
            or asked.retry_delay_seconds is not None
            or asked.time_limit_seconds is not None
        )


def addition(request: JobRequest, placer: placement.Placer) -> Addition:
    """Return what a request becomes. Raises TopicInvalid or PropertiesInvalid."""
    topic = topics.validate(request.topic)
    _require_text("name", request.name, _NAME_LENGTH)
    _require_text("title", request.title)
    _require_instant(request.not_before)
    _require_number("priority", request.priority, -_FARTHEST, _FARTHEST)
    _require_number("retries", request.retries, -_FARTHEST, _LARGEST)
    for name in ("delay_seconds", "retry_delay_seconds", "time_limit_seconds"):
        _require_number(name, getattr(request, name), -_FARTHEST, _LONGEST_SECONDS)
    sling_id = identity.sling_id()
    return Addition(
        request=request,
        job_id=ids.uuid7(),
        queue=configuration.queue_of(topic),
        properties=job_properties.encoded(request.properties)[1],
        target=placer.choose(topic=topic, creator=sling_id).target,
        application=sling_id,
    )


def insert(additions: Sequence[Addition], view: TopologyView) -> list[uuid.UUID]:
    """Store placed jobs, tell of them, and wake who will run them; in the caller's transaction, if there is one.

    Returns which were stored: not those that have the name of an unfinished job, or whose queue drops its jobs.
    """
    wanted = [each for each in additions if each.queue.settings.type != QueueType.DROP]
    with transaction.atomic():
        _insert_plain([each for each in wanted if each.is_plain])
        rest = [each for each in wanted if not each.is_plain]
        parts = [rest[start : start + _ROWS] for start in range(0, len(rest), _ROWS)]
        known = {job_id for part in parts for job_id in _insert(part)}
        stored = [each for each in wanted if each.is_plain or each.job_id in known]
        _tell(stored)
        for kind, target in _wakeups(stored, view):
            wakeup.notify(kind, target)
    return [each.job_id for each in stored]


def insert_one(addition: Addition, view: TopologyView) -> Job | None:
    """Do as `insert` for a single job, in a single statement, and return it as it was stored; None if it was not.

    Outside of a transaction that statement is one of its own, and the news is told when it is over.
    """
    if addition.queue.settings.type == QueueType.DROP:
        return None
    calls = _due_wakeups(addition, view)
    times = _insert([addition], calls if statements.is_postgresql() else ())
    if not times:
        return None
    if not connection.in_atomic_block:  # what is not committed has woken nobody yet
        # Only a dispatcher looks once more.
        _woken_at.update({call: time.monotonic() for call in calls if call[0] == "jobs"})
    _tell([addition])
    for kind, target in () if statements.is_postgresql() else calls:
        wakeup.notify(kind, target)
    return _stored(addition, times[addition.job_id])


def _tell(stored: Sequence[Addition]) -> None:
    signals.tell(
        *(
            JobChange(each.job_id, each.request.topic, JobState.QUEUED, "", each.queue.name, each.origin, each.target)
            for each in stored
        )
    )
    for topic, count in Counter(each.request.topic for each in stored if not each.target).items():
        logger.info("jobs have no instance yet", extra={"topic": topic, "count": count})


def _insert(additions: Sequence[Addition], calls: Sequence[tuple[str, str]] = ()) -> dict[uuid.UUID, Times]:
    """Insert any kind of jobs, in one statement, and return their times.

    `calls`, for PostgreSQL only, are wake-ups that the same statement sends: one way to the server and back. They go
    out when it is committed.
    """
    rows = [_row(each) for each in additions]
    statement = (
        f"INSERT INTO offloading_job ({', '.join(_COLUMNS)}) VALUES {', '.join(text for text, _ in rows)} "
        "ON CONFLICT (name) WHERE (NOT (name = '') AND state IN ('QUEUED', 'ACTIVE')) DO NOTHING "
        "RETURNING id, created_at, rank_at, queued_at, not_before"
    )
    parameters = [value for _, values in rows for value in values]
    if calls:
        told = "".join(", (SELECT pg_notify(%s, %s))" for _ in calls)
        statement = f"WITH added AS ({statement}) SELECT added.*{told} FROM added"
        parameters += [part for call in calls for part in (wakeup.CHANNEL, wakeup.message(*call))]
    return {statements.to_uuid(row[0]): row[1:5] for row in statements.run(statement, parameters)}


def _stored(addition: Addition, times: Times) -> Job:
    """Return the row as the database has it, without reading it again."""
    asked = addition.request
    created_at, rank_at, queued_at, not_before = map(statements.to_moment, times)
    job = Job(
        id=addition.job_id,
        topic=asked.topic,
        queue=addition.queue.name,
        title=asked.title[:_NAME_LENGTH],
        name=asked.name,
        properties=json.loads(addition.properties),
        target=addition.target,
        application=addition.application,
        priority=asked.priority,
        retries=None if asked.retries is None else max(asked.retries, -1),
        retry_delay_seconds=asked.retry_delay_seconds,
        time_limit_seconds=asked.time_limit_seconds,
        created_at=created_at,
        rank_at=rank_at,
        queued_at=queued_at,
        not_before=not_before,
    )
    job._state.adding, job._state.db = False, connection.alias
    return job


def _insert_plain(additions: Sequence[Addition]) -> None:
    """Insert many jobs that asked for nothing special, the quickest way that the database has."""
    if not additions:
        return
    key = statements.key
    rows = (
        (
            key(each.job_id),
            each.request.topic,
            each.queue.name,
            each.request.title[:_NAME_LENGTH],
            each.properties,
            each.target,
            each.application,
        )
        for each in additions
    )
    with connection.cursor() as cursor:
        if statements.is_postgresql():
            columns = ", ".join((*_PLAIN, *_USUAL))
            usual = tuple(_USUAL.values())
            with cursor.copy(f"COPY offloading_job ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row + usual)
            return
        places = ", ".join(
            [*["%s"] * len(_PLAIN), *(repr(value) for value in _USUAL.values()), *[statements.now()] * 3]
        )
        columns = ", ".join((*_PLAIN, *_USUAL, "rank_at", "queued_at", "created_at"))
        cursor.executemany(f"INSERT INTO offloading_job ({columns}) VALUES ({places})", list(rows))


def _row(addition: Addition) -> tuple[str, list[Any]]:
    """Return the places of one row and the parameters for them; what is as usual stands in the text."""
    asked = addition.request
    parameters: list[Any] = [statements.key(addition.job_id)]
    places = ["%s"]

    def put(value: Any, usual: Any, text: str) -> None:
        if value == usual:
            places.append(text)
        else:
            places.append("%s")
            parameters.append(value)

    for value in (asked.topic, addition.queue.name, asked.title[:_NAME_LENGTH], asked.name):
        put(value, "", "''")
    put(addition.properties, "{}", "'{}'")
    for value in (addition.target, addition.application, addition.origin):
        put(value, "", "''")
    put(addition.origin_fence, None, "NULL")
    put(addition.fence, 0, "0")
    put(asked.priority, 0, "0")
    put(None if asked.retries is None else max(asked.retries, -1), None, "NULL")
    put(asked.retry_delay_seconds, None, "NULL")
    put(asked.time_limit_seconds, None, "NULL")
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
    asked = addition.request
    is_ordered = addition.queue.settings.type == QueueType.ORDERED
    ahead = 0 if is_ordered else asked.priority * transitions.AGEING_SECONDS
    if asked.not_before is not None:
        shown = statements.moment(asked.not_before)
        rank = statements.moment(asked.not_before - timedelta(seconds=ahead))
        return [("%s", [shown]), ("%s", [rank]), ("%s", [shown])]
    if asked.delay_seconds > 0:
        due = statements.shifted("%s")
        return [(due, [asked.delay_seconds]), (due, [asked.delay_seconds - ahead]), (due, [asked.delay_seconds])]
    rank = (statements.shifted("%s"), [-ahead]) if ahead else (statements.now(), [])
    return [("NULL", []), rank, (statements.now(), [])]


def _wakeups(jobs: Iterable[Addition], view: TopologyView) -> list[tuple[str, str]]:
    """Return whom to wake for these jobs, as kind and instance."""
    targets = {job.target for job in jobs if job.target}
    here = sorted(target for target in targets if view.is_local_member(target))
    calls = [("jobs", target) for target in here]
    return [*calls, ("transport", "")] if len(here) < len(targets) else calls


# When this process woke each target last, by time.monotonic().
_woken_at: dict[tuple[str, str], float] = {}


def _due_wakeups(addition: Addition, view: TopologyView) -> list[tuple[str, str]]:
    """Return whom to wake for one job: nobody who was woken a moment ago, for he will look once more.

    Only if the job is there at once; a transaction may take longer than anybody looks.
    """
    calls = _wakeups([addition], view)
    if transaction.get_connection().in_atomic_block:
        return calls
    now = time.monotonic()
    return [call for call in calls if now - _woken_at.get(call, 0.0) >= wakeup.MOMENT_SECONDS]


def _require_number(what: str, number: float | None, least: float, most: float) -> None:
    """Raise PropertiesInvalid for a number with which a job could be stored, and then not read or never run."""
    if number is None or (isinstance(number, int | float) and least <= number <= most):
        return
    raise exceptions.PropertiesInvalid(f"`{what}` is {number!r}. Give a number from {least:,} to {most:,}.")


def _require_instant(instant: datetime | None) -> None:
    if instant is None:
        return
    if timezone.is_naive(instant):
        raise exceptions.PropertiesInvalid("`not_before` needs a time zone.")
    if not _YEARS[0] <= instant.year <= _YEARS[1]:
        raise exceptions.PropertiesInvalid(f"`not_before` is in the year {instant.year}. Give one from {_YEARS}.")


def _require_text(what: str, text: str, most: int | None = None) -> None:
    """Raise PropertiesInvalid for a text that a database does not keep as it is."""
    if most is not None and len(text) > most:
        raise exceptions.PropertiesInvalid(f"The {what} of a job has at most {most} characters; this has {len(text)}.")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise exceptions.PropertiesInvalid(f"The {what} of a job holds a character that not every database stores.")
