"""`manage.py jobs statistics` and `statistics-reset`."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError

from offloading.jobs import statistics
from offloading.jobs.statistics import Counts, Statistics
from offloading.management.jobs import printing

BY = "manage.py"
_HEADINGS = ("finished", "failed", "cancelled", "active", "queued", "wait ms", "time ms", "last finished")


def add(parsers: Any) -> None:
    """Add the sub-commands about statistics."""
    showing = parsers.add_parser("statistics", help="tell what was done since the last reset, and what waits and runs")
    showing.add_argument("--queue", default="", help="only this queue")
    showing.add_argument("--instance", default="", help="only what the instance with this sling id did")
    showing.add_argument("--json", action="store_true", help="print JSON, with Sling's names")
    showing.set_defaults(run=_show)
    resetting = parsers.add_parser("statistics-reset", help="let the statistics begin anew")
    resetting.add_argument("--queue", default="", help="only those of this queue; without: everything")
    resetting.add_argument("--by", default=BY, help="who decided, for the record")
    resetting.set_defaults(run=_reset)


def _show(options: dict[str, Any], out: printing.Out) -> None:
    queue, instance = options["queue"], options["instance"]
    if queue:
        found = statistics.of_queue(queue, instance=instance)
        if options["json"]:
            printing.as_json(out, found.as_json())
        else:
            _print(out, "queue", [found])
        return
    everything = statistics.of_everything(instance=instance)
    queues, topics = statistics.of_queues(instance=instance), statistics.of_topics(instance=instance)
    if options["json"]:
        value = {"queues": [each.as_json() for each in queues], "topics": [each.as_json() for each in topics]}
        printing.as_json(out, everything.as_json() | value)
        return
    _print(out, "everything", [everything])
    if queues:
        out.write()
        _print(out, "queue", queues)
    if topics:
        out.write()
        _print(out, "topic", topics)


def _print(out: printing.Out, what: str, found: Sequence[Counts]) -> None:
    printing.as_columns(out, (what, *_HEADINGS), [_row(each) for each in found])


def _row(found: Counts) -> tuple[object, ...]:
    """Return a row; a topic does not know what waits and runs."""
    last = found.last_finished_at
    return (
        found.name or "-",
        found.finished,
        found.failed,
        found.cancelled,
        *((found.active, found.queued) if isinstance(found, Statistics) else ("-", "-")),
        found.average_waiting_ms,
        found.average_processing_ms,
        f"{last:%Y-%m-%d %H:%M} UTC" if last else "-",
    )


def _reset(options: dict[str, Any], out: printing.Out) -> None:
    queue = options["queue"]
    if queue and queue not in {each.name for each in statistics.of_queues()}:
        raise CommandError(f"Queue {queue!r} has no statistics. `manage.py jobs statistics` lists those that have.")
    statistics.reset(queue, by=options["by"])
    out.write(f"The statistics of {queue or 'all queues and topics'} begin now.")
