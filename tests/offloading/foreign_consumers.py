"""Consumers of a package that is no Django app, for the test of the setting that names it."""

from offloading.jobs.consumers import JobConsumer, JobResult, job_consumer


@job_consumer
class Foreign(JobConsumer):
    topics = ("foreign/work",)

    def process(self, job):
        return JobResult.OK
