"""What happened to jobs, counted: one row per minute, instance, queue and topic, written with the outcomes themselves.

Counts are added in the transaction that makes them true, so they are neither lost nor ahead. The minute is the
database's. What is shown or measured is a sum of these rows since the last reset; only what waits and what runs now
is counted from the jobs themselves. The values are those of Sling's `org.apache.sling.event.jobs.Statistics`.
"""

import dataclasses
import functools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Now

from offloading.jobs import depths
from offloading.jobs.depths import Depth
from offloading.models import StatisticsReset, Tally
from topology import identity

logger = logging.getLogger(__name__)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# The longest time that `throughput` can look back; for so long every minute has its own rows.
MINUTES_KEPT = 24 * 60
_HOURS_KEPT = timedelta(days=35)
# Rows per statement; SQLite takes 32,766 parameters.
_ROWS = 1_000
_COUNTERS = ("started", "finished", "failed", "cancelled", "waiting_ms", "processing_ms")
# In SQLite a time is text, and this is how Django writes one without a fraction.
_THIS_MINUTE = {
    "postgresql": "date_trunc('minute', statement_timestamp())",
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:00', 'now')",
}


# --- Counting -----------------------------------------------------------------------------------------------------


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


def by_topic(rows: Iterable[tuple[str, str, float]]) -> list[tuple[str, str, int, int]]:
    """Return (queue, topic, how many, milliseconds in all) for rows of (queue, topic, seconds): cheap for many rows."""
    sums: dict[tuple[str, str], list[float]] = {}
    for queue, topic, seconds in rows:
        sum_ = sums.setdefault((queue, topic), [0, 0.0])
        sum_[0] += 1
        sum_[1] += seconds
    return [(queue, topic, int(number), round(seconds * 1000)) for (queue, topic), (number, seconds) in sums.items()]


def count(entries: Iterable[Entry]) -> None:
    """Add to this minute of this instance, in the caller's transaction.

    The rows stay locked until that transaction ends, so this is best said last. They are locked in the order of their
    keys: writers wait for each other and never in a circle.
    """
    instance = identity.sling_id()
    rows = [(instance, *_values(entry)) for entry in _summed(entries)]
    _add(rows, minute=_THIS_MINUTE[connection.vendor])


def count_started(rows: str) -> str:
    """Return the INSERT, for a WITH of PostgreSQL, that counts a job as started for each of `rows`.

    They have the columns queue, topic and waited, in seconds; the statement's one parameter is the instance.
    """
    return (
        f"{_INSERT} SELECT {_THIS_MINUTE['postgresql']}, %s, queue, topic, COUNT(*), 0, 0, 0, "
        f"ROUND(SUM(GREATEST(waited, 0)) * 1000)::bigint, 0 FROM {rows} "
        f"GROUP BY queue, topic ORDER BY queue, topic {_ON_CONFLICT}"
    )


def _add(rows: Sequence[tuple[Any, ...]], *, minute: str) -> None:
    """Add rows of (instance, queue, topic, counters), in the order of their keys, to the minute of that expression.

    With the expression "%s", each row begins with its minute.
    """
    place = f"({minute},%s,%s,%s,%s,%s,%s,%s,%s,%s)"
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        with connection.cursor() as cursor:
            cursor.execute(
                f"{_INSERT} VALUES {','.join([place] * len(part))} {_ON_CONFLICT}",
                [value for row in part for value in row],
            )


