"""`manage.py jobs schedules`, `schedule`, `schedule-change`, `schedule-suspend`, `-resume`, `-run` and `-remove`."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, time
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from offloading import exceptions
from offloading.jobs import schedules, scheduling
from offloading.jobs.schedules import Schedule
from offloading.management.jobs import printing
from offloading.models import ScheduledJob

BY = "manage.py"
_SHORT = 12  # characters of a name in the list; enough to tell thousands apart
_HEADINGS = ("name", "topic", "runs", "zone", "next run", "last job")


def add(parsers: Any) -> None:
    """Add the sub-commands about schedules."""
    listing = parsers.add_parser("schedules", help="list the scheduled jobs, the next to run first")
    listing.add_argument("--topic", help="only those of this topic")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    _add_schedule(parsers)
    changing = parsers.add_parser("schedule-change", help="give a scheduled job other times")
    changing.add_argument("name", help="its name, or how it begins")
    _add_times(changing)
    changing.set_defaults(run=_change)
    acts: tuple[tuple[str, str, Callable[[dict[str, Any], printing.Out], None]], ...] = (
        ("suspend", "let a scheduled job rest until it is resumed", _suspend),
        ("resume", "let a suspended or stopped one run again", _resume),
        ("run", "add its job at once, besides its times", _run),
        ("remove", "remove a scheduled job; the jobs it added stay", _remove),
    )
    for verb, about, run in acts:
        parser = parsers.add_parser(f"schedule-{verb}", help=about)
        parser.add_argument("name", help="its name, or how it begins")
        parser.add_argument("--by", default=BY, help="who decided, for the record")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


def _add_schedule(parsers: Any) -> None:
    adding = parsers.add_parser("schedule", help="schedule a job; the times may be given several times")
    adding.add_argument("topic")
    _add_times(adding)
    adding.add_argument("--title", default="", help="what people see instead of the topic")
    adding.add_argument("--properties", default="{}", help="a JSON object")
    adding.add_argument("--misfire", choices=ScheduledJob.Misfire.values, default=ScheduledJob.Misfire.ONCE.value)
    adding.add_argument("--suspended", action="store_true", help="begin suspended")
    adding.set_defaults(run=_schedule)


def _add_times(parser: Any) -> None:
    parser.add_argument("--hourly", action="append", default=[], metavar="MINUTE")
    parser.add_argument("--daily", action="append", default=[], metavar="HH:MM")
    parser.add_argument("--weekly", action="append", default=[], nargs=2, metavar=("DAY", "HH:MM"))
    parser.add_argument("--monthly", action="append", default=[], nargs=2, metavar=("DAY", "HH:MM"))
    parser.add_argument("--yearly", action="append", default=[], nargs=3, metavar=("MONTH", "DAY", "HH:MM"))
    parser.add_argument("--at", action="append", default=[], metavar="TIME", help="once, as in 2030-01-31T18:00")
    parser.add_argument("--cron", action="append", default=[], metavar="EXPRESSION")
    parser.add_argument("--time-zone", default="", help="as in Europe/Berlin; none: that of the installation")
    parser.add_argument("--by", default=BY, help="who decided, for the record")
    parser.add_argument("--json", action="store_true", help="print the scheduled job as JSON")


def _list(options: dict[str, Any], out: printing.Out) -> None:
    rows = scheduling.find(options["topic"])
    if options["json"]:
        printing.as_json(out, [_facts(row) for row in rows])
    elif rows:
        printing.as_columns(out, _HEADINGS, [_told(row) for row in rows])
    else:
        out.write("Nothing is scheduled.")


def _schedule(options: dict[str, Any], out: printing.Out) -> None:
    row = scheduling.schedule_job(
        topic=options["topic"],
        schedules=_times(options, options["time_zone"] or timezone.get_default_timezone_name()),
        properties=_properties(options["properties"]),
        title=options["title"],
        time_zone=options["time_zone"],
        misfire=options["misfire"],
        suspended=options["suspended"],
        by=options["by"],
    )
    _say(options, out, row, f"is scheduled {scheduling.describe(row)}")


def _change(options: dict[str, Any], out: printing.Out) -> None:
    row = _named(options["name"])
    times = _times(options, options["time_zone"] or row.time_zone)
    row = scheduling.reschedule(name=row.name, schedules=times, by=options["by"], time_zone=options["time_zone"])
    _say(options, out, row, f"is scheduled {scheduling.describe(row)}")


def _suspend(options: dict[str, Any], out: printing.Out) -> None:
    row = scheduling.suspend(name=_named(options["name"]).name, by=options["by"])
    _say(options, out, row, "is suspended")


def _resume(options: dict[str, Any], out: printing.Out) -> None:
    row = scheduling.resume(name=_named(options["name"]).name, by=options["by"])
    _say(options, out, row, f"runs again, next at {_next(row)}")


def _run(options: dict[str, Any], out: printing.Out) -> None:
    name = _named(options["name"]).name
    job = scheduling.run_now(name=name, by=options["by"])
    _say(options, out, scheduling.get(name), f"is queued as job {job.id}" if job else "has a queue that keeps no jobs")


def _remove(options: dict[str, Any], out: printing.Out) -> None:
    row = _named(options["name"])
    scheduling.unschedule(name=row.name, by=options["by"])
    _say(options, out, row, "is not scheduled any more")


def _say(options: dict[str, Any], out: printing.Out, row: ScheduledJob, words: str) -> None:
    if options["json"]:
        printing.as_json(out, _facts(row))
    else:
        out.write(f"{row.name[:_SHORT]} ({row.title or row.topic}) {words}.")


def _named(begin: str) -> ScheduledJob:
    """Return the one scheduled job whose name begins so."""
    found = list(ScheduledJob.objects.filter(name__startswith=begin)[:2]) if begin else []
    if not found:
        raise exceptions.ScheduleMissing(f"No scheduled job has a name that begins with {begin!r}.")
    if len(found) > 1:
        raise CommandError(f"Several scheduled jobs have names that begin with {begin!r}. Give more of it.")
    return found[0]


def _times(options: dict[str, Any], time_zone: str) -> list[Schedule]:
    zone = schedules.zone_of(time_zone)
    return [
        *(schedules.hourly(_number(minute)) for minute in options["hourly"]),
        *(schedules.daily(*_clock(clock)) for clock in options["daily"]),
        *(schedules.weekly(_place(day, schedules.WEEKDAYS), *_clock(clock)) for day, clock in options["weekly"]),
        *(schedules.monthly(_number(day), *_clock(clock)) for day, clock in options["monthly"]),
        *(
            schedules.yearly(_place(month, schedules.MONTHS), _number(day), *_clock(clock))
            for month, day, clock in options["yearly"]
        ),
        *(schedules.at(_instant(when, zone)) for when in options["at"]),
        *(schedules.by_cron(expression) for expression in options["cron"]),
    ]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not a number.") from error


def _place(text: str, names: Sequence[str]) -> int:
    """Return the number of a day or a month, which may be given by the beginning of its name."""
    found = [
        number for number, name in enumerate(names, start=1) if len(text) > 2 and name.lower().startswith(text.lower())
    ]
    return found[0] if found else _number(text)


def _clock(text: str) -> tuple[int, int]:
    try:
        clock = time.fromisoformat(text.zfill(5))
    except ValueError as error:
        raise CommandError(f"{text!r} is not a time of day. Give it as in 8:30.") from error
    return clock.hour, clock.minute


def _instant(text: str, zone: Any) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"{text!r} is not a time. Give it as in 2030-01-31T18:00.")
    return found if found.tzinfo else found.replace(tzinfo=zone)


def _properties(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"The properties are not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CommandError('The properties are a JSON object, as in {"folder": "/content/dam"}.')
    return found


def _next(row: ScheduledJob) -> str:
    if row.suspended_at:
        return f"suspended by {row.suspended_by}" if row.suspended_by else "suspended"
    return row.next_at.isoformat(timespec="seconds") if row.next_at else f"none: {scheduling.problem(row)}"


def _told(row: ScheduledJob) -> tuple[object, ...]:
    words = scheduling.describe(row) or "cannot be read"
    return (row.name[:_SHORT], row.topic, words, row.time_zone, _next(row), row.last_job or "never")


def _facts(row: ScheduledJob) -> dict[str, Any]:
    return {
        "name": row.name,
        "topic": row.topic,
        "title": row.title,
        "properties": row.properties,
        "schedules": row.schedules,
        "words": scheduling.describe(row),
        "time_zone": row.time_zone,
        "misfire": row.misfire,
        "suspended_by": row.suspended_by,
        "suspended_at": row.suspended_at,
        "next_at": row.next_at,
        "last_due_at": row.last_due_at,
        "last_job": row.last_job,
        "fired_count": row.fired_count,
        "problem": scheduling.problem(row),
        "created_by": row.created_by,
        "created_at": row.created_at,
    }
