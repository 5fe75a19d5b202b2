"""The public interface to jobs: add, look at, retry, stop, remove, and ask why one does not run.

Adding happens in the caller's transaction: the job exists if and only if the caller's other changes do, and its
instance is woken when they are committed. Works in any process.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from offloading import exceptions
from offloading.jobs import additions, claims, configuration, distribution, ids, placement, signals, states, transitions
from offloading.jobs.additions import JobRequest as JobRequest
from offloading.jobs.signals import JobChange
from offloading.models import AttemptOutcome, Job, JobState, QueueType, Transfer
from topology import wakeup
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)


def add_job(
    topic: str,
    properties: Mapping[str, Any] | None = None,
    *,
    title: str = "",
    name: str = "",
    priority: int = 0,
    delay_seconds: float = 0.0,
    not_before: datetime | None = None,
    retries: int | None = None,
    retry_delay_seconds: float | None = None,
    time_limit_seconds: float | None = None,
) -> Job | None:
    """Add a job and return it as it was stored.

    `name` makes it the only unfinished job of that name; a higher `priority` overtakes those that wait up to a minute
    longer for each step; it starts `delay_seconds` from now or at `not_before` at the earliest. What is None is as the
    job's queue says; `retries` -1 = for ever, `time_limit_seconds` 0 = none.

    Returns None if an unfinished job has that name, or if the queue of the topic drops its jobs. Raises TopicInvalid or
    PropertiesInvalid. A topic that no instance takes is no error: the job waits for one.
    """
    placer = placement.current()
    request = JobRequest(
        topic=topic,
        properties=properties,
        title=title,
        name=name,
        priority=priority,
        delay_seconds=delay_seconds,
        not_before=not_before,
        retries=retries,
        retry_delay_seconds=retry_delay_seconds,
        time_limit_seconds=time_limit_seconds,
    )
    return additions.insert_one(additions.addition(request, placer), placer.view)


def add_jobs(requests: Iterable[JobRequest]) -> list[uuid.UUID]:
    """Add many jobs, all or none, and return the ids of those that were stored; see `add_job`.

    In the way that is quickest with many: some tens of thousands a second.
    """
    placer = placement.current()
    return additions.insert([additions.addition(each, placer) for each in requests], placer.view)


def get_job(job_id: uuid.UUID | str) -> Job | None:
    """Return the job as it is now, finished ones included; None if there is none of that id."""
    key = ids.parse(job_id)
    return Job.objects.filter(id=key).first() if key else None


def retry_job(job_id: uuid.UUID | str, by: str) -> Job:
    """Run a finished job again, with its counters at zero and the fence raised.

    Raises JobMissing, or TransitionRefused if the job is not finished or is a copy from another installation.
    """
    placer = placement.current()
    with transaction.atomic():
        job = _locked(job_id, states.Event.RETRY)
        if job.origin:
            raise exceptions.TransitionRefused("This is the copy of a job of another installation: retry it there.")
        previous = JobState(job.state)
        try:
            with transaction.atomic():
                _reset(job, placer.choose(topic=job.topic, creator=job.application).target)
        except IntegrityError as error:
            message = f"An unfinished job has the name {job.name!r}. Wait for its end."
            raise exceptions.TransitionRefused(message) from error
        signals.tell(JobChange(job.id, job.topic, JobState.QUEUED, previous, job.queue, job.origin, job.target))
        placement.wake(placer.view, job.target)
    logger.info("job retried", extra={"job": job.id, "topic": job.topic, "by": by})
    return job


def stop_job(job_id: uuid.UUID | str, by: str) -> Job:
    """End a waiting job as STOPPED; ask a running one to stop, wherever it runs. Returns the job as it is then.

    Whether one that is asked ends as succeeded, failed or stopped is up to it; if it does not end within
    OFFLOADING_JOB_STOP_SECONDS, its worker is ended. At an instance of another installation nobody can be asked: the
    job ends here at once, and what still comes of it is refused. Raises JobMissing, or TransitionRefused if it has
    ended.
    """
    with transaction.atomic():
        job = _locked(job_id, states.Event.STOP)
        if job.state == JobState.ACTIVE and not claims.remote_target(job.claimed_by):
            Job.objects.filter(id=job.id).update(stop_requested_by=by[:150])
            transitions.tell(job, JobState.ACTIVE)
            wakeup.notify("stops", job.target)
        else:
            transitions.end(job, JobState.STOPPED, AttemptOutcome.STOPPED, f"Stopped by {by}")
    logger.info("job stopped", extra={"job": job.id, "topic": job.topic, "by": by})
    job.refresh_from_db()
    return job


def remove_job(job_id: uuid.UUID | str, by: str) -> None:
    """End an unfinished job as DROPPED; delete a finished one for good. An unknown id is no error.

    Raises TransitionRefused for a finished copy whose result is still here: its origin would wait for it for ever.
    """
    with transaction.atomic():
        job = _lock(job_id)
        if job is None:
            return
        if job.state in states.FINAL:
            key = job.id
            _require_settled(job)
            job.delete()
            signals.tell(JobChange(key, job.topic, "", job.state, job.queue, job.origin, job.target))
            return
    job = _end(job_id, states.Event.DROP, JobState.DROPPED, f"Removed by {by}")
    if job.target:
        wakeup.notify("stops", job.target)


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
    reasons = list(choice.reasons_against(job.target))
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
    """Make a finished job as if it had just been added, under a higher fence; an ordered one keeps its place."""
    is_ordered = configuration.queue_of(job.topic).settings.type == QueueType.ORDERED
    place = {} if is_ordered else {"rank_at": transitions.rank(job.priority)}
    Job.objects.filter(id=job.id).update(
        state=JobState.QUEUED,
        target=target,
        fence=job.fence + 1,
        queue=configuration.queue_of(job.topic).name,
        queued_at=Now(),
        retry_count=0,
        crash_count=0,
        stop_requested_by="",
        family="",
        not_before=None,
        started_at=None,
        finished_at=None,
        result_message="",
        **place,
    )
    job.refresh_from_db()


def _end(job_id: uuid.UUID | str, event: states.Event, state: JobState, message: str) -> Job:
    with transaction.atomic():
        job = _locked(job_id, event)
        transitions.end(job, state, AttemptOutcome.STOPPED, message)
    logger.info("job ended", extra={"job": job.id, "topic": job.topic, "state": state, "why": message})
    job.refresh_from_db()
    return job
