"""Running one attempt: from a job id and a fence to the consumer, and to the outcome that it brought about.

`run` is what the worker process of django-q2 calls. It needs nothing but the database: who handed the job over, and who
is told when it is done, is the affair of `slots`.
"""

import logging
import time
import traceback
import uuid
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

from offloading import exceptions
from offloading.jobs import consumers, outcomes
from offloading.jobs.consumers import JobResult
from offloading.jobs.running import RunningJob
from offloading.models import Job, JobState

logger = logging.getLogger(__name__)

DATABASE_ERRORS = (OperationalError, InterfaceError)
_TRACEBACK_LENGTH = 20_000
_MESSAGE_LINES = 3
_LONGEST_PAUSE_SECONDS = 5.0

Ending = Callable[[], object]
Value = TypeVar("Value")


def run(job_id: uuid.UUID, fence: int) -> None:
    """Run the job if it is still held under `fence`, and write how that ended. Outlasts an absence of the database."""
    job = _insist(lambda: _load(job_id, fence))
    if job is None:
        logger.info("job moved on before it started", extra={"job": job_id, "fence": fence})
        return
    try:
        _insist(_attempt(job))
    except exceptions.StaleFence:
        logger.warning("late result refused", extra={"job": job_id, "topic": job.topic, "fence": fence})


def running_job(row: Job) -> RunningJob:
    """Return a claimed job as its consumer gets it."""
    return RunningJob(
        id=row.id,
        topic=row.topic,
        properties=row.properties,
        fence=row.fence,
        attempt_number=row.attempts.count(),
        payload_root=f"/var/offloading/{row.id}" if row.origin else "",
    )


def _load(job_id: uuid.UUID, fence: int) -> RunningJob | None:
    row = Job.objects.filter(id=job_id, fence=fence, state=JobState.ACTIVE).first()
    return running_job(row) if row else None


def _attempt(job: RunningJob) -> Ending:
    """Let the consumer work; return what writes the outcome. Raises StaleFence if the consumer ran into one."""
    consumer = consumers.find(job.topic)
    if consumer is None:
        message = f"This instance has no consumer for topic {job.topic!r} any more."
        return lambda: outcomes.release(job_id=job.id, fence=job.fence, message=message)
    try:
        result = consumer.process(job)
    except exceptions.StaleFence:
        raise
    except Exception as error:
        return _after_exception(job, error)
    return _after_result(job, result)


def _after_result(job: RunningJob, result: JobResult) -> Ending:
    if job.is_applied:
        return _nothing
    if result == JobResult.OK:
        return lambda: outcomes.succeed(job_id=job.id, fence=job.fence, message=job.message, log=job.log_text)
    if result == JobResult.FAILED:
        return lambda: _fail(job, job.message or "The consumer reported a failure.")
    message = job.message or "The consumer cancelled the job."
    if result != JobResult.CANCEL:
        message = f"The consumer returned {result!r}, which is no JobResult."
    return lambda: outcomes.error(job_id=job.id, fence=job.fence, message=message, log=job.log_text)


def _after_exception(job: RunningJob, error: Exception) -> Ending:
    """An exception is final, except one that says that the database was away: nothing is wrong with the job then."""
    text = "".join(traceback.format_exception(error))
    logger.error("consumer raised", extra={"job": job.id, "topic": job.topic, "fence": job.fence}, exc_info=error)
    if job.is_applied:
        return _nothing
    job.add_to_log(text[-_TRACEBACK_LENGTH:])
    message = "\n".join(text.strip().splitlines()[-_MESSAGE_LINES:])
    if isinstance(error, DATABASE_ERRORS):
        return lambda: _fail(job, message)
    return lambda: outcomes.error(job_id=job.id, fence=job.fence, message=message, log=job.log_text)


def _fail(job: RunningJob, message: str) -> None:
    outcomes.fail(
        job_id=job.id,
        fence=job.fence,
        message=message,
        log=job.log_text,
        retry_delay_seconds=job.retry_delay_seconds,
    )


def _nothing() -> None:
    """Write no outcome: the consumer did it itself, with `RunningJob.apply`."""


def _insist(act: Callable[[], Value]) -> Value:
    """Do `act`, again and again while the database cannot be reached: the work is done, its result must not be lost."""
    pause = 0.1
    while True:
        try:
            return act()
        except DATABASE_ERRORS:
            if connection.in_atomic_block:
                raise
            logger.warning("database unreachable, the job waits for it", extra={"pause": pause}, exc_info=True)
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