_values = attrgetter("queue", "topic", *_COUNTERS)
_INSERT = f"INSERT INTO offloading_tally (minute, instance, queue, topic, {', '.join(_COUNTERS)})"
_ON_CONFLICT = "ON CONFLICT (minute, instance, queue, topic) DO UPDATE SET " + ", ".join(
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


# --- Reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of jobs since the last reset. Each attempt that failed counts, so a job may count several times.

    `last_activated_at` and `last_finished_at` are exact to the minute, and None while there was nothing.
    """

    name: str
    started: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting_ms: int = 0
    processing_ms: int = 0
    last_activated_at: datetime | None = None
    last_finished_at: datetime | None = None

    @property
    def processed(self) -> int:
        return self.finished + self.failed + self.cancelled

    @property
    def average_waiting_ms(self) -> int:
        """How long those that started had waited."""
        return self.waiting_ms // self.started if self.started else 0

    @property
    def average_processing_ms(self) -> int:
        """How long the successful ones took."""
        return self.processing_ms // self.finished if self.finished else 0

    def as_json(self) -> dict[str, Any]:
        """Return the values under Sling's names; times in milliseconds, -1 = never."""
        return {
            "name": self.name,
            "numberOfFinishedJobs": self.finished,
            "numberOfFailedJobs": self.failed,
            "numberOfCancelledJobs": self.cancelled,
            "numberOfProcessedJobs": self.processed,
            "lastActivatedJobTime": _milliseconds(self.last_activated_at),
            "lastFinishedJobTime": _milliseconds(self.last_finished_at),
            "averageWaitingTime": self.average_waiting_ms,
            "averageProcessingTime": self.average_processing_ms,
        }


@dataclass(frozen=True, slots=True)
class Statistics(Counts):
    """The same with what waits and runs now, counted from the jobs. `start_time` is None while there was nothing."""

    start_time: datetime | None = None
    active: int = 0
    queued: int = 0

    @property
    def total(self) -> int:
        return self.active + self.queued

    def as_json(self) -> dict[str, Any]:
        return {
            **Counts.as_json(self),
            "startTime": _milliseconds(self.start_time),
            "numberOfJobs": self.total,
            "numberOfActiveJobs": self.active,
            "numberOfQueuedJobs": self.queued,
        }


def of_everything(*, instance: str = "") -> Statistics:
    """Return the statistics of the whole cluster, or of one instance."""
    reset_at = _resets().get("")
    tallies = _of(instance).filter(_since(reset_at))
    return _statistics("", tallies.aggregate(**_SUMS), reset_at, depths.read(instance))


def of_queue(name: str, *, instance: str = "") -> Statistics:
    """Return the statistics of one queue; all zero for one in which nothing ever was."""
    resets = _resets()
    reset_at = resets.get(name) or resets.get("")
    tallies = _of(instance).filter(_since(reset_at), queue=name)
    here = [depth for depth in depths.read(instance) if depth.queue == name]
    return _statistics(name, tallies.aggregate(**_SUMS), reset_at, here)


def of_queues(*, instance: str = "") -> list[Statistics]:
    """Return the statistics of each queue in which something happened, waits or runs; by name."""
    resets = _resets()
    tallies = _of(instance).filter(_since(resets.get("")))
    for queue, reset_at in resets.items():
        if queue:
            tallies = tallies.exclude(~_since(reset_at), queue=queue)
    sums = {row["queue"]: row for row in tallies.order_by().values("queue").annotate(**_SUMS)}
    here = _by(depths.read(instance), lambda depth: depth.queue)
    return [
        _statistics(queue, sums.get(queue, {}), resets.get(queue) or resets.get(""), here.get(queue, []))
        for queue in sorted({*sums, *here})
    ]


def of_instances() -> dict[str, Statistics]:
    """Return the statistics of each instance that did something or has jobs, by sling id; "" has those of none."""
    reset_at = _resets().get("")
    rows = Tally.objects.filter(_since(reset_at)).order_by().values("instance").annotate(**_SUMS)
    sums = {row["instance"]: row for row in rows}
    here = _by(depths.read(), lambda depth: depth.target)
    return {
        sling_id: _statistics(sling_id, sums.get(sling_id, {}), reset_at, here.get(sling_id, []))
        for sling_id in sorted({*sums, *here})
    }


def of_topics(*, instance: str = "") -> list[Counts]:
    """Return what became of the jobs of each topic since the last reset of everything; by name."""
    rows = _of(instance).filter(_since(_resets().get(""))).values("topic").annotate(**_SUMS).order_by("topic")
    return [_counts(row["topic"], row) for row in rows]


def throughput(queue: str = "", minutes: int = 60, *, instance: str = "") -> list[int]:
    """Return how many jobs were processed in each of the last minutes, the oldest first and the running one last.

    Processed is finished, failed or cancelled; queue "" is all of them. Raises ValueError for a time that is not kept.
    """
    tallies = _of(instance).filter(queue=queue) if queue else _of(instance)
    return _throughputs(tallies, minutes, by=None).get("", [0] * minutes)


def throughputs(minutes: int = 60, *, by: str = "queue", instance: str = "") -> dict[str, list[int]]:
    """Return the same for each "queue", "topic" or "instance" in which something was processed in that time."""
    if by not in ("queue", "topic", "instance"):
        raise ValueError(f"Throughput is counted by queue, topic or instance, not by {by!r}")
    return _throughputs(_of(instance), minutes, by=by)


def _throughputs(tallies: QuerySet[Tally], minutes: int, *, by: str | None) -> dict[str, list[int]]:
    if not 1 <= minutes <= MINUTES_KEPT:
        raise ValueError(f"Throughput is known for the last 1 to {MINUTES_KEPT} minutes, not for {minutes}")
    first = _this_minute() - (minutes - 1) * MINUTE
    rows = tallies.filter(minute__gte=first).order_by().values_list("minute", *([by] if by else []))
    series: dict[str, list[int]] = defaultdict(lambda: [0] * minutes)
    for minute, *key, processed in rows.annotate(processed=Sum(F("finished") + F("failed") + F("cancelled"))):
        place = (minute - first) // MINUTE
        # A minute that began since we looked is for the next time.
        if processed and place < minutes:
            series[key[0] if key else ""][place] += processed
    return dict(series)


_SUMS: Mapping[str, Any] = {
    **{f"sum_{name}": Sum(name) for name in _COUNTERS},
    "last_activated_at": Max("minute", filter=Q(started__gt=0)),
    "last_finished_at": Max("minute", filter=Q(finished__gt=0)),
    "first": Min("minute"),
}


def _counts(name: str, row: Mapping[str, Any]) -> Counts:
    values: dict[str, Any] = {counter: int(row.get(f"sum_{counter}") or 0) for counter in _COUNTERS}
    values |= {key: row.get(key) for key in ("last_activated_at", "last_finished_at")}
    return Counts(name, **values)


def _statistics(name: str, row: Mapping[str, Any], reset_at: datetime | None, here: Sequence[Depth]) -> Statistics:
    counts = _counts(name, row)
    activated = [when for when in (counts.last_activated_at, *(depth.started_at for depth in here)) if when]
    # The jobs that run know better when the last one started, unless the statistics began after that.
    since = [when for when in activated if reset_at is None or when > reset_at - MINUTE]
    known = dataclasses.asdict(counts) | {"last_activated_at": max(since, default=None)}
    return Statistics(
        **known,
        start_time=reset_at or row.get("first"),
        active=sum(depth.active for depth in here),
        queued=sum(depth.ready + depth.delayed for depth in here),
    )


def _of(instance: str) -> QuerySet[Tally]:
    return Tally.objects.filter(instance=instance) if instance else Tally.objects.all()


def _milliseconds(when: datetime | None) -> int:
    return round(when.timestamp() * 1000) if when else -1


def _by(found: Iterable[Depth], key: Callable[[Depth], str]) -> dict[str, list[Depth]]:
    groups: dict[str, list[Depth]] = defaultdict(list)
    for depth in found:
        groups[key(depth)].append(depth)
    return groups


# --- Beginning anew -----------------------------------------------------------------------------------------------
# What was counted before a reset in its own minute is set back by a minute, to the very instant of the reset in the
# minute before: so the statistics begin at zero at once, and later resets in the same minute keep their order.


def reset(queue: str = "", *, by: str) -> None:
    """Let the statistics of a queue begin anew, or of "" everything: all queues and topics. Nothing is deleted."""
    with transaction.atomic():
        made, _ = StatisticsReset.objects.update_or_create(
            queue=queue, defaults={"reset_at": Now(), "reset_by": by[:150]}
        )
        made.refresh_from_db()
        if not queue:
            StatisticsReset.objects.exclude(queue="").delete()
        running = Tally.objects.filter(minute=made.reset_at.replace(second=0, microsecond=0))
        _move(running.filter(queue=queue) if queue else running, lambda minute: made.reset_at - MINUTE)
    logger.info("statistics reset", extra={"queue": queue or "all", "by": by})


def compact(*, limit: int = 5_000) -> int:
    """Put minutes of which each has rows together to hours after a day, and to days after 35 of them.

    Returns how many rows, of at most `limit` at a time, were put together. No sum changes: an hour or day in which
    statistics were reset stays as it is. Two that do it at once share the work.
    """
    minute = _this_minute()
    resets = [reset_at - MINUTE for reset_at in _resets().values()]
    for size, kept in ((DAY, _HOURS_KEPT), (HOUR, timedelta(minutes=MINUTES_KEPT) + HOUR)):
        whole = _floor(minute - kept, size)
        kept_apart = Q()
        for begin in {_floor(when, size) for when in resets}:
            kept_apart |= Q(minute__gte=begin, minute__lt=begin + size)
        loose = Tally.objects.filter(~kept_apart, minute__lt=whole).extra(where=[_INSIDE[connection.vendor][size]])
        ids = list(loose.order_by("minute").values_list("pk", flat=True)[:limit])
        if ids:
            with transaction.atomic():
                return _move(Tally.objects.filter(pk__in=ids), functools.partial(_floor, size=size))
    return 0


_INSIDE = {
    "postgresql": {
        HOUR: "date_trunc('hour', minute, 'UTC') <> minute",
        DAY: "date_trunc('day', minute, 'UTC') <> minute",
    },
    "sqlite": {HOUR: "minute NOT LIKE '%%:00:00'", DAY: "minute NOT LIKE '%% 00:00:00'"},
}


def _move(tallies: QuerySet[Tally], to: Callable[[datetime], datetime]) -> int:
    """Put rows to another time each, where they are added to what is there; returns how many."""
    found = list(tallies.select_for_update().order_by("minute", "instance", "queue", "topic"))
    sums: dict[tuple[datetime, str, str, str], list[int]] = defaultdict(lambda: [0] * len(_COUNTERS))
    for tally in found:
        counters = sums[(to(tally.minute), tally.instance, tally.queue, tally.topic)]
        for place, name in enumerate(_COUNTERS):
            counters[place] += getattr(tally, name)
    Tally.objects.filter(pk__in=[tally.pk for tally in found]).delete()
    moved = [
        (connection.ops.adapt_datetimefield_value(key[0]), *key[1:], *counters)
        for key, counters in sorted(sums.items())
    ]
    _add(moved, minute="%s")
    return len(found)


def _this_minute() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + _THIS_MINUTE[connection.vendor], [])
        found = depths.moment(cursor.fetchone()[0])
    assert found is not None
    return found


def _floor(when: datetime, size: timedelta) -> datetime:
    return when - (when - datetime(2000, 1, 1, tzinfo=UTC)) % size


def _resets() -> dict[str, datetime]:
    return dict(StatisticsReset.objects.values_list("queue", "reset_at"))


def _since(reset_at: datetime | None) -> Q:
    return Q(minute__gt=reset_at - MINUTE) if reset_at else Q()
