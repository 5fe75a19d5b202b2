"""When a scheduled job runs: the seven types of Sling, their checks, the times they name, and how they are said. Pure.

Times are counted in the schedule's own time zone. A time that the clock leaves out in spring is the first one after the
gap; a time that comes twice in autumn is its first; what runs every hour goes by the time that passes. Which of the
missed runs are caught up is said in `misfires`.
"""

import hashlib
import json
import re
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from offloading import exceptions
from offloading.jobs import cron

MIN_AHEAD_SECONDS = 2
MAX_SCHEDULES = 50  # in one scheduled job
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_DAY = timedelta(days=1)
_ONE_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


class Type(StrEnum):
    """What a schedule repeats with."""

    HOURLY = "HOURLY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    YEARLY = "YEARLY"
    DATE = "DATE"
    CRON = "CRON"


FIELDS: dict[Type, tuple[str, ...]] = {
    Type.HOURLY: ("minute",),
    Type.DAILY: ("hour", "minute"),
    Type.WEEKLY: ("day", "hour", "minute"),
    Type.MONTHLY: ("day", "hour", "minute"),
    Type.YEARLY: ("month", "day", "hour", "minute"),
    Type.DATE: ("at",),
    Type.CRON: ("expression",),
}
# The days of a month end with 28, so that every month has them.
_RANGES = {"minute": (0, 59), "hour": (0, 23), "day": (1, 28), "month": (1, 12)}
_WEEKDAY_RANGE = (1, 7)


@dataclass(frozen=True)
class Schedule:
    """One schedule; what does not belong to its type is None. Raises ScheduleInvalid unless every field fits.

    `day` is that of the week (1 = Sunday to 7 = Saturday) for WEEKLY, and that of the month otherwise.
    """

    type: Type
    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    month: int | None = None
    at: datetime | None = None
    expression: str | None = None

    def __post_init__(self) -> None:
        for field in ("minute", "hour", "day", "month", "at", "expression"):
            value, is_wanted = getattr(self, field), field in FIELDS[self.type]
            if is_wanted != (value is not None):
                wanted = " and ".join(FIELDS[self.type])
                raise exceptions.ScheduleInvalid(f"A {self.type} schedule has {wanted}, but {field} is {value!r}.")
            if is_wanted and field in _RANGES:
                _require_range(self.type, field, value)
        if self.at is not None:
            object.__setattr__(self, "at", _instant(self.at))
        if self.expression is not None:
            object.__setattr__(self, "expression", _expression(self.expression).text)

    def to_json(self) -> dict[str, Any]:
        """Return the object that is stored: "type" and the fields of that type, `at` as ISO 8601 in UTC."""
        fields = {field: getattr(self, field) for field in FIELDS[self.type]}
        return {"type": str(self.type)} | fields | ({"at": self.at.isoformat()} if self.at else {})


def hourly(minute: int) -> Schedule:
    return Schedule(Type.HOURLY, minute=minute)


def daily(hour: int, minute: int) -> Schedule:
    return Schedule(Type.DAILY, hour=hour, minute=minute)


def weekly(day: int, hour: int, minute: int) -> Schedule:
    """`day`: 1 = Sunday to 7 = Saturday."""
    return Schedule(Type.WEEKLY, day=day, hour=hour, minute=minute)


def monthly(day: int, hour: int, minute: int) -> Schedule:
    """`day`: 1 to 28."""
    return Schedule(Type.MONTHLY, day=day, hour=hour, minute=minute)


def yearly(month: int, day: int, hour: int, minute: int) -> Schedule:
    """`month`: 1 = January to 12 = December; `day`: 1 to 28."""
    return Schedule(Type.YEARLY, month=month, day=day, hour=hour, minute=minute)


def at(when: datetime) -> Schedule:
    """Once, at that time; it needs a time zone."""
    return Schedule(Type.DATE, at=when)


def by_cron(expression: str) -> Schedule:
    return Schedule(Type.CRON, expression=expression)


