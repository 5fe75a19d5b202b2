"""Claimed jobs for the tests of how an attempt ends."""

from offloading.jobs import claims, configuration, manager
from offloading.jobs.claims import Claim, Holder
from offloading.models import Job

TOPIC = "test/held"


def hold(target: str, *, run_id: str = "run", topic: str = TOPIC, **columns: object) -> Claim:
    """Add a job for `target` and claim it; `columns` are set before that."""
    job = manager.add_job(topic)
    Job.objects.filter(id=job.id).update(target=target, **columns)
    (claim,) = [each for each in take(target, run_id=run_id, topic=topic) if each.job_id == job.id]
    return claim


def take(target: str, *, run_id: str = "run", topic: str = TOPIC, limit: int = 100, label: str = "") -> list[Claim]:
    """Claim what waits for `target` in the queue of `topic`."""
    holder = Holder(run_id, target, label or f"{target}:4502")
    return claims.claim(target=target, queue=configuration.queue_of(topic), limit=limit, holder=holder)


def row(claim: Claim) -> Job:
    return Job.objects.get(id=claim.job_id)
