"""What happened to jobs, counted: one row per minute, instance, queue and topic, written with the outcomes themselves.

Counts are added in the transaction that makes them true, so they are neither lost nor ahead. The minute is the
database's. Everything that is shown or measured is a sum of these rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from django.db import connection

from topology import identity

# Rows per statement; SQLite takes 32,766 parameters.
_ROWS = 1_000
_COUNTERS = ("started", "finished", "failed", "cancelled", "waiting_ms", "processing_ms")
# In SQLite a time is text, and this is how Django writes one without a fraction.
_THIS_MINUTE = {
    "postgresql": "date_trunc('minute', statement_timestamp())",
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:00', 'now')",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be added for the jobs of one queue and topic.

    `waiting_ms` is the sum over the started ones, `processing_ms` over the finished (that is, successful) ones.
    """

    queue: str
    topic: str
    started: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting_ms: int = 0
    processing_ms: int = 0


def count(entries: Iterable[Entry]) -> None:
    """Add to this minute of this instance, in the caller's transaction.

    The rows stay locked until that transaction ends, so this is best said last. They are locked in the order of their
    keys: writers wait for each other and never in a circle.
    """
    rows = _summed(entries)
    instance = identity.sling_id()
    minute = _THIS_MINUTE[connection.vendor]
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        values = ",".join([f"({minute},%s,%s,%s,%s,%s,%s,%s,%s,%s)"] * len(part))
        parameters = [value for row in part for value in (instance, *_values(row))]
        with connection.cursor() as cursor:
            cursor.execute(_INSERT + values + _ADD, parameters)


_values = attrgetter("queue", "topic", *_COUNTERS)
_INSERT = f"INSERT INTO offloading_tally (minute, instance, queue, topic, {', '.join(_COUNTERS)}) VALUES "
_ADD = " ON CONFLICT (minute, instance, queue, topic) DO UPDATE SET " + ", ".join(
    f"{name} = offloading_tally.{name} + excluded.{name}" for name in _COUNTERS
)


def _summed(entries: Iterable[Entry]) -> list[Entry]:
    """Return one entry per queue and topic, in the order of these: a statement may touch each row but once."""
    sums: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = (entry.queue, entry.topic)
        sums[key] = _sum(sums[key], entry) if key in sums else entry
    return [sums[key] for key in sorted(sums)]


def _sum(one: Entry, other: Entry) -> Entry:
    return Entry(one.queue, one.topic, *(getattr(one, name) + getattr(other, name) for name in _COUNTERS))
