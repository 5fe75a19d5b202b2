"""The statistics: what was done since the last reset, by queue, topic and instance, and how the last hour went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from offloading.jobs import statistics
from offloading.jobs.statistics import Counts, Statistics
from offloading.views.fragments import page_or_fragment
from topology import services as topology
from topology.snapshot import TopologyView

TEMPLATE = "offloading/statistics.html"
MINUTES = 60
ROWS_SHOWN = 200


@dataclass(frozen=True)
class Row:
    """One row of a table; `last_hour` is the number of jobs processed in each minute. Averages are seconds.

    `query` is what the list of jobs has to be asked for to show the jobs of this row.
    """

    counts: Counts
    last_hour: list[int]
    label: str
    query: str

    @property
    def average_wait(self) -> float | None:
        return self.counts.average_waiting_ms / 1000 if self.counts.started else None

    @property
    def average_time(self) -> float | None:
        return self.counts.average_processing_ms / 1000 if self.counts.finished else None


@dataclass(frozen=True)
class Table:
    """The rows of a "queue", "topic" or "instance", and how many more there are than show."""

    kind: str
    rows: list[Row]
    hidden: int = 0


@require_GET
def statistics_page(request: HttpRequest) -> HttpResponse:
    """Show the statistics of the cluster, or of the instance that the address names."""
    view = topology.current_view()
    of_instances = statistics.of_instances()
    instance = request.GET.get("instance", "")
    if instance and instance not in of_instances and view.get(instance) is None:
        raise Http404(f"No instance {instance} is known.")
    everything = Row(
        statistics.of_everything(instance=instance),
        statistics.throughput(minutes=MINUTES, instance=instance),
        _label(view, instance) if instance else "Everything",
        _query(target=instance),
    )
    tables = [
        _table("queue", statistics.of_queues(instance=instance), instance),
        _table("topic", statistics.of_topics(instance=instance), instance),
    ]
    if not instance:
        tables.append(_instances(of_instances, view))
    context = {
        "instance": instance,
        "everything": everything,
        "tables": [table for table in tables if table.rows],
        "query": _query(instance=instance),
        "crumbs": [("Jobs", reverse("offloading:job-list")), ("Statistics", "")],
    }
    return page_or_fragment(request, TEMPLATE, context)


@require_POST
def statistics_reset(request: HttpRequest) -> HttpResponse:
    """Let the statistics of the queue `queue` begin anew, or all of them."""
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may reset statistics.")
    queue = request.POST.get("queue", "")
    if queue and queue not in {each.name for each in statistics.of_queues()}:
        raise Http404(f"Queue {queue} has no statistics.")
    statistics.reset(queue, by=request.user.get_username())
    messages.success(request, f"The statistics of {queue or 'all queues and topics'} begin now.")
    return redirect("offloading:statistics")


def _table(kind: str, found: Sequence[Counts], instance: str) -> Table:
    hours = statistics.throughputs(MINUTES, by=kind, instance=instance)
    rows = [
        Row(each, hours.get(each.name, [0] * MINUTES), each.name, _query(**{kind: each.name}, target=instance))
        for each in found[:ROWS_SHOWN]
    ]
    return Table(kind, rows, len(found) - len(rows))


def _instances(found: Mapping[str, Statistics], view: TopologyView) -> Table:
    """Return who did what; the jobs that wait for an instance are of none."""
    hours = statistics.throughputs(MINUTES, by="instance")
    rows = [
        Row(each, hours.get(name, [0] * MINUTES), _label(view, name), _query(target=name))
        for name, each in found.items()
        if name
    ]
    return Table("instance", rows)


def _label(view: TopologyView, sling_id: str) -> str:
    instance = view.get(sling_id)
    return instance.label if instance else sling_id


def _query(**fields: str) -> str:
    return urlencode({name: value for name, value in fields.items() if value})
