"""Scheduled jobs: adding them, changing them, and firing them when their time has come.

Firing is the leader's affair. Each time is fired in one transaction, by a guarded update of the scheduled job that also
adds the job: two leaders at once, a crash in between or a second call fire it once. When a schedule runs is said in
`schedules`, and what becomes of missed runs in `misfires`.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import FieldError
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, QuerySet
from django.dispatch import Signal
from django.utils import timezone

from offloading import exceptions
from offloading.jobs import audit, manager, misfires, topics
from offloading.jobs import properties as job_properties
from offloading.jobs import schedules as job_schedules
from offloading.jobs import templates as job_templates
from offloading.jobs.schedules import Schedule
from offloading.models import Job, ScheduledJob
from topology import identity, wakeup

logger = logging.getLogger(__name__)

# Sent inside the transaction that changes a scheduled job, with its `name`.
schedules_changed = Signal()

WAKEUP = "schedules"
PARKED = "Its last run could not be added; the log of the leader says why. Resume it to try again."
OVER = "All its dates are over."


# --- Changing -----------------------------------------------------------------------------------------------------


def schedule_job(
    *,
    topic: str,
    schedules: Iterable[Schedule],
    properties: Mapping[str, Any] | None = None,
    title: str = "",
    time_zone: str = "",
    misfire: str = ScheduledJob.Misfire.ONCE,
    suspended: bool = False,
    by: str = "",
) -> ScheduledJob:
    """Have a job of `topic` added at each time that one of `schedules` names, in `time_zone` ("" = TIME_ZONE).

    The same topic, properties, schedules and zone are the same scheduled job: said again, it takes over the title and
    the misfire policy and stays as it is otherwise, also suspended. Raises TopicInvalid, PropertiesInvalid or
    ScheduleInvalid, and then nothing is stored.
    """
    fields = _checked(topic, properties, schedules, time_zone or settings.TIME_ZONE, misfire)
    fields["title"] = title[:255]
    with transaction.atomic():
        found = ScheduledJob.objects.select_for_update().filter(name=fields["name"]).first()
        if found is None:
            return _create(fields, suspended=suspended, by=by)
        if (found.title, found.misfire) != (fields["title"], misfire):
            found.title, found.misfire = fields["title"], misfire
            _save(found, "title", "misfire")
        return found


def reschedule(*, name: str, schedules: Iterable[Schedule], by: str, time_zone: str = "") -> ScheduledJob:
    """Give a scheduled job other times; its name stays, and so does whether it is suspended.

    Raises ScheduleMissing, or ScheduleInvalid, and then the old times stay.
    """
    with transaction.atomic():
        row = _locked(name)
        given, now = job_schedules.checked(schedules), _database_now()
        zone = job_schedules.zone_of(time_zone or row.time_zone)
        job_schedules.require_ahead(given, now)
        row.schedules, row.time_zone = [each.to_json() for each in given], zone.key
        row.next_at = None if row.suspended_at else job_schedules.first_run(given, now, zone)
        _save(row, "schedules", "time_zone", "next_at")
    logger.info("schedule changed", extra={"schedule": name, "topic": row.topic, "by": by})
    return row


def suspend(*, name: str, by: str) -> ScheduledJob:
    """Let a scheduled job rest until it is resumed. One that rests already stays as it is. Raises ScheduleMissing."""
    with transaction.atomic():
        row = _locked(name)
        if row.suspended_at:
            return row
        row.suspended_by, row.suspended_at, row.next_at = by, _database_now(), None
        _save(row, "suspended_by", "suspended_at", "next_at")
        audit.say("SUSPENDED", schedule=name, topic=row.topic)
    logger.info("schedule suspended", extra={"schedule": name, "topic": row.topic, "by": by})
    return row


def resume(*, name: str, by: str) -> ScheduledJob:
    """Let a scheduled job run again, from its next time on; what would have been in between is not caught up.

    Raises ScheduleMissing, or ScheduleInvalid if it has no time to come or cannot be read.
    """
    with transaction.atomic():
        row = _locked(name)
        if row.next_at:
            return row
        next_at = job_schedules.first_run(times(row), _database_now(), job_schedules.zone_of(row.time_zone))
        if next_at is None:
            raise exceptions.ScheduleInvalid(f"{OVER} Give it other times, or remove it.")
        row.suspended_by, row.suspended_at, row.next_at = "", None, next_at
        _save(row, "suspended_by", "suspended_at", "next_at")
        audit.say("SCHEDULED OK", schedule=name, topic=row.topic)
    logger.info("schedule resumed", extra={"schedule": name, "topic": row.topic, "by": by})
    return row


def unschedule(*, name: str, by: str) -> bool:
    """Remove a scheduled job; the jobs it added stay. Returns whether there was one."""
    with transaction.atomic():
        count, _ = ScheduledJob.objects.filter(name=name).delete()
        if count:
            audit.say("STOP", schedule=name)
            _tell(name)
    if count:
        logger.info("schedule removed", extra={"schedule": name, "by": by})
    return bool(count)


def run_now(*, name: str, by: str) -> Job | None:
    """Add the job at once, besides its times; also while suspended. None: its queue keeps no jobs.

    Raises ScheduleMissing, TopicInvalid or PropertiesInvalid.
    """
    with transaction.atomic():
        row = _locked(name)
        job = manager.add_job(row.topic, row.properties, title=row.title)
        if job:
            row.last_job, row.fired_count = job.id, row.fired_count + 1
        _save(row, "last_job", "fired_count")
    logger.info("schedule run by hand", extra={"schedule": name, "topic": row.topic, "by": by})
    return job


# --- Looking ------------------------------------------------------------------------------------------------------


def get(name: str) -> ScheduledJob:
    """Return a scheduled job. Raises ScheduleMissing."""
    row = ScheduledJob.objects.filter(name=name).first()
    if row is None:
        raise _missing(name)
    return row


def find(
    topic: str | None = None, limit: int = 0, templates: Iterable[Mapping[str, object]] = ()
) -> list[ScheduledJob]:
    """Return the scheduled jobs of that exact topic (None = all) that fit the templates, the next to run first.

    `limit` below 1 is none. The templates are those of `find_jobs` (see the module `templates`); suspended ones are
    found as well. Raises QueryInvalid.
    """
    rows = ScheduledJob.objects.order_by(F("next_at").asc(nulls_last=True), "topic", "name")
    if topic is not None:
        rows = rows.filter(topic=topic)
    try:
        rows = rows.filter(job_templates.condition(templates))
    except FieldError as error:
        raise exceptions.QueryInvalid(
            f"The templates name something that scheduled jobs do not have: {error}"
        ) from error
    return list(rows[:limit] if limit > 0 else rows)


def times(row: ScheduledJob) -> tuple[Schedule, ...]:
    """Return the schedules of a stored job. Raises ScheduleInvalid if they cannot be read."""
    return job_schedules.all_from_json(row.schedules)


def next_runs(row: ScheduledJob, now: datetime, count: int) -> tuple[datetime, ...]:
    """Return the next `count` times of a scheduled job, in UTC: none while it is suspended or cannot run."""
    if row.next_at is None:
        return ()
    later = job_schedules.next_runs(times(row), max(row.next_at, now), job_schedules.zone_of(row.time_zone), count)
    return (row.next_at, *later)[:count]


def describe(row: ScheduledJob) -> str:
    """Say in words when a job runs; "" if its schedules cannot be read."""
    try:
        return job_schedules.describe_all(times(row), job_schedules.zone_of(row.time_zone))
    except exceptions.ScheduleInvalid:
        return ""


def problem(row: ScheduledJob) -> str:
    """Say why a scheduled job that is not suspended never runs again; "" if it does."""
    if row.suspended_at or row.next_at:
        return ""
    try:
        topics.validate(row.topic)
        job_properties.checked(row.properties)
        has_more = job_schedules.first_run(times(row), timezone.now(), job_schedules.zone_of(row.time_zone))
    except exceptions.JobError as error:
        return str(error)
    return PARKED if has_more else OVER


# --- Firing -------------------------------------------------------------------------------------------------------


def next_due() -> float | None:
    """Return in how many seconds something is due, by the database's clock (not above 0: now); None if nothing is."""
    due = _waiting().order_by("next_at").values_list("next_at", flat=True).first()
    return (due - _database_now()).total_seconds() if due else None


