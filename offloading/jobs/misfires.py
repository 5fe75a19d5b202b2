"""What a scheduled job does when its time has come, or came while nobody could fire it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from offloading.jobs import schedules
from offloading.jobs.schedules import Schedule
from offloading.models import ScheduledJob

MAX_RUNS = 100
# A run that is later than that was missed.
GRACE = timedelta(minutes=1)


@dataclass(frozen=True)
class Plan:
    """What is to be done: `runs` are the times to add a job for, the earliest first.

    `has_skipped` says that some times were missed and stay so. `left` are the schedules without the dates that are
    over, and `next_at` is their next time; None if they have none.
    """

    runs: tuple[datetime, ...]
    has_skipped: bool
    left: tuple[Schedule, ...]
    next_at: datetime | None


def plan(
    given: Iterable[Schedule], *, due: datetime, now: datetime, zone: ZoneInfo, misfire: str, limit: int = MAX_RUNS
) -> Plan:
    """Decide what to do at `now` about everything that is due since `due`, the first of the times to look at.

    SKIP takes those of the last minute, ONCE one for all of them, and ALL each one, up to `limit`.
    """
    every = tuple(given)
    left = tuple(schedule for schedule in every if schedule.at is None or schedule.at > now)
    next_at = schedules.first_run(left, now, zone)
    if misfire == ScheduledJob.Misfire.ONCE:
        return Plan((due,), False, left, next_at)
    first: datetime | None = due
    if misfire == ScheduledJob.Misfire.SKIP and now - due > GRACE:
        first = schedules.first_run(every, now - GRACE - timedelta.resolution, zone)
    runs = _until(now, every, first, zone, limit)
    is_cut = len(runs) > limit
    return Plan(tuple(runs[:limit]), is_cut or first != due, left, next_at)


def _until(
    now: datetime, given: tuple[Schedule, ...], first: datetime | None, zone: ZoneInfo, limit: int
) -> list[datetime]:
    """Return the times from `first` to `now`; at most one more than `limit`, which tells that there are more."""
    runs: list[datetime] = []
    while first is not None and first <= now and len(runs) <= limit:
        runs.append(first)
        first = schedules.first_run(given, first, zone)
    return runs
