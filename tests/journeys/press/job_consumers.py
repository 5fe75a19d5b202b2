"""Prints a page, if the file that stands for the tray says that there is paper."""

from django.conf import settings

from offloading.jobs.consumers import JobConsumer, JobResult, RunningJob, job_consumer

TOPIC = "press/print"


class OutOfPaper(Exception):
    """The tray is empty."""


@job_consumer
class Press(JobConsumer):
    topics = (TOPIC,)

    def process(self, job: RunningJob) -> JobResult:
        job.log(f"wants to print {job.get('page')}")
        tray = (settings.OFFLOADING_DATA / "tray.txt").read_text().strip()
        if tray == "empty":
            raise OutOfPaper("the tray is empty")
        job.message = f"printed on {tray}"
        return JobResult.OK
