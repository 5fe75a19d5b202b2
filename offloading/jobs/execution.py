"""Running one attempt: from a claim to the consumer, and to the ending that it brought about.

`attempt` is what the worker process of a slot calls for each job; it touches the database only if the consumer does.
Who hands the job over, and who writes the ending, is the affair of `slots` and the dispatcher.
"""

import json
import logging
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import FrameType
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, connections

from offloading import exceptions
from offloading.jobs import consumers, outcomes, running, transitions
from offloading.jobs.claims import Claim
from offloading.jobs.consumers import Consumer, JobExecutionContext, JobExecutionResult, JobExecutor, JobResult, Waiting
from offloading.jobs.families import Failure
from offloading.jobs.outcomes import Ending, Kind
from offloading.jobs.running import RunningJob
from offloading.models import Job, JobState

logger = logging.getLogger(__name__)

DATABASE_ERRORS = (OperationalError, InterfaceError)
_TRACEBACK_LENGTH = 20_000
_MESSAGE_LINES = 3
_LONGEST_PAUSE_SECONDS = 5.0
# Ten years: beyond some date no database or Python can tell the time.
_LONGEST_DELAY_SECONDS = 10 * 366 * 86_400.0

Value = TypeVar("Value")


class TimeLimitExceeded(BaseException):
    """Raised in the middle of a consumer whose time is over. Not an Exception: consumers shall not catch it."""


def attempt(claim: Claim, *, time_limit_seconds: float = 0.0, hears_stop: Callable[[], bool] | None = None) -> Ending:
    """Run a claimed job and return how that ended. Outlasts an absence of the database."""
    started = time.monotonic()
    job = _insist(lambda: running_job(claim))
    if job is None:
        logger.info("job moved on before it started", extra={"job": claim.job_id, "fence": claim.fence})
        return Ending(claim.job_id, claim.fence, Kind.APPLIED)
    job.hears_stop = hears_stop
    kind, message, failure = _process(job, time_limit_seconds)
    return Ending(
        job_id=job.id,
        fence=job.fence,
        # After an exception the fence decides: it may have undone a transaction around the one of `apply`.
        kind=Kind.APPLIED if job.is_applied and failure is None else kind,
        message=running.storable(message)[: transitions.MESSAGE_LENGTH],
        log=job.log_text,
        retry_delay_seconds=_delay(job.retry_delay_seconds),
        seconds=time.monotonic() - started,
        failure=failure,
    )


def run(claim: Claim, *, time_limit_seconds: float = 0.0) -> None:
    """Run a claimed job here and write how it ended, without an instance: for tests and tools."""
    ending = attempt(claim, time_limit_seconds=time_limit_seconds)
    _insist(lambda: outcomes.write_all([ending]))


def running_job(claim: Claim) -> RunningJob | None:
    """Return a claimed job as its consumer gets it; None if it moved on. Long properties are read now."""
    if claim.properties is not None:
        properties = json.loads(claim.properties)
    else:
        held = Job.objects.filter(id=claim.job_id, fence=claim.fence, state=JobState.ACTIVE)
        properties = held.values_list("properties", flat=True).first()
        if properties is None:
            return None
    return RunningJob(
        id=claim.job_id,
        topic=claim.topic,
        properties=properties,
        fence=claim.fence,
        retry_count=claim.retry_count,
        payload_root=f"/var/offloading/{claim.job_id}" if claim.origin else "",
    )


def _process(job: RunningJob, time_limit_seconds: float) -> tuple[Kind, str, Failure | None]:
    consumer = consumers.find(job.topic)
    if consumer is None:
        return Kind.RELEASED, f"This instance has no consumer for topic {job.topic!r} any more.", None
    try:
        if time_limit_seconds <= 0:
            return _understand(job, _call(consumer, job))
        with _limited(time_limit_seconds):
            return _understand(job, _call(consumer, job))
    except TimeLimitExceeded as error:
        return _after_time_limit(job, error, time_limit_seconds)
    except exceptions.StaleFence as error:
        logger.warning("job moved on while it ran", extra={"job": job.id, "topic": job.topic, "fence": job.fence})
        # Whatever it says now is late, and is noted as that.
        return Kind.FAILED, str(error), None
    except (Exception, SystemExit) as error:
        return _after_exception(job, error)
    finally:
        consumers.take_waiting(job)


def _call(consumer: Consumer, job: RunningJob) -> JobResult | JobExecutionResult | None:
    """Have the consumer work, and wait for its result if another thread brings it."""
    if isinstance(consumer, JobExecutor):
        waiting = Waiting()
        result = consumer.process(job, JobExecutionContext(job, waiting))
        return waiting.wait() if result is None and not job.is_applied else result
    answer = consumer.process(job)
    if answer != JobResult.ASYNC:
        return answer
    expected = consumers.take_waiting(job)
    return expected.wait() if expected else JobExecutionResult(Kind.CANCELLED, _NO_HANDLER)


def _understand(job: RunningJob, result: JobResult | JobExecutionResult | None) -> tuple[Kind, str, Failure | None]:
    if isinstance(result, JobExecutionResult):
        if result.retry_delay_seconds is not None:
            job.retry_delay_seconds = result.retry_delay_seconds
        return result.kind, result.text or job.message or _SILENT.get(result.kind, ""), None
    if result == JobResult.OK:
        return Kind.OK, job.message, None
    if result == JobResult.FAILED:
        return Kind.FAILED, job.message or _SILENT[Kind.FAILED], None
    if result == JobResult.CANCEL:
        return Kind.CANCELLED, job.message or _SILENT[Kind.CANCELLED], None
    return Kind.CANCELLED, f"The consumer returned {result!r}, which is no JobResult.", None


_NO_HANDLER = "The consumer returned ASYNC and asked for no handler: nobody can end the job."
_SILENT = {Kind.FAILED: "The consumer reported a failure.", Kind.CANCELLED: "The consumer cancelled the job."}


def _after_time_limit(job: RunningJob, error: BaseException, seconds: float) -> tuple[Kind, str, Failure | None]:
    job.add_to_log("".join(traceback.format_exception(error))[-_TRACEBACK_LENGTH:])
    # It may have been cut off in the middle of a statement.
    connections.close_all()
    return Kind.TIMED_OUT, f"It ran longer than its time limit of {seconds:g} s and was ended.", Failure.of(error)


def _after_exception(job: RunningJob, error: BaseException) -> tuple[Kind, str, Failure | None]:
    """An exception is final, except one that says that the database was away: nothing is wrong with the job then."""
    text = "".join(traceback.format_exception(error))
    logger.error("consumer raised", extra={"job": job.id, "topic": job.topic, "fence": job.fence}, exc_info=error)
    job.add_to_log(text[-_TRACEBACK_LENGTH:])
    message = "\n".join(text.strip().splitlines()[-_MESSAGE_LINES:])
    kind = Kind.FAILED if isinstance(error, DATABASE_ERRORS) else Kind.RAISED
    return kind, message, Failure.of(error)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TimeLimitExceeded inside after `seconds`. Only a process's main thread can be limited so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_time_limit)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_time_limit(_number: int, _frame: FrameType | None) -> None:
    raise TimeLimitExceeded


def _delay(seconds: object) -> float | None:
    """Return the delay that a consumer gave in seconds; None, for that of the job or its queue, if it is no number."""
    if isinstance(seconds, Decimal | int | float) and math.isfinite(seconds):
        return min(float(seconds), _LONGEST_DELAY_SECONDS)
    if seconds is not None:
        logger.warning("consumer gave no number of seconds as the delay", extra={"delay": repr(seconds)})
    return None


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
