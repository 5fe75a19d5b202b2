"""The public interface to jobs: add, look at, retry, stop, remove, and ask why one does not run.

Adding happens in the caller's transaction: the job exists if and only if the caller's other changes do, and its
instance is woken when they are committed. Works in any process.
"""

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from offloading import exceptions
from offloading.jobs import distribution, ids, outcomes, placement, signals, states, topics
from offloading.jobs import properties as job_properties
from offloading.jobs.signals import JobChange
from offloading.models import AttemptOutcome, Job, JobState, Transfer
from topology import identity
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

MAIN_QUEUE = "<main queue>"


def add_job(
    topic: str,
    properties: Mapping[str, Any] | None = None,
    *,
    title: str = "",
    retries: int | None = None,
    retry_delay_seconds: float | None = None,
    priority: int = 0,
    not_before: datetime | None = None,
) -> Job:
    """Add a job and return it as it was stored. With `retries` -1 it is retried for ever.

    Raises TopicInvalid or PropertiesInvalid. A topic that no instance takes is no error: the job waits for one.
    """
    placer = placement.Placer()
    sling_id = identity.sling_id()
    job = Job(
        id=ids.uuid7(),
        topic=topics.validate(topic),
        queue=MAIN_QUEUE,
        title=title[:255],
        properties=job_properties.checked(properties),
        application=sling_id,
        target=placer.choose(topic=topic, creator=sling_id).target,
        retries=settings.OFFLOADING_JOB_RETRIES if retries is None else max(retries, -1),
        retry_delay_seconds=(
            settings.OFFLOADING_JOB_RETRY_DELAY_SECONDS if retry_delay_seconds is None else retry_delay_seconds
        ),
        priority=priority,
        not_before=not_before,
    )
    with transaction.atomic():
        store(job, placer.view)
    return job


def store(job: Job, view: TopologyView) -> None:
    """Insert a job whose target is chosen, tell of it, and wake who will run it; in the caller's transaction."""
    job.save(force_insert=True)
    signals.tell(JobChange(job.id, job.topic, JobState.QUEUED, "", job.queue, job.origin, job.target))
    placement.wake(view, job.target)
    if not job.target:
        logger.info("job has no instance yet", extra={"job": job.id, "topic": job.topic})


def get_job(job_id: uuid.UUID | str) -> Job | None:
    """Return the job as it is now, finished ones included; None if there is none of that id."""
    key = ids.parse(job_id)
    return Job.objects.filter(id=key).first() if key else None


def retry_job(job_id: uuid.UUID | str, by: str) -> Job:
    """Run a finished job again, with its counters at zero and the fence raised.

    Raises JobMissing, or TransitionRefused if the job is not finished or is a copy from another installation.
    """
    placer = placement.Placer()
    with transaction.atomic():
        job = _locked(job_id, states.Event.RETRY)
        if job.origin:
            raise exceptions.TransitionRefused("This is the copy of a job of another installation: retry it there.")
        previous = JobState(job.state)
        _reset(job, placer.choose(topic=job.topic, creator=job.application).target)
        signals.tell(JobChange(job.id, job.topic, JobState.QUEUED, previous, job.queue, job.origin, job.target))
        placement.wake(placer.view, job.target)
    logger.info("job retried", extra={"job": job.id, "topic": job.topic, "by": by})
    return job


def stop_job(job_id: uuid.UUID | str, by: str) -> Job:
    """End an unfinished job as STOPPED. One that runs is not interrupted, but nothing it writes will count."""
    return _end(job_id, states.Event.STOP, JobState.STOPPED, f"Stopped by {by}")


def remove_job(job_id: uuid.UUID | str, by: str) -> None:
    """End an unfinished job as DROPPED; delete a finished one for good. An unknown id is no error.

    Raises TransitionRefused for a finished copy whose result is still here: its origin would wait for it for ever.
    """
    with transaction.atomic():
        job = _lock(job_id)
        if job is None:
            return
        if job.state in states.FINAL:
            _require_settled(job)
            job.delete()
            return
    _end(job_id, states.Event.DROP, JobState.DROPPED, f"Removed by {by}")


def _require_settled(job: Job) -> None:
    settled = (Transfer.State.DONE, Transfer.State.FENCED)
    if job.transfers.filter(direction=Transfer.Direction.BACK, is_sender=True).exclude(state__in=settled).exists():
        raise exceptions.TransitionRefused(
            "The result of this copy has not been taken in by its origin yet. Stop the job there, or wait."
        )


def explain(job: Job, view: TopologyView | None = None) -> list[distribution.Reason]:
    """Say why each instance does not take `job`; the one that has it is left out."""
    placer = placement.Placer(view)
    choice = placer.choose(topic=job.topic, creator=job.application, origin=job.origin, turn=0)
    reasons = [reason for reason in choice.reasons if reason.sling_id != job.target]
    if job.target and placer.view.get(job.target) is None:
        reasons.append(distribution.Reason(job.target, job.target, distribution.GONE))
    return reasons


def _lock(job_id: uuid.UUID | str) -> Job | None:
    key = ids.parse(job_id)
    return Job.objects.select_for_update().filter(id=key).first() if key else None


def _locked(job_id: uuid.UUID | str, event: states.Event) -> Job:
    """Lock a job to which `event` may happen now."""
    job = _lock(job_id)
    if job is None:
        raise exceptions.JobMissing(f"There is no job {job_id}. It may have been removed.")
    if job.state not in states.sources(event):
        raise exceptions.TransitionRefused(f"The job is {job.get_state_display().lower()} and cannot be {event} now.")
    return job


def _reset(job: Job, target: str) -> None:
    job.state, job.target, job.fence = JobState.QUEUED, target, job.fence + 1
    job.retry_count = job.crash_count = 0
    job.not_before = job.started_at = job.finished_at = None
    job.result_message = ""
    job.save(
        update_fields=[
            "state",
            "target",
            "fence",
            "retry_count",
            "crash_count",
            "not_before",
            "started_at",
            "finished_at",
            "result_message",
        ]
    )


def _end(job_id: uuid.UUID | str, event: states.Event, state: JobState, message: str) -> Job:
    with transaction.atomic():
        job = _locked(job_id, event)
        outcomes.end(job, state, AttemptOutcome.STOPPED, message)
    logger.info("job ended", extra={"job": job.id, "topic": job.topic, "state": state, "why": message})
    job.refresh_from_db()
    return job
