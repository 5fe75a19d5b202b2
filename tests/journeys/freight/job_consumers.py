"""Stamps a node: writes beside its binary the same bytes backwards, and notes each start outside all transactions."""

import time

from django.conf import settings

from content.session import Session
from offloading.jobs.consumers import JobConsumer, JobResult, RunningJob, job_consumer

TOPIC = "freight/stamp"


@job_consumer
class Stamp(JobConsumer):
    topics = (TOPIC,)

    def process(self, job: RunningJob) -> JobResult:
        with (settings.OFFLOADING_DATA / "starts.log").open("a") as starts:
            starts.write(f"{job.id} {job.fence}\n")
        session = Session(root=job.payload_root, by="freight")
        path = job.get("node")
        if path is None:
            return JobResult.OK
        with session.open(path) as file:
            backwards = file.read()[::-1]
        time.sleep(job.get("seconds", 0))
        job.log(f"stamped {path}")
        with job.apply():
            session.put(f"{path}/stamped", "nt:file", binaries={"jcr:data": session.store([backwards])})
            session.set_properties(path, {"stamped": True})
            session.save()
        return JobResult.OK
