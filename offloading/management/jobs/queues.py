"""`manage.py jobs queues`, `queue-set`, `queue-remove`, `pauses`, `pause` and `resume`."""

import argparse
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils.dateparse import parse_datetime

from offloading.jobs import configuration, overview, pauses, queues
from offloading.jobs.overview import QueueState
from offloading.management.jobs import printing
from offloading.models import Pause, QueueConfiguration, QueueType

BY = "manage.py"
_HEADINGS = ("queue", "type", "parallel", "retries", "ranking", "waiting", "running", "delayed", "", "topics")


def add(parsers: Any) -> None:
    """Add the sub-commands about queues and pauses."""
    listing = parsers.add_parser(
        "queues", help="list the queues in the order in which they are asked, with what they do"
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    _add_set(parsers)
    removing = parsers.add_parser("queue-remove", help="remove a configuration; its waiting jobs move on")
    removing.add_argument("name")
    removing.add_argument("--by", default=BY, help="who decided, for the record")
    removing.set_defaults(run=_remove)
    _add_pauses(parsers)


def _add_set(parsers: Any) -> None:
    setting = parsers.add_parser("queue-set", help="add a queue configuration, or change what is given of one")
    setting.add_argument("name", help=f"may contain {{0}}; '{queues.MAIN_QUEUE}' is the one for all other topics")
    setting.add_argument("--topics", nargs="+", help="a/b that topic, a/. one level below, a/* all below, * everything")
    setting.add_argument("--type", choices=QueueType.values)
    setting.add_argument("--max-parallel", type=float, help="jobs at once on an instance; below 1: of its processors")
    setting.add_argument("--retries", type=int, help="-1: no end")
    setting.add_argument("--retry-delay-seconds", type=float)
    setting.add_argument("--backoff-factor", type=float, help="each delay is the one before times this")
    setting.add_argument("--max-retry-delay-seconds", type=float)
    setting.add_argument("--jitter", type=float, help="0.2: each delay is up to 20 %% shorter or longer")
    setting.add_argument("--retry-on-exception", action=argparse.BooleanOptionalAction)
    setting.add_argument("--time-limit-seconds", type=float, help="0: none")
    setting.add_argument(
        "--priority", choices=QueueConfiguration.Priority.values, help="MAX is served before NORM, NORM before MIN"
    )
    setting.add_argument("--keep-jobs", action=argparse.BooleanOptionalAction, help="keep succeeded jobs in history")
    setting.add_argument("--prefer-run-on-creation-instance", action=argparse.BooleanOptionalAction)
    setting.add_argument("--ranking", type=int, help="the highest is asked first")
    setting.add_argument("--by", default=BY, help="who decided, for the record")
    setting.add_argument("--json", action="store_true", help="print the configuration as JSON")
    setting.set_defaults(run=_set)


def _add_pauses(parsers: Any) -> None:
    showing = parsers.add_parser("pauses", help="list what is paused")
    showing.add_argument("--json", action="store_true", help="print JSON")
    showing.set_defaults(run=_pauses)
    for name, about, run in (("pause", "start nothing of", _pause), ("resume", "start again what is of", _resume)):
        parser = parsers.add_parser(name, help=f"{about} a queue or a topic, in the whole cluster")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--queue")
        what.add_argument("--topic", help="a topic, or a/** for all below a")
        parser.add_argument("--by", default=BY, help="who decided, for the record")
        parser.set_defaults(run=run)
        if run is _pause:
            parser.add_argument("--reason", default="")
            parser.add_argument("--until", default="", help="as in 2030-01-31T18:00+01:00; none: until resumed")


def _list(options: dict[str, Any], out: printing.Out) -> None:
    found = overview.read()
    if options["json"]:
        printing.as_json(out, [_state_facts(each) for each in found])
    else:
        printing.as_columns(out, _HEADINGS, [_state_told(each) for each in found])


def _state_facts(state: QueueState) -> dict[str, Any]:
    return {
        "name": state.name,
        "configuration": asdict(state.settings),
        "makes_queues": state.makes_queues,
        "is_configured": state.is_configured,
        "waiting": state.waiting,
        "delayed": state.delayed,
        "running": state.active,
        "first_waits_since": state.oldest_at,
        "processed_last_hour": sum(state.throughput),
        "pause": _facts(state.pause) if state.pause else None,
    }


def _state_told(state: QueueState) -> list[object]:
    counts = ["", "", ""] if state.makes_queues else [state.waiting, state.active, state.delayed]
    settings = state.settings
    return [
        state.name,
        settings.type,
        f"{settings.max_parallel:g}",
        settings.retries,
        settings.ranking,
        *counts,
        "paused" if state.pause else "",
        " ".join(settings.topics),
    ]


def _set(options: dict[str, Any], out: printing.Out) -> None:
    given = {name: options[name] for name in _SETTABLE if options[name] is not None}
    if "topics" in given:
        given["topics"] = tuple(given["topics"])
    known = {each.name: each for each in configuration.current()}
    before = known.get(queues.legal_name(options["name"]), queues.QueueSettings(options["name"], ()))
    stored = configuration.put(replace(before, **given), by=options["by"])
    if options["json"]:
        printing.as_json(out, asdict(stored))
    else:
        out.write(f"Queue {stored.name} is configured: {' '.join(stored.topics)}.")


_SETTABLE = tuple(each.name for each in fields(queues.QueueSettings) if each.name != "name")


def _remove(options: dict[str, Any], out: printing.Out) -> None:
    configuration.remove(options["name"], by=options["by"])
    out.write(
        f"Queue {options['name']} has its default settings."
        if options["name"] == queues.MAIN_QUEUE
        else f"Queue {options['name']} is not configured any more."
    )


def _pauses(options: dict[str, Any], out: printing.Out) -> None:
    rows = pauses.active().rows
    if options["json"]:
        printing.as_json(out, [_facts(row) for row in rows])
    elif rows:
        printing.as_columns(out, ("kind", "name", "by", "until", "reason"), [tuple(_told(row)) for row in rows])
    else:
        out.write("Nothing is paused.")


def _pause(options: dict[str, Any], out: printing.Out) -> None:
    kind, name = _what(options)
    row = pauses.pause(
        kind=kind, name=name, by=options["by"], reason=options["reason"], until=_instant(options["until"])
    )
    out.write(f"{row.get_kind_display()} {row.name} is paused{f' until {row.until.isoformat()}' if row.until else ''}.")


def _resume(options: dict[str, Any], out: printing.Out) -> None:
    kind, name = _what(options)
    was_paused = pauses.resume(kind=kind, name=name, by=options["by"])
    out.write(f"{Pause.Kind(kind).label} {name} goes on." if was_paused else f"{name} was not paused.")


def _what(options: dict[str, Any]) -> tuple[str, str]:
    return (Pause.Kind.QUEUE, options["queue"]) if options["queue"] else (Pause.Kind.TOPIC, options["topic"])


def _instant(text: str) -> datetime | None:
    try:
        found = parse_datetime(text) if text else None
    except ValueError:
        found = None
    if text and found is None:
        raise CommandError(f"{text!r} is not a time. Give the end as in 2030-01-31T18:00+01:00.")
    return found


def _facts(row: Pause) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "name": row.name,
        "reason": row.reason,
        "paused_by": row.paused_by,
        "paused_at": row.paused_at,
        "until": row.until,
    }


def _told(row: Pause) -> list[str]:
    return [row.kind, row.name, row.paused_by, row.until.isoformat() if row.until else "resumed", row.reason]
