"""How an attempt ends: one guarded change of the job, its attempt closed and the news told, in one transaction.

Everything takes the fence of the attempt that ends, and writes nothing if the job is no longer held under it. What
consumers bring about comes as an `Ending`, many at once; ends that nobody reports (a crash, a lost instance) are in
`recovery`.
"""

import logging
import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from offloading import exceptions
from offloading.jobs import claims, configuration, families, queues, signals, statements, statistics
from offloading.jobs.families import Failure
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, AttemptOutcome, Job, JobState, QueueType
from topology import wakeup

logger = logging.getLogger(__name__)

MESSAGE_LENGTH = 10_000
LOG_LENGTH = 64 * 1024
_LOG_CUT = "… earlier lines were cut\n"
# By so much earlier does a job take its place for each step of its priority.
AGEING_SECONDS = 60
# A copy that came back unrun is not sent out again before its target could tell that it no longer takes the topic.
_RETURNED_DELAY_SECONDS = 3.0


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
    attempt.outcome, attempt.message = AttemptOutcome.FENCED, message[:MESSAGE_LENGTH]
    attempt.save(update_fields=["outcome", "message"])


def _succeed_all(endings: Sequence[Ending]) -> None:
    rows, parameters = statements.table(
        {
            "uuid": statements.keys(each.job_id for each in endings),
            "bigint": [each.fence for each in endings],
            "text": [each.message[:MESSAGE_LENGTH] for each in endings],
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
        _count_all(held, facts)
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
            "text": [each.message[:MESSAGE_LENGTH] for each in endings],
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


def _count_all(endings: Iterable[Ending], facts: Mapping[uuid.UUID, tuple[Any, ...]]) -> None:
    sums: dict[tuple[str, str], list[float]] = {}
    for each in endings:
        topic, queue = facts[each.job_id][:2]
        sum_ = sums.setdefault((queue, topic), [0, 0.0])
        sum_[0] += 1
        sum_[1] += each.seconds
    statistics.count(
        statistics.Entry(queue, topic, finished=int(count), processing_ms=_ms(seconds))
        for (queue, topic), (count, seconds) in sums.items()
    )


# --- One at a time ------------------------------------------------------------------------------------------------


def hold(*, job_id: uuid.UUID, fence: int) -> Job:
    """Lock a running job until the end of the transaction. Raises StaleFence if it is not held under `fence`."""
    # SQLite knows no row locks; there the transaction holds the write lock from its first statement on.
    held = Job.objects.select_for_update().filter(id=job_id, fence=fence, state=JobState.ACTIVE).first()
    if held is None:
        raise exceptions.StaleFence(f"Job {job_id} is no longer held under fence {fence}: its result was not written")
    return held


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
    held = hold(job_id=ending.job_id, fence=ending.fence)
    close_attempt(held, AttemptOutcome.SUCCEEDED, ending.message, ending.log)
    _count(held, finished=1, processing_ms=_ms(ending.seconds))
    return _finish(held, JobState.SUCCEEDED, ending.message)


def _write_failure(ending: Ending) -> JobState:
    outcome = AttemptOutcome.TIMED_OUT if ending.kind == Kind.TIMED_OUT else AttemptOutcome.FAILED
    return _fail(hold(job_id=ending.job_id, fence=ending.fence), outcome, ending)


def _write_exception(ending: Ending) -> JobState:
    """An exception is final, unless the queue has it retried."""
    held = hold(job_id=ending.job_id, fence=ending.fence)
    if configuration.queue_of(held.topic).settings.retry_on_exception:
        return _fail(held, AttemptOutcome.ERROR, ending)
    close_attempt(held, AttemptOutcome.ERROR, ending.message, ending.log)
    _count(held, cancelled=1)
    return _finish(held, JobState.ERROR, ending.message, family=_family(held, ending))


def _write_cancellation(ending: Ending) -> JobState:
    """The consumer gave up: because somebody asked it to stop, or for a reason of its own."""
    held = hold(job_id=ending.job_id, fence=ending.fence)
    if held.stop_requested_by:
        return _stop(held, ending)
    close_attempt(held, AttemptOutcome.ERROR, ending.message, ending.log)
    _count(held, cancelled=1)
    return _finish(held, JobState.ERROR, ending.message, family=_family(held, ending))


def _write_stop(ending: Ending) -> JobState:
    return _stop(hold(job_id=ending.job_id, fence=ending.fence), ending)


def _write_release(ending: Ending) -> JobState:
    held = hold(job_id=ending.job_id, fence=ending.fence)
    close_attempt(held, AttemptOutcome.RELEASED, ending.message, ending.log)
    if held.stop_requested_by:
        end_stopped(held, "", fence=held.fence + 1)
        return JobState.STOPPED
    requeue(held, ending.message, fence=held.fence + 1)
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
    close_attempt(held, outcome, ending.message, ending.log)
    if held.stop_requested_by:
        _count(held, cancelled=1)
        return _finish(held, JobState.STOPPED, f"Stopped by {held.stop_requested_by}: {ending.message}")
    settings = configuration.queue_of(held.topic).settings
    retries = settings.retries if held.retries is None else held.retries
    if 0 <= retries <= held.retry_count:
        _count(held, cancelled=1)
        return _finish(held, JobState.GIVEN_UP, ending.message, family=_family(held, ending))
    delay = ending.retry_delay_seconds
    if delay is None:
        delay = queues.retry_delay(settings, held.retry_count + 1, held.retry_delay_seconds, random.random)
    _count(held, failed=1)
    requeue(held, ending.message, delay_seconds=delay, retry_count=held.retry_count + 1)
    return JobState.QUEUED


def _stop(held: Job, ending: Ending) -> JobState:
    message = f"Stopped by {held.stop_requested_by}" + (f": {ending.message}" if ending.message else "")
    close_attempt(held, AttemptOutcome.STOPPED, message, ending.log)
    _count(held, cancelled=1)
    return _finish(held, JobState.STOPPED, message)


def _family(held: Job, ending: Ending) -> str:
    return families.note(topic=held.topic, failure=ending.failure or Failure("", ""), message=ending.message)


def _count(held: Job, **counted: int) -> None:
    statistics.count([statistics.Entry(held.queue, held.topic, **counted)])


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


# --- From outside -------------------------------------------------------------------------------------------------


def finish_remote(
    *,
    job_id: uuid.UUID,
    fence: int,
    outcome_state: JobState,
    message: str = "",
    attempts: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Write at the origin how the copy of a job ended at its target, in the caller's transaction.

    `attempts` are the target's, as keyword arguments of Attempt; they replace the one that stands here for the way
    there. Raises StaleFence if the job moved on; the caller's transaction should then change nothing.
    A copy that was DROPPED came back unrun: the job is placed again.
    """
    with transaction.atomic():
        held = hold(job_id=job_id, fence=fence)
        if outcome_state == JobState.DROPPED:
            close_attempt(held, AttemptOutcome.RELEASED, message)
            requeue(held, message, fence=held.fence + 1, target="", delay_seconds=_RETURNED_DELAY_SECONDS)
            return
        close_attempt(held, _REMOTE_OUTCOMES[outcome_state], message)
        has_failed = outcome_state in (JobState.ERROR, JobState.GIVEN_UP)
        family = families.note(topic=held.topic, failure=Failure("", ""), message=message) if has_failed else ""
        is_done = outcome_state == JobState.SUCCEEDED
        _count(held, finished=int(is_done), cancelled=int(not is_done))
        last_fence = max(held.fence, _import_attempts(held, list(attempts)))
        _finish(held, outcome_state, message, fence=last_fence, family=family)


_REMOTE_OUTCOMES = {
    JobState.SUCCEEDED: AttemptOutcome.SUCCEEDED,
    JobState.ERROR: AttemptOutcome.ERROR,
    JobState.GIVEN_UP: AttemptOutcome.FAILED,
    JobState.STOPPED: AttemptOutcome.STOPPED,
}


def drop_waiting(*, job_id: uuid.UUID, message: str) -> bool:
    """End a job that nobody has started as DROPPED; return whether it was still waiting."""
    with transaction.atomic():
        waiting = Job.objects.select_for_update().filter(id=job_id, state=JobState.QUEUED).first()
        if waiting is not None:
            _finish(waiting, JobState.DROPPED, message, fence=waiting.fence + 1)
    return waiting is not None


def end(held: Job, state: JobState, outcome: AttemptOutcome, message: str) -> None:
    """End a job that the caller holds from outside, whatever its attempt is doing: that one is told by its fence."""
    close_attempt(held, outcome, message)
    _count(held, cancelled=1)
    _finish(held, state, message, fence=held.fence + 1)


def requeue(held: Job, message: str, *, delay_seconds: float = 0.0, **changes: Any) -> None:
    """Put a job that the caller holds back among the waiting ones; `changes` are further columns.

    One that failed takes its place at the end, as if it were new; one that was taken back keeps its place, and so does
    every job of an ordered queue.
    """
    due = _in_seconds(delay_seconds)
    queue = configuration.queue_of(held.topic)
    if "retry_count" in changes and queue.settings.type != QueueType.ORDERED:
        changes["rank_at"] = _in_seconds(delay_seconds - held.priority * AGEING_SECONDS)
    Job.objects.filter(id=held.id).update(
        state=JobState.QUEUED,
        queue=queue.name,
        claimed_by="",
        started_at=None,
        queued_at=due,
        not_before=due if delay_seconds > 0 else None,
        result_message=message[:MESSAGE_LENGTH],
        **changes,
    )
    tell(held, JobState.QUEUED)
    target = changes.get("target", held.target)
    if not target:
        wakeup.notify("placement")
    elif claims.remote_target(held.claimed_by):
        wakeup.notify("transport")
    else:
        wakeup.notify("jobs", target)


def end_stopped(held: Job, message: str, **changes: Any) -> None:
    """End a job that the caller holds, and that somebody asked to stop, without running it again."""
    _count(held, cancelled=1)
    _finish(held, JobState.STOPPED, f"Stopped by {held.stop_requested_by}. {message}".strip(), **changes)


def set_aside(held: Job, message: str, **changes: Any) -> None:
    """End a job that the caller holds as one that people have to look at."""
    family = families.note(topic=held.topic, failure=Failure("", ""), message=message)
    _count(held, cancelled=1)
    _finish(held, JobState.ERROR, message, family=family, **changes)


def close_attempt(held: Job, outcome: AttemptOutcome, message: str, log: str = "") -> None:
    """Close the running attempt of a job that the caller holds."""
    # An empty log stands for "nothing new": what was written while the attempt ran must stay.
    extra = {"log": log} if log else {}
    Attempt.objects.filter(job_id=held.id, fence=held.fence, outcome="").update(
        ended_at=Now(), outcome=outcome, message=message[:MESSAGE_LENGTH], **extra
    )


def tell(held: Job, state: JobState) -> None:
    signals.tell(JobChange(held.id, held.topic, state, held.state, held.queue, held.origin, held.target))


def rank(priority: int) -> Any:
    """Return the place of a job that begins to wait now."""
    return _in_seconds(-priority * AGEING_SECONDS)


def _in_seconds(seconds: float) -> Any:
    # In the words of those who add jobs: SQLite compares times as texts, and Django would write them with more digits.
    return RawSQL(statements.shifted("%s"), [seconds], output_field=DateTimeField())


def _finish(held: Job, state: JobState, message: str, **changes: Any) -> JobState:
    Job.objects.filter(id=held.id).update(
        state=state,
        claimed_by="",
        not_before=None,
        finished_at=Now(),
        result_message=message[:MESSAGE_LENGTH],
        **changes,
    )
    tell(held, state)
    return state


def _import_attempts(held: Job, attempts: list[Mapping[str, Any]]) -> int:
    """Keep the target's attempts instead of ours; return their highest fence, above which later ones must lie."""
    if not attempts:
        return 0
    Attempt.objects.filter(job_id=held.id, fence=held.fence).delete()
    Attempt.objects.bulk_create((Attempt(job_id=held.id, **each) for each in attempts), ignore_conflicts=True)
    return max(int(each["fence"]) for each in attempts)
