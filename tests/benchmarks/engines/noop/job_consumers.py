"""The job that does nothing."""

from offloading.jobs.consumers import JobConsumer, JobResult, RunningJob, job_consumer
from tests.benchmarks.engines import stamps


@job_consumer
class Nothing(JobConsumer):
    # Those of the full table among them: an instance would not be left with jobs that it cannot run.
    topics = ("bench/noop", "bench/later", "bench/paused")

    def process(self, job: RunningJob) -> JobResult:
        stamps.note(job.get("stamp"))
        return JobResult.OK