def fire_due(*, epoch: int, now: datetime | None = None) -> int:
    """Add the jobs of all scheduled jobs that are due, and return how many. For the leader of the view `epoch`.

    Fires nothing that the leader of a later view has fired before. One that cannot be fired is logged and does not keep
    the others: if its job is refused, it is parked until somebody resumes it; after any other error it stays due.
    """
    now = now or _database_now()
    due = _waiting().filter(next_at__lte=now, epoch__lte=epoch).order_by("next_at", "name")
    return sum(_fire_safely(row, epoch, now) for row in list(due))


def _fire_safely(row: ScheduledJob, epoch: int, now: datetime) -> int:
    facts = {"schedule": row.name, "topic": row.topic}
    try:
        return _fire(row, epoch, now)
    except exceptions.JobError as error:
        logger.error("schedule parked, its job is refused", extra=facts | {"reason": str(error)})
        with transaction.atomic():
            _as_read(row, epoch).update(next_at=None, epoch=epoch, version=F("version") + 1)
            _tell(row.name)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("schedule could not be fired, trying on", extra=facts)
    return 0


@transaction.atomic
def _fire(row: ScheduledJob, epoch: int, now: datetime) -> int:
    assert row.next_at is not None
    zone = job_schedules.zone_of(row.time_zone)
    plan = misfires.plan(times(row), due=row.next_at, now=now, zone=zone, misfire=row.misfire)
    if not _advance(row, plan, epoch):
        return 0
    facts = {"schedule": row.name, "topic": row.topic, "due": row.next_at.isoformat()}
    if plan.has_skipped:
        logger.warning("missed runs skipped", extra=facts | {"misfire": row.misfire})
    added = [job for _ in plan.runs if (job := manager.add_job(row.topic, row.properties, title=row.title))]
    if added:
        ScheduledJob.objects.filter(name=row.name).update(last_job=added[-1].id)
        logger.info("schedule fired", extra=facts | {"jobs": len(added), "job": added[-1].id})
    _tell(row.name)
    return len(added)


