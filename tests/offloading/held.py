"""Claimed jobs for the tests of how an attempt ends."""

from offloading.jobs import claims, manager
from offloading.jobs.claims import Claim
from offloading.models import Job

TOPIC = "test/held"


def hold(target: str, *, run_id: str = "run", **columns: object) -> Claim:
    """Add a job for `target` and claim it; `columns` are set before that."""
    job = manager.add_job(TOPIC)
    Job.objects.filter(id=job.id).update(target=target, **columns)
    rows = [row for row in claims.due(targets=[target], limit=100) if row.job_id == job.id]
    (claim,) = claims.claim(rows, run_id=run_id, instance=target, label=f"{target}:4502")
    return claim


def row(claim: Claim) -> Job:
    return Job.objects.get(id=claim.job_id)
