"""Moving a job that waits to another instance because a person says so.

Where jobs go by themselves is the affair of `placement`; an instance that joins or has nothing to do may still get some
of them from there afterwards.
"""

import logging
import uuid

from django.db import transaction

from offloading import exceptions
from offloading.jobs import ids, placement, signals
from offloading.jobs.placement import Placer
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState
from topology.snapshot import InstanceDescription

logger = logging.getLogger(__name__)


def places(job: Job, placer: Placer | None = None) -> list[InstanceDescription]:
    """Return the instances that a waiting job could be moved to: they take its topic, and it does not wait there."""
    placer = placer or Placer()
    near = placer.view.local_cluster.instances if job.origin else placer.view.instances
    return [each for each in near if each.sling_id != job.target and placer.takes(each.sling_id, job.topic)]


def move_job(job_id: uuid.UUID | str, *, target: str, by: str) -> Job:
    """Let a waiting job wait at `target`, a sling id, and return it as it is then.

    Raises JobMissing, InstanceUnknown, or TransitionRefused if the job does not wait or cannot go there.
    """
    key = ids.parse(job_id)
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(id=key).first() if key else None
        if job is None:
            raise exceptions.JobMissing(f"There is no job {job_id}. It may have been removed.")
        placer = Placer()
        _check(job, target, placer)
        old = job.target
        Job.objects.filter(id=job.id, state=JobState.QUEUED).update(target=target)
        job.target = target
        signals.tell(JobChange(job.id, job.topic, job.state, job.state, job.queue, job.origin, target))
        placement.wake(placer.view, target)
    logger.info("job moved", extra={"job": job.id, "topic": job.topic, "old": old, "new": target, "by": by})
    return job


def _check(job: Job, target: str, placer: Placer) -> None:
    if job.state != JobState.QUEUED:
        raise exceptions.TransitionRefused(
            f"The job is {job.get_state_display().lower()}; only one that waits can be moved."
        )
    instance = placer.view.get(target)
    if instance is None:
        raise exceptions.InstanceUnknown(f"The topology shows no instance {target!r}. Choose one that is alive.")
    if job.origin and not placer.view.is_local_member(target):
        raise exceptions.TransitionRefused("The job came from another installation and stays in this one.")
    if not placer.takes(target, job.topic):
        raise exceptions.TransitionRefused(
            f"{instance.label} does not take topic {job.topic!r}. Enable it there, or choose another."
        )
