"""What the workflow screens show: instances by how they are doing, each with where it is now.

Reads only, in a number of queries that does not grow with the rows shown.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from offloading.jobs import ids
from offloading.models import Attempt, Job, JobState
from workflow import definition
from workflow.models import HistoryItem, Workflow, WorkflowState

PAGE_SIZE = 50

_RUNNING = Q(state=WorkflowState.RUNNING)
_HAS_FAILED = ~Q(failure_message="")
# A failed instance is a running one to the engine; to people these are two different things.
FILTERS = {
    "running": _RUNNING & ~_HAS_FAILED,
    "failed": _RUNNING & _HAS_FAILED,
    "completed": Q(state=WorkflowState.COMPLETED),
    "aborted": Q(state=WorkflowState.ABORTED),
}


@dataclass(frozen=True)
class Row:
    """An instance and where it is: the title of its step, the instance that runs it, the job it depends on."""

    workflow: Workflow
    step: str
    place: str
    job: Job | None


@dataclass(frozen=True)
class Page:
    """Rows in order of their start, newest first; `newer` and `older` name the row to go on from, None at the end."""

    rows: list[Row]
    newer: uuid.UUID | None
    older: uuid.UUID | None


def counts() -> dict[str, int]:
    """Return how many instances each filter has, and "all" of them."""
    totals = {name: Count("pk", filter=condition) for name, condition in FILTERS.items()}
    return Workflow.objects.aggregate(all=Count("pk"), **totals)


def page(*, state: str = "", payload: str = "", before: str = "", after: str = "") -> Page:
    """Return the instances in `state` whose payload contains `payload`, from one row on, newer or older."""
    found = Workflow.objects.filter(FILTERS.get(state, Q()))
    if payload:
        found = found.filter(payload__icontains=payload)
    chosen = _beyond(found, after, newer=True)[::-1] if after else _beyond(found, before, newer=False)
    has_more = len(chosen) > PAGE_SIZE
    chosen = (chosen[1:] if after else chosen[:-1]) if has_more else chosen
    is_newer_left, is_older_left = (has_more, True) if after else (bool(before), has_more)
    return Page(
        rows=rows(chosen),
        newer=chosen[0].pk if chosen and is_newer_left else None,
        older=chosen[-1].pk if chosen and is_older_left else None,
    )


def rows(workflows: Sequence[Workflow]) -> list[Row]:
    """Say where each instance is."""
    going_on = HistoryItem.objects.filter(workflow__in=workflows, ended_at=None).order_by("id")
    labels = dict(going_on.values_list("workflow_id", "instance_label"))
    jobs = _jobs(workflows)
    places = _places(job.pk for job in jobs.values())
    return [_row(workflow, labels, jobs, places) for workflow in workflows]


def _beyond(found: QuerySet[Workflow], mark: str, *, newer: bool) -> list[Workflow]:
    """Return one row more than a page, from the row `mark` on; a mark that is none counts as none."""
    edge = ids.parse(mark)
    if edge:
        found = found.filter(id__gt=edge) if newer else found.filter(id__lt=edge)
    return list(found.order_by("id" if newer else "-id")[: PAGE_SIZE + 1])


def _jobs(workflows: Iterable[Workflow]) -> dict[str, Job]:
    wanted = [job_id for workflow in workflows if (job_id := _job_id(workflow))]
    return {str(job.pk): job for job in Job.objects.filter(pk__in=wanted)}


def _job_id(workflow: Workflow) -> str:
    """The job that an instance depends on: the one it waits for, else the one that runs it."""
    return str(ids.parse(workflow.external_id) or workflow.job_id or "")


def _places(job_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    attempts = Attempt.objects.filter(job__in=list(job_ids)).order_by("fence", "id")
    return dict(attempts.values_list("job_id", "instance_label"))


def _row(workflow: Workflow, labels: dict[uuid.UUID, str], jobs: dict[str, Job], places: dict[uuid.UUID, str]) -> Row:
    job = jobs.get(_job_id(workflow))
    step = ""
    if workflow.current_node:
        step = definition.from_json(workflow.definition).step(workflow.current_node).title
    place = ""
    if workflow.state == WorkflowState.RUNNING and not workflow.has_failed:
        place = _place(workflow, labels, job, places)
    return Row(workflow=workflow, step=step, place=place, job=job)


def _place(workflow: Workflow, labels: dict[uuid.UUID, str], job: Job | None, places: dict[uuid.UUID, str]) -> str:
    if job is None:
        return labels.get(workflow.pk, "")
    if job.state == JobState.ACTIVE:
        return places.get(job.pk, "")
    return "waits for an instance" if job.state == JobState.QUEUED else ""
