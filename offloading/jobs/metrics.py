"""What monitoring reads: Sling's gauges under their own names, and the families of the Prometheus page.

Both are read from the store when they are asked for, for the whole cluster: so every instance gives the same answer,
and one of them is enough to ask. Labels are queue and topic, never the id of a job.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Sum
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from offloading.jobs import depths, pauses, statistics
from offloading.jobs.statistics import Statistics
from offloading.models import ScheduledJob, Tally
from topology import services as topology

# --- Sling's gauges -----------------------------------------------------------------------------------------------

PREFIX = "event.jobs"
SCHEDULED = "event.scheduledJobs.count"
# A queue whose name comes out like that of another one gets a number; there are so many.
_LAST_NUMBER = 11


def inventory(*, instance: str = "") -> dict[str, int]:
    """Return all gauges of the cluster, or of one instance, by their names in Sling."""
    gauges = _gauges(PREFIX, statistics.of_everything(instance=instance))
    for name, found in named(statistics.of_queues(instance=instance)).items():
        gauges |= _gauges(f"{PREFIX}.queue.{name}", found)
    return gauges | {SCHEDULED: ScheduledJob.objects.count()}


def named(found: Iterable[Statistics]) -> dict[str, Statistics]:
    """Return the statistics of queues by the names that they have in gauges, the numbers in the order of the queues."""
    names: dict[str, Statistics] = {}
    for each in sorted(found, key=lambda each: each.name):
        plain = re.sub("[^a-zA-Z0-9]", "_", each.name).lower()
        choices = (plain, *(f"{plain}_{number}" for number in range(1, _LAST_NUMBER + 1)))
        free = next((name for name in choices if name not in names), "")
        if free:
            names[free] = each
    return names


def _gauges(prefix: str, found: Statistics) -> dict[str, int]:
    return {
        f"{prefix}.finished.count": found.finished,
        f"{prefix}.cancelled.count": found.cancelled,
        f"{prefix}.failed.count": found.failed,
        f"{prefix}.queued.count": found.queued,
        f"{prefix}.processed.count": found.processed,
        f"{prefix}.active.count": found.active,
        f"{prefix}.averageWaitingTime": found.average_waiting_ms,
        f"{prefix}.averageProcessingTime": found.average_processing_ms,
    }


# --- Prometheus ---------------------------------------------------------------------------------------------------


def exposition(accept: str = "") -> tuple[bytes, str]:
    """Return the page that Prometheus reads and its content type; `accept` is the header that says what it can read."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Store())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Store(Collector):
    """Reads the store whenever somebody asks. What was counted never falls: resets are for people."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        rows = _sums()
        yield from _tallied(rows)
        yield from _present({row["queue"] for row in rows})
        yield from _paused()
        scheduled = GaugeMetricFamily("offloading_scheduled_jobs", "Jobs that are added by a schedule.")
        scheduled.add_metric([], ScheduledJob.objects.count())
        yield scheduled
        instances = GaugeMetricFamily("offloading_instances", "Instances of this cluster that are alive.")
        instances.add_metric([], topology.alive().count())
        yield instances


_COUNTERS = ("started", "finished", "failed", "cancelled", "waiting_ms", "processing_ms")


def _sums() -> Sequence[Mapping[str, Any]]:
    sums = {f"sum_{name}": Sum(name) for name in _COUNTERS}
    return list(Tally.objects.values("queue", "topic").annotate(**sums).order_by("queue", "topic"))


def _tallied(rows: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    labels = ["queue", "topic"]
    attempts = CounterMetricFamily(
        "offloading_job_attempts",
        "How attempts ended: finished, failed (and tried again) or cancelled.",
        labels=[*labels, "outcome"],
    )
    waiting = SummaryMetricFamily(
        "offloading_job_waiting_seconds", "How long jobs waited before each start.", labels=labels
    )
    processing = SummaryMetricFamily(
        "offloading_job_processing_seconds", "How long successful attempts took.", labels=labels
    )
    for row in rows:
        key = [row["queue"], row["topic"]]
        for outcome in ("finished", "failed", "cancelled"):
            attempts.add_metric([*key, outcome], row[f"sum_{outcome}"])
        waiting.add_metric(key, count_value=row["sum_started"], sum_value=row["sum_waiting_ms"] / 1000)
        processing.add_metric(key, count_value=row["sum_finished"], sum_value=row["sum_processing_ms"] / 1000)
    yield from (attempts, waiting, processing)


def _present(known: Iterable[str]) -> Iterator[Metric]:
    """What waits and runs, with a zero for each of the `known` queues without: an alarm compares with a number."""
    counts: dict[str, Counter[str]] = {queue: Counter() for queue in known}
    for depth in depths.read():
        of_queue = counts.setdefault(depth.queue, Counter())
        of_queue["ready" if depth.target else "unassigned"] += depth.ready
        of_queue["delayed"] += depth.delayed
        of_queue["active"] += depth.active
    waiting = GaugeMetricFamily(
        "offloading_jobs_waiting",
        "Jobs that wait: ready to start, delayed until a time, or unassigned for want of an instance.",
        labels=["queue", "state"],
    )
    active = GaugeMetricFamily("offloading_jobs_active", "Jobs that run now.", labels=["queue"])
    oldest = GaugeMetricFamily(
        "offloading_oldest_waiting_seconds",
        "How long the job waits that waits longest, of those next in line.",
        labels=["queue"],
    )
    for queue, of_queue in sorted(counts.items()):
        for state in ("ready", "delayed", "unassigned"):
            waiting.add_metric([queue, state], of_queue[state])
        active.add_metric([queue], of_queue["active"])
        oldest.add_metric([queue], depths.oldest_seconds(queue) if of_queue["ready"] + of_queue["unassigned"] else 0.0)
    yield from (waiting, active, oldest)


def _paused() -> Iterator[Metric]:
    active = pauses.active()
    queues = GaugeMetricFamily("offloading_queue_paused", "1 for each queue that is paused.", labels=["queue"])
    for queue in sorted(active.queues):
        queues.add_metric([queue], 1)
    topics = GaugeMetricFamily("offloading_topic_paused", "1 for each topic that is paused.", labels=["topic"])
    for topic in sorted(active.topics):
        topics.add_metric([topic], 1)
    yield from (queues, topics)
