"""Cron expressions: reading the standard form and Quartz's, and the times they name. Pure.

The standard form has five fields, or six with the seconds first; 0 and 7 are Sunday. Quartz's form has six or seven
fields, seconds first, and a `?` in one of the two for days; there 1 is Sunday and 7 is Saturday. The `?` tells the two
apart. What may stand in a field, and which days a month has, is the affair of the library cronsim.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from cronsim.explain import Expression as Explanation

from offloading import exceptions

MAX_LENGTH = 200
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FORMS = "five fields (minute hour day month weekday), six with the seconds first, or Quartz's six or seven with a '?'"
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Expression:
    """A checked expression. `fields` are the six of the standard form, seconds first."""

    text: str
    fields: tuple[str, str, str, str, str, str]
    seconds: tuple[int, ...]

    def explain(self) -> str:
        """Say it in words, as in "at 08:30 on Monday"."""
        words: str = Explanation(list(self.fields)).explain()
        return words[0].lower() + words[1:]

    def minutes(self) -> str:
        """Return the five fields without seconds, written so that cronsim follows the clock on the wall.

        It does so where neither minute nor hour begins with a star; if not, a run in an hour that is left out would be
        lost. A lone star for the hour stays: then it goes by the time that passes.
        """
        _, minute, hour, *days = self.fields
        if hour == "*":
            return " ".join((minute, hour, *days))
        return " ".join((minute.replace("*", "0-59"), hour.replace("*", "0-23"), *days))


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """Read an expression of either form. Raises ScheduleInvalid, saying what cannot be understood."""
    parts = text.upper().split()
    if not text.isascii() or len(text) > MAX_LENGTH:
        raise _invalid(text[:MAX_LENGTH], f"it has at most {MAX_LENGTH} characters, all of them plain ASCII")
    fields = _from_quartz(text, parts) if "?" in text or len(parts) == 7 else parts
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise _invalid(text, f"it has {len(parts)} fields; use {_FORMS}")
    try:
        simulation = CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, AssertionError, ValueError, IndexError) as error:
        raise _invalid(text, str(error) or "a step cannot follow that") from error
    second, minute, hour, day, month, weekday = fields
    seconds = tuple(sorted(simulation.seconds))
    return Expression(" ".join(parts), (second, minute, hour, day, month, weekday), seconds)


def ticks(expression: Expression, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the times that lie after `after`, in UTC, without end unless the expression names no more.

    A time that the clock leaves out is the first one after the gap; a time that comes twice is its first.
    """
    last = after
    # The minute of `after` may have seconds left, so it is looked at as well.
    start = after.astimezone(UTC).replace(second=0, microsecond=0) - _MINUTE
    for minute in CronSim(expression.minutes(), start.astimezone(zone)):
        for second in expression.seconds:
            tick = minute.astimezone(UTC) + timedelta(seconds=second)
            if tick > last:
                last = tick
                yield tick


def _from_quartz(text: str, parts: list[str]) -> list[str]:
    """Translate Quartz's fields into the six of the standard form."""
    if len(parts) not in (6, 7):
        raise _invalid(
            text, f"with a '?' it is Quartz's form, which has six or seven fields; this one has {len(parts)}"
        )
    if len(parts) == 7 and parts[6] != "*":
        raise _invalid(text, f"the year {parts[6]!r} is not supported; leave it out, or take a DATE for a single run")
    second, minute, hour, day, month, weekday = parts[:6]
    if [day, weekday].count("?") != 1 or "?" in "".join((second, minute, hour, month)):
        raise _invalid(text, "Quartz's form has a '?' in exactly one of its fields for days, the fourth and the sixth")
    if day == "?":
        return [second, minute, hour, "*", month, _from_quartz_weekday(text, weekday)]
    return [second, minute, hour, day, month, "*"]


def _from_quartz_weekday(text: str, field: str) -> str:
    """Number the days as the standard form does: from Sunday = 0."""
    return ",".join(_term(text, term) for term in field.split(","))


def _term(text: str, term: str) -> str:
    if term == "*":
        return term
    if term == "L":
        return "6"  # the last day of Quartz's week
    found = re.fullmatch(r"(?P<first>\w+?|\*)(-(?P<last>\w+))?(/(?P<step>\d+)|#(?P<nth>\d)|(?P<is_last>L))?", term)
    if found is None:
        raise _invalid(text, f"{term!r} is no day of the week")
    first = 0 if found["first"] == "*" else _day(text, found["first"])
    if found["nth"] or found["is_last"]:
        return f"{first}#{found['nth']}" if found["nth"] else f"{first}L"
    if not found["last"] and not found["step"]:
        return str(first)
    last = _day(text, found["last"]) if found["last"] else 6
    # FRI-MON goes over the end of the week.
    span = [day % 7 for day in range(first, (last if last >= first else last + 7) + 1)]
    step = int(found["step"] or 1)
    if not step:
        raise _invalid(text, f"{term!r} has a step of zero")
    return ",".join(str(day) for day in span[::step])


def _day(text: str, name: str) -> int:
    if name in _DAYS:
        return _DAYS.index(name)
    if name.isdigit() and 1 <= int(name) <= 7:
        return int(name) - 1
    raise _invalid(text, f"{name!r} is no day of the week; Quartz has 1 = Sunday to 7 = Saturday, or SUN to SAT")


def _invalid(text: str, reason: str) -> exceptions.ScheduleInvalid:
    return exceptions.ScheduleInvalid(f"The cron expression {text!r} cannot be used: {reason}.")
