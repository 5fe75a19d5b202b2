"""Prints a page, if the file that stands for the tray says that there is paper; and books, page by page."""

import time

from django.conf import settings

from offloading.jobs.consumers import (
    JobConsumer,
    JobExecutionContext,
    JobExecutionResult,
    JobExecutor,
    JobResult,
    RunningJob,
    job_consumer,
)

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


@job_consumer
class Bindery(JobExecutor):
    topics = ("press/book",)

    def process(self, job: RunningJob, context: JobExecutionContext) -> JobExecutionResult:
        pages = job.get("pages")
        context.init_progress(pages, pages // 2)
        for page in range(1, pages + 1):
            if context.is_stopped:
                return context.result().message(f"stopped before page {page}").cancelled()
            context.log(f"printing page {page}")
            context.increment_progress(1)
            time.sleep(0.2)
        return context.result().message("bound").succeeded()