def from_json(value: object) -> Schedule:
    """Read what `to_json` wrote. Raises ScheduleInvalid for anything else."""
    if not isinstance(value, Mapping) or value.get("type") not in tuple(FIELDS):
        raise exceptions.ScheduleInvalid(f"A schedule is an object with a type of {', '.join(FIELDS)}, not {value!r}.")
    fields = {name: field for name, field in value.items() if name != "type"}
    wanted = FIELDS[Type(value["type"])]
    if fields.keys() != set(wanted):
        raise exceptions.ScheduleInvalid(
            f"A {value['type']} schedule has {' and '.join(wanted)}, not {sorted(fields)}."
        )
    if "at" in fields:
        fields["at"] = _parse_instant(fields["at"])
    return Schedule(Type(value["type"]), **fields)


def all_from_json(values: object) -> tuple[Schedule, ...]:
    """Read a stored list of schedules."""
    if not isinstance(values, list):
        raise exceptions.ScheduleInvalid(f"The schedules are a list, not {values!r}.")
    return tuple(from_json(value) for value in values)


def checked(schedules: Iterable[Schedule]) -> tuple[Schedule, ...]:
    """Return the schedules without repetitions. Raises ScheduleInvalid if there are none, or too many."""
    found = tuple(dict.fromkeys(schedules))
    if not 1 <= len(found) <= MAX_SCHEDULES:
        raise exceptions.ScheduleInvalid(
            f"A scheduled job has 1 to {MAX_SCHEDULES} schedules, but {len(found)} were given."
        )
    return found


def require_ahead(schedules: Iterable[Schedule], now: datetime) -> None:
    """Raise ScheduleInvalid for a date that is not far enough ahead."""
    for schedule in schedules:
        if schedule.at is not None and schedule.at - now <= timedelta(seconds=MIN_AHEAD_SECONDS):
            raise exceptions.ScheduleInvalid(
                f"The date {schedule.at:%Y-%m-%d %H:%M:%S} UTC must be more than {MIN_AHEAD_SECONDS} seconds ahead; "
                f"now it is {now:%Y-%m-%d %H:%M:%S} UTC."
            )


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of that name. Raises ScheduleInvalid if this machine knows none."""
    try:
        if _ONE_ZONE_NAME.fullmatch(name):
            return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise exceptions.ScheduleInvalid(
        f"There is no time zone {name!r} here. Use a name such as 'UTC' or 'Europe/Berlin'."
    )


# --- The times ----------------------------------------------------------------------------------------------------


def next_run(schedule: Schedule, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first time of `schedule` that is later than `after`, in UTC; None if there is none any more."""
    return next(_runs(schedule, after, zone), None)