def _advance(row: ScheduledJob, plan: misfires.Plan, epoch: int) -> bool:
    """Move a scheduled job past what is fired now; False if somebody else did, or changed it since it was read."""
    if not plan.left:
        deleted, _ = _as_read(row, epoch).delete()
        return bool(deleted)
    fired = {"last_due_at": plan.runs[-1], "fired_count": F("fired_count") + len(plan.runs)} if plan.runs else {}
    moved = _as_read(row, epoch).update(
        schedules=[schedule.to_json() for schedule in plan.left],
        next_at=plan.next_at,
        epoch=epoch,
        version=F("version") + 1,
        **fired,
    )
    return bool(moved)


def _waiting() -> QuerySet[ScheduledJob]:
    return ScheduledJob.objects.filter(next_at__isnull=False, suspended_at=None)


def _as_read(row: ScheduledJob, epoch: int) -> QuerySet[ScheduledJob]:
    return _waiting().filter(name=row.name, next_at=row.next_at, version=row.version, epoch__lte=epoch)


# --- Shared -------------------------------------------------------------------------------------------------------


def _checked(
    topic: str, properties: Mapping[str, Any] | None, given: Iterable[Schedule], time_zone: str, misfire: str
) -> dict[str, Any]:
    """Return the fields of a scheduled job that can be kept, its name among them."""
    if misfire not in ScheduledJob.Misfire.values:
        raise exceptions.ScheduleInvalid(
            f"{misfire!r} is no misfire policy: use one of {', '.join(ScheduledJob.Misfire.values)}."
        )
    zone, when = job_schedules.zone_of(time_zone), job_schedules.checked(given)
    # As the database returns them: names of a nested value are texts there.
    kept = json.loads(json.dumps(job_properties.checked(properties)))
    name = job_schedules.name(topic=topics.validate(topic), properties=kept, schedules=when, zone=zone.key)
    return {
        "name": name,
        "topic": topic,
        "properties": kept,
        "schedules": [schedule.to_json() for schedule in when],
        "time_zone": zone.key,
        "misfire": misfire,
    }


def _create(fields: dict[str, Any], *, suspended: bool, by: str) -> ScheduledJob:
    now = _database_now()
    row = ScheduledJob(**fields, application=identity.sling_id(), created_by=by)
    job_schedules.require_ahead(times(row), now)
    if suspended:
        row.suspended_by, row.suspended_at = by, now
    else:
        row.next_at = job_schedules.first_run(times(row), now, job_schedules.zone_of(row.time_zone))
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        # Another process was faster with the same one.
        return get(row.name)
    audit.say("SCHEDULED OK", schedule=row.name, topic=row.topic)
    _tell(row.name)
    logger.info("job scheduled", extra={"schedule": row.name, "topic": row.topic, "by": by})
    return row


def _locked(name: str) -> ScheduledJob:
    row = ScheduledJob.objects.select_for_update().filter(name=name).first()
    if row is None:
        raise _missing(name)
    return row


def _save(row: ScheduledJob, *fields: str) -> None:
    """Write a locked row: a leader that read it before fires nothing by what it read."""
    row.version += 1
    row.save(update_fields=["version", *fields])
    _tell(row.name)


def _tell(name: str) -> None:
    schedules_changed.send(sender=ScheduledJob, name=name)
    wakeup.notify(WAKEUP)


def _missing(name: str) -> exceptions.ScheduleMissing:
    return exceptions.ScheduleMissing(
        f"There is no scheduled job {name}. It may have been removed, or had its last run."
    )


def _database_now() -> datetime:
    """Return the time by the database's clock. SQLite's is that of this machine."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT STATEMENT_TIMESTAMP()")
        now: datetime = cursor.fetchone()[0]
        return now
