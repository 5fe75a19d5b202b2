"""How an attempt ends: one guarded change of the job, its attempt closed and the news told, in one transaction.

Everything takes the fence of the attempt that ends, and writes nothing if the job is no longer held under it. What
consumers bring about comes as an `Ending`, many at once; ends that nobody reports (a crash, a lost instance) are in
`recovery`. How the job itself is changed is in `transitions`.
"""

import logging
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from django.db import transaction

from offloading import exceptions
from offloading.jobs import configuration, families, queues, signals, statements, statistics, transitions
from offloading.jobs.families import Failure
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, AttemptOutcome, Job, JobState

logger = logging.getLogger(__name__)

LOG_LENGTH = 64 * 1024
_LOG_CUT = "… earlier lines were cut\n"


class Kind(StrEnum):
    """What a consumer brought about."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RAISED = "raised"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"  # ended by force, after it was asked to stop
    RELEASED = "released"  # not its fault: it shall run again, uncounted
    APPLIED = "applied"  # it wrote its outcome itself


@dataclass(frozen=True, slots=True)
class Ending:
    """How one attempt ended. `seconds` is how long it ran; `failure` says where in the code, if an exception did it."""

    job_id: uuid.UUID
    fence: int
    kind: Kind
    message: str = ""
    log: str = ""
    retry_delay_seconds: float | None = None
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass
class Log:
    """The log of an attempt: lines, bounded by dropping the oldest."""

    text: str = ""
    _is_cut: bool = field(default=False, init=False)

    def add(self, line: str) -> None:
        kept = self.text.removeprefix(_LOG_CUT) + line.rstrip("\n") + "\n"
        self._is_cut = self._is_cut or len(kept) > LOG_LENGTH
        self.text = _LOG_CUT + kept[-LOG_LENGTH:] if self._is_cut else kept


# --- Many at once -------------------------------------------------------------------------------------------------


def write_all(endings: Sequence[Ending]) -> None:
    """Write what came of many attempts, in the caller's transaction or one of its own. What is late is noted as such.

    Successes cost three statements, however many they are.
    """
    plain = [each for each in endings if each.kind == Kind.OK]
    with transaction.atomic():
        odd = [each for each in endings if each.kind not in (Kind.OK, Kind.APPLIED)]
        for each in _in_order(odd, [*odd, *plain]) if odd else ():
            _write_or_note(each)
        if plain:
            _succeed_all(plain)


def _in_order(odd: list[Ending], together: Sequence[Ending]) -> list[Ending]:
    """Lock the jobs of endings that are written together, and return the odd ones in the order of their families.

    All who write then lock jobs before families and counts, and those in the same order, and never wait in a circle.
    """
    if len(together) < 2:
        return odd
    held = Job.objects.select_for_update().filter(id__in=[each.job_id for each in together]).order_by("id")
    topic_of = dict(held.values_list("id", "topic"))
    return sorted(odd, key=lambda each: families.fingerprint(topic_of.get(each.job_id, ""), each.failure, each.message))


def write(ending: Ending) -> JobState | None:
    """Write what came of one attempt; return the state of the job then. Raises StaleFence if the job moved on."""
    with transaction.atomic():
        return _WRITERS[ending.kind](ending)


def _write_or_note(ending: Ending) -> None:
    try:
        write(ending)
    except exceptions.StaleFence:
        note_late(ending)


def note_late(ending: Ending) -> None:
    """Show that the result of an attempt came when the job was no longer its own, and was refused."""
    facts = {"job": ending.job_id, "fence": ending.fence, "result": ending.kind.value}
    logger.warning("late result refused", extra=facts)
    taken = (AttemptOutcome.LOST, AttemptOutcome.CRASHED, AttemptOutcome.RELEASED)
    attempt = Attempt.objects.filter(job_id=ending.job_id, fence=ending.fence, outcome__in=taken).first()
    if attempt is None:
        return
    message = f"{attempt.message} Its result ({ending.kind}) came later and was refused."
    attempt.outcome, attempt.message = AttemptOutcome.FENCED, message[: transitions.MESSAGE_LENGTH]
    attempt.save(update_fields=["outcome", "message"])


def _succeed_all(endings: Sequence[Ending]) -> None:
    rows, parameters = statements.table(
        {
            "uuid": statements.keys(each.job_id for each in endings),
            "bigint": [each.fence for each in endings],
            "text": [each.message[: transitions.MESSAGE_LENGTH] for each in endings],
            "float": [each.seconds for each in endings],
        }
    )
    done = statements.run(
        f"WITH ended(id, fence, message, seconds) AS ({rows}) UPDATE offloading_job SET state = 'SUCCEEDED', "
        f"claimed_by = '', finished_at = {statements.now()}, started_at = {statements.shifted('-ended.seconds')}, "
        "result_message = ended.message FROM ended WHERE offloading_job.id = ended.id "
        f"AND offloading_job.fence = ended.fence AND {statements.ROW_IS_ACTIVE} "
        "RETURNING offloading_job.id, topic, queue, origin, target",
        parameters,
    )
    facts = {statements.to_uuid(row[0]): row[1:] for row in done}
    held = [each for each in endings if each.job_id in facts]
    if held:
        _close_all(held)
        took = ((facts[each.job_id][1], facts[each.job_id][0], each.seconds) for each in held)
        statistics.count(
            statistics.Entry(queue, topic, finished=number, processing_ms=spent)
            for queue, topic, number, spent in statistics.by_topic(took)
        )
        signals.tell(
            *(
                JobChange(job_id, topic, JobState.SUCCEEDED, JobState.ACTIVE, queue, origin, target)
                for job_id, (topic, queue, origin, target) in facts.items()
            )
        )
    for each in endings:
        if each.job_id not in facts:
            note_late(each)


def _close_all(endings: Sequence[Ending]) -> None:
    rows, parameters = statements.table(
        {
            "uuid": statements.keys(each.job_id for each in endings),
            "bigint": [each.fence for each in endings],
            "text": [each.message[: transitions.MESSAGE_LENGTH] for each in endings],
            "text 2": [each.log for each in endings],
            "float": [each.seconds for each in endings],
        }
    )
    statements.run(
        f"WITH ended(id, fence, message, log, seconds) AS ({rows}) UPDATE offloading_attempt SET "
        f"outcome = 'SUCCEEDED', ended_at = {statements.now()}, started_at = {statements.shifted('-ended.seconds')}, "
        # An empty log stands for "nothing new": what was written while the attempt ran must stay.
        "message = ended.message, log = CASE WHEN ended.log = '' THEN offloading_attempt.log ELSE ended.log END "
        "FROM ended WHERE job_id = ended.id AND offloading_attempt.fence = ended.fence AND outcome = ''",
        parameters,
    )


# --- One at a time ------------------------------------------------------------------------------------------------


def write_log(*, job_id: uuid.UUID, fence: int, log: str) -> None:
    """Show the log of a running attempt as it is so far."""
    Attempt.objects.filter(job_id=job_id, fence=fence, outcome="").update(log=log)


def succeed(*, job_id: uuid.UUID, fence: int, message: str = "", log: str = "", seconds: float = 0.0) -> None:
    """The work is done. For the one that writes its own outcome with what it changes; others send an `Ending`."""
    write(Ending(job_id, fence, Kind.OK, message, log, seconds=seconds))


def error(*, job_id: uuid.UUID, fence: int, message: str) -> None:
    """Nothing will come of the job: it ends as an error."""
    write(Ending(job_id, fence, Kind.CANCELLED, message))


def release(*, job_id: uuid.UUID, fence: int, message: str) -> None:
    """Give a job back unfinished, counted neither as a retry nor as a crash."""
    write(Ending(job_id, fence, Kind.RELEASED, message))


def _write_success(ending: Ending) -> JobState:
    held = transitions.hold(job_id=ending.job_id, fence=ending.fence)
    transitions.close_attempt(held, AttemptOutcome.SUCCEEDED, ending.message, ending.log)
    return transitions.finish(held, JobState.SUCCEEDED, ending.message, seconds=ending.seconds)


def _write_failure(ending: Ending) -> JobState:
    outcome = AttemptOutcome.TIMED_OUT if ending.kind == Kind.TIMED_OUT else AttemptOutcome.FAILED
    return _fail(transitions.hold(job_id=ending.job_id, fence=ending.fence), outcome, ending)


def _write_exception(ending: Ending) -> JobState:
    """An exception is final, unless the queue has it retried."""
    held = transitions.hold(job_id=ending.job_id, fence=ending.fence)
    if configuration.queue_of(held.topic).settings.retry_on_exception:
        return _fail(held, AttemptOutcome.ERROR, ending)
    transitions.close_attempt(held, AttemptOutcome.ERROR, ending.message, ending.log)
    return transitions.finish(held, JobState.ERROR, ending.message, family=_family(held, ending))


def _write_cancellation(ending: Ending) -> JobState:
    """The consumer gave up: because somebody asked it to stop, or for a reason of its own."""
    held = transitions.hold(job_id=ending.job_id, fence=ending.fence)
    if held.stop_requested_by:
        return _stop(held, ending)
    transitions.close_attempt(held, AttemptOutcome.ERROR, ending.message, ending.log)
    return transitions.finish(held, JobState.ERROR, ending.message, family=_family(held, ending))


def _write_stop(ending: Ending) -> JobState:
    return _stop(transitions.hold(job_id=ending.job_id, fence=ending.fence), ending)


def _write_release(ending: Ending) -> JobState:
    held = transitions.hold(job_id=ending.job_id, fence=ending.fence)
    transitions.close_attempt(held, AttemptOutcome.RELEASED, ending.message, ending.log)
    if held.stop_requested_by:
        transitions.end_stopped(held, "", fence=held.fence + 1)
        return JobState.STOPPED
    transitions.requeue(held, ending.message, fence=held.fence + 1)
    return JobState.QUEUED


def _write_nothing(_ending: Ending) -> None:
    """The consumer did it, with `RunningJob.apply`."""


_WRITERS: Mapping[Kind, Callable[[Ending], JobState | None]] = {
    Kind.OK: _write_success,
    Kind.FAILED: _write_failure,
    Kind.TIMED_OUT: _write_failure,
    Kind.RAISED: _write_exception,
    Kind.CANCELLED: _write_cancellation,
    Kind.STOPPED: _write_stop,
    Kind.RELEASED: _write_release,
    Kind.APPLIED: _write_nothing,
}


def _fail(held: Job, outcome: AttemptOutcome, ending: Ending) -> JobState:
    """Have the job wait for its next attempt, or give it up."""
    transitions.close_attempt(held, outcome, ending.message, ending.log)
    if held.stop_requested_by:
        return transitions.finish(held, JobState.STOPPED, f"Stopped by {held.stop_requested_by}: {ending.message}")
    settings = configuration.queue_of(held.topic).settings
    retries = settings.retries if held.retries is None else held.retries
    if 0 <= retries <= held.retry_count:
        return transitions.finish(held, JobState.GIVEN_UP, ending.message, family=_family(held, ending))
    delay = ending.retry_delay_seconds
    if delay is None:
        delay = queues.retry_delay(settings, held.retry_count + 1, held.retry_delay_seconds, random.random)
    transitions.count(held, failed=1)
    transitions.requeue(held, ending.message, delay_seconds=delay, retry_count=held.retry_count + 1)
    return JobState.QUEUED


def _stop(held: Job, ending: Ending) -> JobState:
    message = f"Stopped by {held.stop_requested_by}" + (f": {ending.message}" if ending.message else "")
    transitions.close_attempt(held, AttemptOutcome.STOPPED, message, ending.log)
    return transitions.finish(held, JobState.STOPPED, message)


def _family(held: Job, ending: Ending) -> str:
    return families.note(topic=held.topic, failure=ending.failure or Failure("", ""), message=ending.message)