def first_run(schedules: Iterable[Schedule], after: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the earliest time of any of `schedules` that is later than `after`, in UTC; None if there is none."""
    found = (next_run(schedule, after, zone) for schedule in schedules)
    return min((run for run in found if run is not None), default=None)


def next_runs(schedules: Iterable[Schedule], after: datetime, zone: ZoneInfo, count: int) -> tuple[datetime, ...]:
    """Return up to `count` times later than `after`, in UTC, in their order; one that two schedules name is once."""
    given = tuple(schedules)
    found: list[datetime] = []
    while len(found) < count and (run := first_run(given, found[-1] if found else after, zone)):
        found.append(run)
    return tuple(found)


def _runs(schedule: Schedule, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    match schedule.type:
        case Type.DATE:
            assert schedule.at is not None
            runs: Iterable[datetime] = (schedule.at,)
        case Type.CRON:
            assert schedule.expression is not None
            runs = cron.ticks(cron.parse(schedule.expression), after, zone)
        case Type.HOURLY:
            runs = _hours(schedule, after, zone)
        case _:
            assert schedule.hour is not None and schedule.minute is not None
            clock = time(schedule.hour, schedule.minute)
            days = _days(schedule, after.astimezone(zone).date())
            runs = (_on_the_wall(datetime.combine(day, clock), zone) for day in days)
    return (run for run in runs if run > after)


def _hours(schedule: Schedule, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the times at that minute, one each hour that passes, whatever the clock on the wall is set to."""
    assert schedule.minute is not None
    run = after.astimezone(UTC).replace(second=0, microsecond=0)
    while True:
        # More than once only where the clocks change by less than an hour.
        run += timedelta(minutes=(schedule.minute - run.astimezone(zone).minute) % 60 or 60)
        if run.astimezone(zone).minute == schedule.minute:
            yield run


def _days(schedule: Schedule, first: date) -> Iterator[date]:
    """Yield the days of a schedule from `first` on."""
    if schedule.type == Type.YEARLY:
        assert schedule.month is not None and schedule.day is not None
        years = range(first.year, date.max.year)
        yield from (date(year, schedule.month, schedule.day) for year in years)
    if schedule.type == Type.MONTHLY:
        assert schedule.day is not None
        months = range(first.year * 12 + first.month - 1, date.max.year * 12)
        yield from (date(month // 12, month % 12 + 1, schedule.day) for month in months)
    step = _DAY
    if schedule.type == Type.WEEKLY:
        assert schedule.day is not None
        first += (schedule.day - 1 - first.isoweekday()) % 7 * _DAY
        step = 7 * _DAY
    while True:
        yield first
        first += step


def _on_the_wall(local: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock of `zone` first shows `local`, or what comes next if it never does."""
    while True:
        instant = local.replace(tzinfo=zone).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == local:
            return instant
        local += timedelta(minutes=1)


# --- Name and words -----------------------------------------------------------------------------------------------


def name(*, topic: str, properties: Mapping[str, Any], schedules: Iterable[Schedule], zone: str) -> str:
    """Return the name of a scheduled job: a digest of what it does and when, whatever the order it was given in.

    The same again is the same name, and no two that differ share one (SHA-256, 64 characters).
    """
    when = sorted(json.dumps(schedule.to_json(), sort_keys=True) for schedule in set(schedules))
    facts = json.dumps([topic, properties, when, zone], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def describe_all(schedules: Iterable[Schedule], zone: ZoneInfo) -> str:
    """Say several schedules in words: "every day at 08:30 and every Monday at 10:00"."""
    words = [describe(schedule, zone) for schedule in schedules]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def describe(schedule: Schedule, zone: ZoneInfo) -> str:
    """Say a schedule in words: "every Monday at 08:30"."""
    clock = f"{schedule.hour or 0:02d}:{schedule.minute or 0:02d}"
    match schedule.type:
        case Type.HOURLY:
            return f"every hour at minute {schedule.minute}"
        case Type.DAILY:
            return f"every day at {clock}"
        case Type.WEEKLY:
            return f"every {WEEKDAYS[(schedule.day or 1) - 1]} at {clock}"
        case Type.MONTHLY:
            return f"every month on day {schedule.day} at {clock}"
        case Type.YEARLY:
            return f"every year on {schedule.day} {MONTHS[(schedule.month or 1) - 1]} at {clock}"
        case Type.DATE:
            assert schedule.at is not None
            return f"once on {schedule.at.astimezone(zone):%-d %B %Y at %H:%M:%S}".removesuffix(":00")
    assert schedule.expression is not None
    return f"{cron.parse(schedule.expression).explain()} (cron {schedule.expression})"


# --- Checks -------------------------------------------------------------------------------------------------------


def _require_range(kind: Type, field: str, value: object) -> None:
    low, high = _WEEKDAY_RANGE if (kind, field) == (Type.WEEKLY, "day") else _RANGES[field]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        hint = ", 1 = Sunday" if (kind, field) == (Type.WEEKLY, "day") else ""
        raise exceptions.ScheduleInvalid(f"The {field} of a {kind} schedule is {low} to {high}{hint}, not {value!r}.")


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise exceptions.ScheduleInvalid(f"The date of a schedule is a time with a time zone, not {value!r}.")
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise exceptions.ScheduleInvalid(f"The date of a schedule is of {_FIRST_YEAR} to {_LAST_YEAR}, not {value!r}.")
    return value.astimezone(UTC).replace(microsecond=0)


def _parse_instant(value: object) -> datetime:
    try:
        return datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise exceptions.ScheduleInvalid(f"The date of a schedule is in ISO 8601, not {value!r}.") from error


def _expression(value: object) -> cron.Expression:
    if not isinstance(value, str):
        raise exceptions.ScheduleInvalid(f"A cron expression is a text, not {value!r}.")
    return cron.parse(value)
