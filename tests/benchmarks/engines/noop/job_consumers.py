"""The job that does nothing."""

from offloading.jobs.consumers import JobConsumer, JobResult, RunningJob, job_consumer
from tests.benchmarks.engines import stamps


@job_consumer
class Nothing(JobConsumer):
    topics = ("bench/noop",)

    def process(self, job: RunningJob) -> JobResult:
        stamps.note(job.get("stamp"))
        return JobResult.OK
