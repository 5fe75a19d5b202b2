"""Taking a waiting job: QUEUED to ACTIVE, with a fence above every one before, and an attempt that carries it.

Two ways: an instance claims what is meant for itself, under the name of its run; the transport claims what is meant for
an instance of another installation.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from offloading.jobs import signals
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, Job, JobState

_REMOTE = "remote:"


@dataclass(frozen=True)
class Due:
    """A job that could be claimed now, as it was when looked at."""

    job_id: uuid.UUID
    topic: str
    fence: int
    target: str


@dataclass(frozen=True)
class Claim:
    """A job that is held now: whatever is written about it must carry this fence."""

    job_id: uuid.UUID
    topic: str
    fence: int
    target: str


def due(*, targets: Iterable[str], limit: int) -> list[Due]:
    """Return up to `limit` jobs for any of `targets` that may start now: by priority, then by age."""
    waiting = _waiting(targets).order_by("-priority", "id")
    rows = waiting.values_list("id", "topic", "fence", "target")[:limit]
    return [Due(*row) for row in rows]


def claim(rows: Iterable[Due], *, run_id: str, instance: str, label: str) -> list[Claim]:
    """Claim those of `rows` that nobody else took or moved in the meantime, for the run `run_id` of `instance`."""
    return _claim(rows, lambda row: (run_id, instance, label))


def claim_for_transport(*, targets: Mapping[str, str], limit: int = 20) -> list[Claim]:
    """Claim up to `limit` due jobs for instances of other clusters; `targets` maps their sling ids to their labels."""
    rows = due(targets=targets, limit=limit)
    return _claim(rows, lambda row: (remote_run(row.target), row.target, targets[row.target])) if rows else []


def held_by(run_id: str) -> list[Claim]:
    """Return what a run holds."""
    held = Job.objects.filter(state=JobState.ACTIVE, claimed_by=run_id)
    return [Claim(*row) for row in held.values_list("id", "topic", "fence", "target")]


def remote_run(target: str) -> str:
    """Return the `claimed_by` of a job that was handed to an instance of another cluster."""
    return _REMOTE + target


def remote_target(claimed_by: str) -> str:
    """Return the instance of another cluster that holds a job, or "" if a run of this cluster does."""
    return claimed_by.removeprefix(_REMOTE) if claimed_by.startswith(_REMOTE) else ""


def _waiting(targets: Iterable[str]) -> QuerySet[Job]:
    is_due = Q(not_before=None) | Q(not_before__lte=Now())
    return Job.objects.filter(is_due, state=JobState.QUEUED, target__in=list(targets))


def _claim(rows: Iterable[Due], holder: Callable[[Due], tuple[str, str, str]]) -> list[Claim]:
    """Claim each of `rows` for (run, instance, label) as `holder` says, all in one transaction."""
    with transaction.atomic():
        claimed = [row for row in rows if _take(row, holder(row)[0])]
        for row in claimed:
            _, instance, label = holder(row)
            Attempt.objects.create(job_id=row.job_id, fence=row.fence + 1, instance=instance, instance_label=label)
        signals.tell(*(JobChange(row.job_id, row.topic, JobState.ACTIVE, JobState.QUEUED) for row in claimed))
    return [Claim(row.job_id, row.topic, row.fence + 1, row.target) for row in claimed]


def _take(row: Due, run_id: str) -> bool:
    waiting = Job.objects.filter(id=row.job_id, state=JobState.QUEUED, fence=row.fence, target=row.target)
    return bool(
        waiting.update(
            state=JobState.ACTIVE, fence=row.fence + 1, claimed_by=run_id, started_at=Now(), finished_at=None
        )
    )
