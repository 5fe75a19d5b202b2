"""How an attempt ends: one guarded change of the job, its attempt closed and the news told, in one transaction.

Each function takes the fence of the attempt that ends, and raises StaleFence if the job is no longer held under it;
then nothing was written. Ends that nobody reports (a crash, a lost instance) are in `recovery`.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now

from offloading import exceptions
from offloading.jobs import claims, signals
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, AttemptOutcome, Job, JobState
from topology import wakeup

MESSAGE_LENGTH = 10_000
LOG_LENGTH = 64 * 1024
_LOG_CUT = "… earlier lines were cut\n"
# A copy that came back unrun is not sent out again before its target could tell that it no longer takes the topic.
_RETURNED_DELAY_SECONDS = 3.0


@dataclass
class Log:
    """The log of an attempt: lines, bounded by dropping the oldest."""

    text: str = ""
    _is_cut: bool = field(default=False, init=False)

    def add(self, line: str) -> None:
        kept = self.text.removeprefix(_LOG_CUT) + line.rstrip("\n") + "\n"
        self._is_cut = self._is_cut or len(kept) > LOG_LENGTH
        self.text = _LOG_CUT + kept[-LOG_LENGTH:] if self._is_cut else kept


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


def succeed(*, job_id: uuid.UUID, fence: int, message: str = "", log: str = "") -> None:
    """The work is done."""
    with transaction.atomic():
        held = hold(job_id=job_id, fence=fence)
        _finish(held, JobState.SUCCEEDED, message)
        close_attempt(held, AttemptOutcome.SUCCEEDED, message, log)


def fail(
    *, job_id: uuid.UUID, fence: int, message: str = "", log: str = "", retry_delay_seconds: float | None = None
) -> JobState:
    """The attempt failed: the job waits for its next one, or is given up. Returns its state after that."""
    with transaction.atomic():
        held = hold(job_id=job_id, fence=fence)
        close_attempt(held, AttemptOutcome.FAILED, message, log)
        if 0 <= held.retries <= held.retry_count:
            return _finish(held, JobState.GIVEN_UP, message)
        delay = held.retry_delay_seconds if retry_delay_seconds is None else retry_delay_seconds
        requeue(held, message, delay_seconds=delay, retry_count=held.retry_count + 1)
        return JobState.QUEUED


def error(*, job_id: uuid.UUID, fence: int, message: str, log: str = "") -> None:
    """The consumer cancelled the job or raised an exception: it is not tried again."""
    with transaction.atomic():
        held = hold(job_id=job_id, fence=fence)
        _finish(held, JobState.ERROR, message)
        close_attempt(held, AttemptOutcome.ERROR, message, log)


def release(*, job_id: uuid.UUID, fence: int, message: str) -> None:
    """Give a job back unfinished, counted neither as a retry nor as a crash."""
    with transaction.atomic():
        held = hold(job_id=job_id, fence=fence)
        close_attempt(held, AttemptOutcome.RELEASED, message)
        requeue(held, message, fence=held.fence + 1)


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
        _finish(held, outcome_state, message, fence=max(held.fence, _import_attempts(held, list(attempts))))


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
    _finish(held, state, message, fence=held.fence + 1)


def requeue(held: Job, message: str, *, delay_seconds: float = 0.0, **changes: Any) -> None:
    """Put a job that the caller holds back among the waiting ones; `changes` are further columns."""
    due = ExpressionWrapper(Now() + timedelta(seconds=delay_seconds), output_field=DateTimeField())
    Job.objects.filter(id=held.id).update(
        state=JobState.QUEUED,
        claimed_by="",
        started_at=None,
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


def set_aside(held: Job, message: str, **changes: Any) -> None:
    """End a job that the caller holds as one that people have to look at."""
    _finish(held, JobState.ERROR, message, **changes)


def close_attempt(held: Job, outcome: AttemptOutcome, message: str, log: str = "") -> None:
    """Close the running attempt of a job that the caller holds."""
    # An empty log stands for "nothing new": what was written while the attempt ran must stay.
    extra = {"log": log} if log else {}
    Attempt.objects.filter(job_id=held.id, fence=held.fence, outcome="").update(
        ended_at=Now(), outcome=outcome, message=message[:MESSAGE_LENGTH], **extra
    )


def tell(held: Job, state: JobState) -> None:
    signals.tell(JobChange(held.id, held.topic, state, held.state, held.queue, held.origin, held.target))


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
