"""Doing something to all jobs of a filter: an order that is a job itself, with progress, a log and a stop button.

The order holds the filter, not the jobs: it walks along the ids and does to each job what the manager does to one. Jobs
that are younger than the order, or finished after it was given, are none of its business; so carrying it out again
after a crash does nothing twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from offloading import exceptions
from offloading.jobs import conditions, counting, manager, placement, signals, states
from offloading.jobs.filters import DELAYED, UNASSIGNED, Filter
from offloading.jobs.placement import Placer
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState
from topology import services as topology

TOPIC = "offloading/jobs/bulk"
BATCH = 100
_READ_AHEAD = 5_000
_MAX_LOGGED = 50
# How long the one who gives the order waits for the number of jobs.
_COUNT_SECONDS = 1.0


class Act(StrEnum):
    """What can be done to many jobs."""

    RETRY = "retry"
    STOP = "stop"
    REMOVE = "remove"
    MOVE = "move"


_SOURCES: dict[Act, frozenset[JobState]] = {
    Act.RETRY: states.FINAL,
    Act.STOP: states.UNFINISHED,
    Act.REMOVE: frozenset(JobState),
    Act.MOVE: states.WAITING,
}
_DONE = {Act.RETRY: "retried", Act.STOP: "stopped", Act.REMOVE: "removed", Act.MOVE: "moved"}


@dataclass(frozen=True)
class Order:
    """What shall be done to which jobs, and who said so. `target`: where to move them, "" = wherever they fit."""

    act: Act
    filter: Filter
    by: str
    target: str = ""

    def to_properties(self) -> dict[str, Any]:
        return {"act": self.act.value, "filter": self.filter.to_json(), "by": self.by, "target": self.target}

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> "Order":
        """Read the properties of a job. Raises QueryInvalid, naming the property."""
        act, by, target = (properties.get(name, "") for name in ("act", "by", "target"))
        if act not in list(Act):
            raise exceptions.QueryInvalid(f"act: {act!r} is none of {', '.join(Act)}.")
        if not isinstance(by, str) or not by or not isinstance(target, str):
            raise exceptions.QueryInvalid("by: who gives the order must be said, and 'target' is a text.")
        return cls(Act(act), Filter.from_json(properties.get("filter", {})), by, target)


class Progress(Protocol):
    """Who is told how far an order is: the context of the job that carries it out."""

    @property
    def is_stopped(self) -> bool: ...
    def increment_progress(self, count: int = 1) -> None: ...
    def log(self, text: str, *arguments: object) -> None: ...


@dataclass
class Report:
    """What became of an order."""

    done: int = 0
    refused: int = 0
    is_stopped: bool = False
    first_refusal: str = ""
    act: Act = field(default=Act.RETRY)

    @property
    def has_failed(self) -> bool:
        """Whether there were jobs, and nothing could be done to any of them."""
        return bool(self.refused and not self.done)

    def __str__(self) -> str:
        text = f"{_jobs(self.done)} {_DONE[self.act]}"
        if self.refused:
            text += f", {self.refused:,} refused. The first: {self.first_refusal}"
        return f"Ended on request. {text}" if self.is_stopped else text


# --- Giving an order --------------------------------------------------------------------------------------------------


def retry_matching(wanted: Filter, *, by: str) -> Job:
    """Have all finished jobs of the filter run again. Returns the job that does it; raises QueryInvalid if none are."""
    return _give(Order(Act.RETRY, wanted, by))


def stop_matching(wanted: Filter, *, by: str) -> Job:
    """Have all unfinished jobs of the filter stopped. See `retry_matching`."""
    return _give(Order(Act.STOP, wanted, by))


def remove_matching(wanted: Filter, *, by: str) -> Job:
    """Have all unfinished jobs of the filter dropped and all finished ones deleted. See `retry_matching`."""
    return _give(Order(Act.REMOVE, wanted, by))


def move_matching(wanted: Filter, *, target: str, by: str) -> Job:
    """Have all waiting jobs of the filter wait at `target`, a sling id, or "" = where they are placed anew.

    See `retry_matching`; raises InstanceUnknown if the topology shows no such instance.
    """
    if target and topology.current_view().get(target) is None:
        raise exceptions.InstanceUnknown(f"The topology shows no instance {target!r}. Choose one that is alive.")
    return _give(Order(Act.MOVE, wanted, by, target))


def _give(order: Order) -> Job:
    if not order.by:
        raise exceptions.QueryInvalid("by: say who gives the order.")
    job = manager.add_job(TOPIC, order.to_properties(), title=_title(order))
    if job is None:
        raise exceptions.QueryInvalid(f"The queue of topic {TOPIC!r} drops its jobs. Change its configuration first.")
    return job


def _title(order: Order) -> str:
    found = counting.counts(order.filter, budget_seconds=_COUNT_SECONDS)
    asked = order.filter.states or frozenset(map(str, JobState))
    meant = frozenset(map(str, _SOURCES[order.act]))
    if JobState.QUEUED in meant and JobState.QUEUED not in asked:
        meant |= {UNASSIGNED, DELAYED}
    count = sum(found.by_state.get(state, 0) for state in asked & meant)
    is_least = bool(found.at_least & asked & meant)
    if not count and not is_least:
        raise exceptions.QueryInvalid(f"There is no job that could be {_DONE[order.act]}. Choose others.")
    return f"{order.act.capitalize()} {'at least ' if is_least else ''}{_jobs(count)}"


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


# --- Carrying it out --------------------------------------------------------------------------------------------------


def meant(order: Order, job_id: UUID, given_at: datetime) -> QuerySet[Job]:
    """Return the jobs that an order, given with job `job_id`, still has to look at."""
    was_finished = Q(finished_at=None) | Q(conditions.InstantComparison("finished_at", "<=", given_at))
    is_order = Q(topic=TOPIC, state__in=states.UNFINISHED)
    return (
        order.filter.matching()
        .filter(was_finished, conditions.InstantComparison("created_at", "<=", given_at), state__in=_SOURCES[order.act])
        .exclude(is_order)
        .exclude(pk=job_id)
    )


def carry_out(order: Order, *, job_id: UUID, given_at: datetime, progress: Progress) -> Report:
    """Do to each job what the order says, the oldest first, until all is done or `progress` is stopped."""
    report = Report(act=order.act)
    carrier = _Carrier(order, report, progress)
    jobs = meant(order, job_id, given_at)
    for batch in _batches(jobs):
        # Somebody may have changed them since they were read.
        carrier.carry(list(jobs.filter(pk__in=batch).order_by("pk").values_list("pk", flat=True)))
        if report.is_stopped:
            break
        progress.increment_progress(len(batch))
    if report.refused > _MAX_LOGGED:
        progress.log(f"{report.refused - _MAX_LOGGED:,} more were refused.")
    return report


def _batches(jobs: QuerySet[Job]) -> Iterator[list[UUID]]:
    """Yield the ids of jobs, each once, whatever becomes of those that were there."""
    rows = jobs.order_by("pk").values_list("pk", flat=True)
    found = list(rows[:_READ_AHEAD])
    while found:
        yield from (found[start : start + BATCH] for start in range(0, len(found), BATCH))
        found = list(rows.filter(pk__gt=found[-1])[:_READ_AHEAD])


@dataclass
class _Carrier:
    """Does to a batch what the order says, and notes how that went."""

    order: Order
    report: Report
    progress: Progress

    def carry(self, batch: list[UUID]) -> None:
        if self.order.act is Act.MOVE:
            self._move(batch)
            return
        one: dict[Act, Callable[..., object]] = {
            Act.RETRY: manager.retry_job,
            Act.STOP: manager.stop_job,
            Act.REMOVE: manager.remove_job,
        }
        for job_id in batch:
            if self._is_stopped():
                return
            try:
                one[self.order.act](job_id, by=self.order.by)
                self.report.done += 1
            except exceptions.JobError as error:
                self._refuse(job_id, str(error))

    def _move(self, batch: list[UUID]) -> None:
        if self._is_stopped():
            return
        placer = Placer()
        by_target: defaultdict[str, list[UUID]] = defaultdict(list)
        with transaction.atomic():
            # Locked, so that none of them starts between the look and the change.
            waiting = Job.objects.select_for_update().filter(pk__in=batch, state=JobState.QUEUED)
            jobs = {job.pk: job for job in waiting.defer("properties").order_by("pk")}
            for job in jobs.values():
                target, refusal = self._place(job, placer)
                if refusal:
                    self._refuse(job.pk, refusal)
                elif target != job.target:
                    by_target[target].append(job.pk)
            for target, job_ids in by_target.items():
                self._send(placer, target, [jobs[each] for each in job_ids])

    def _place(self, job: Job, placer: Placer) -> tuple[str, str]:
        """Return where a job shall wait, or why it cannot."""
        target = self.order.target
        if not target:
            return placer.choose(topic=job.topic, creator=job.application, origin=job.origin).target, ""
        if job.origin and not placer.view.is_local_member(target):
            return "", "It came from another installation and stays in this one."
        if not placer.takes(target, job.topic):
            return "", f"Instance {target} is gone or does not take topic {job.topic!r}."
        return target, ""

    def _send(self, placer: Placer, target: str, jobs: list[Job]) -> None:
        Job.objects.filter(pk__in=[job.pk for job in jobs], state=JobState.QUEUED).update(target=target)
        queued = JobState.QUEUED.value
        signals.tell(*(JobChange(job.pk, job.topic, queued, queued, job.queue, job.origin, target) for job in jobs))
        placement.wake(placer.view, target)
        self.report.done += len(jobs)

    def _refuse(self, job_id: UUID, reason: str) -> None:
        self.report.refused += 1
        self.report.first_refusal = self.report.first_refusal or reason
        if self.report.refused <= _MAX_LOGGED:
            self.progress.log(f"{job_id} refused: {reason}")

    def _is_stopped(self) -> bool:
        self.report.is_stopped = self.report.is_stopped or self.progress.is_stopped
        return self.report.is_stopped
