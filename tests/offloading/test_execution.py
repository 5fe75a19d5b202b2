"""What becomes of a job whose consumer does this or that: the real claim, run and outcome, in this process."""

import pytest

from offloading.exceptions import StaleFence
from offloading.jobs import consumers, manager, testing
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.models import Attempt, AttemptOutcome, Job, JobState

pytestmark = pytest.mark.django_db


def run_one(process, **options):
    """Add one job whose consumer does `process`, run it once, and return its row."""

    class Consumer(JobConsumer):
        topics = ("test/one",)

        def process(self, job):
            return process(job)

    with consumers.register_temporarily(Consumer):
        job = manager.add_job("test/one", {"a": 1}, **options)
        testing.run_waiting(limit=1)
    return Job.objects.get(id=job.id)


def test_ok_succeeds_and_closes_its_attempt():
    job = run_one(lambda job: JobResult.OK)
    attempt = job.attempts.get()
    assert (job.state, job.claimed_by, job.fence) == (JobState.SUCCEEDED, "", 1)
    assert (attempt.outcome, attempt.fence) == (AttemptOutcome.SUCCEEDED, 1)
    assert attempt.ended_at >= attempt.started_at
    assert job.finished_at >= job.started_at >= job.created_at
