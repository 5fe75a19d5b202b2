"""What is done to a family of failures: one of its jobs is tried again, then all of them, or they are removed."""

from offloading import exceptions
from offloading.jobs import bulk, families, manager
from offloading.jobs.filters import Filter
from offloading.models import Job


def retry_one(fingerprint: str, by: str) -> Job:
    """Retry the latest failed job of a family, to see whether it works now; return it.

    Raises JobMissing if none of its jobs can be retried here.
    """
    job = families.failed_jobs(fingerprint).filter(origin="").first()
    if job is None:
        raise exceptions.JobMissing(
            "No failed job of this family can be retried here. There is none any more, or they are copies of jobs of "
            "other installations: retry those there."
        )
    return manager.retry_job(job.id, by=by)


def retry_all(fingerprint: str, by: str) -> Job:
    """Retry all failed jobs of a family; return the job that does it."""
    return bulk.retry_matching(Filter(family=fingerprint), by=by)


def remove_all(fingerprint: str, by: str) -> Job:
    """Remove all failed jobs of a family from the history; return the job that does it."""
    return bulk.remove_matching(Filter(family=fingerprint), by=by)
