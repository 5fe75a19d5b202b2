"""Writes down each start in a file, past all transactions, and its effect in the tree, inside that of `apply`."""

import os
import signal
import time

from django.conf import settings
from django.db import connection

from content import services as content
from offloading.jobs.consumers import JobConsumer, JobResult, RunningJob, job_consumer


@job_consumer
class Ledger(JobConsumer):
    topics = ("ledger/write",)

    def process(self, job: RunningJob) -> JobResult:
        note_start(job)
        time.sleep(job.get("seconds", 0))
        with job.apply():
            # A second node of the same path is refused: an effect that came twice would not go unnoticed.
            content.create_node(path=f"/ledger-{job.id}", primary_type="nt:unstructured", by="ledger")
        return JobResult.OK


@job_consumer
class Entry(JobConsumer):
    """Leaves a row that nothing in the database keeps from coming twice: only the fence does."""

    topics = ("ledger/entry",)

    def process(self, job: RunningJob) -> JobResult:
        note_start(job)
        time.sleep(job.get("seconds", 0))
        with job.apply(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO ledger_entry (job, fence) VALUES (%s, %s)", [job.id.hex, job.fence])
        return JobResult.OK


@job_consumer
class Poison(JobConsumer):
    topics = ("ledger/poison",)

    def process(self, job: RunningJob) -> JobResult:
        note_start(job)
        os.kill(os.getpid(), signal.SIGKILL)
        return JobResult.OK


def note_start(job: RunningJob) -> None:
    with (settings.OFFLOADING_DATA / "starts.log").open("a") as starts:
        starts.write(f"{job.id} {job.fence} {time.time()} {os.getpid()}\n")
