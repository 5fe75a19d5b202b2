"""What a caller does with a job that it holds: put it back, end it, close its attempt, tell of it.

`hold` locks a running job under its fence; whoever holds a job otherwise (a waiting one, or a person's request) has
locked it himself. Which of these follows from what an attempt brought about is said in `outcomes`, which from a crash
or a lost instance in `recovery`.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from offloading import exceptions
from offloading.jobs import claims, configuration, families, signals, statements, statistics
from offloading.jobs.families import Failure
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, AttemptOutcome, Job, JobState, QueueType
from topology import wakeup

MESSAGE_LENGTH = 10_000
# By so much earlier does a job take its place for each step of its priority.
AGEING_SECONDS = 60
# A copy that came back unrun is not sent out again before its target could tell that it no longer takes the topic.
_RETURNED_DELAY_SECONDS = 3.0


def hold(*, job_id: uuid.UUID, fence: int, waits: bool = True) -> Job:
    """Lock a running job until the end of the transaction. Raises StaleFence if it is not held under `fence`.

    What somebody else has locked is waited for; unless the caller `waits`, it is stale as well.
    """
    # SQLite knows no row locks; there the transaction holds the write lock from its first statement on.
    lockable = Job.objects.select_for_update(skip_locked=not waits and statements.is_postgresql())
    held = lockable.filter(id=job_id, fence=fence, state=JobState.ACTIVE).first()
    if held is None:
        raise exceptions.StaleFence(f"Job {job_id} is no longer held under fence {fence}: its result was not written")
    return held


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
        last_fence = max(held.fence, _import_attempts(held, list(attempts)))
        finish(held, outcome_state, message, fence=last_fence, family=family)


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
            # Not counted: only its origin knows how it ends.
            _end(waiting, JobState.DROPPED, message, fence=waiting.fence + 1)
    return waiting is not None


def end(held: Job, state: JobState, outcome: AttemptOutcome, message: str) -> None:
    """End a job that the caller holds from outside, whatever its attempt is doing: that one is told by its fence."""
    close_attempt(held, outcome, message)
    finish(held, state, message, fence=held.fence + 1)


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
    finish(held, JobState.STOPPED, f"Stopped by {held.stop_requested_by}. {message}".strip(), **changes)


def set_aside(held: Job, message: str, **changes: Any) -> None:
    """End a job that the caller holds as one that people have to look at."""
    family = families.note(topic=held.topic, failure=Failure("", ""), message=message)
    finish(held, JobState.ERROR, message, family=family, **changes)


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


def finish(held: Job, state: JobState, message: str, *, seconds: float = 0.0, **changes: Any) -> JobState:
    """End a job that the caller holds in the final `state`, count it and return that; `changes` are further columns.

    `seconds` is how long its attempt ran, if it succeeded.
    """
    _end(held, state, message, **changes)
    if state == JobState.SUCCEEDED:
        count(held, finished=1, processing_ms=round(seconds * 1000))
    else:
        count(held, cancelled=1)
    return state


def count(held: Job, **counted: int) -> None:
    """Add to the statistics of the job's queue and topic."""
    statistics.count([statistics.Entry(held.queue, held.topic, **counted)])


def _end(held: Job, state: JobState, message: str, **changes: Any) -> None:
    Job.objects.filter(id=held.id).update(
        state=state,
        claimed_by="",
        not_before=None,
        finished_at=Now(),
        result_message=message[:MESSAGE_LENGTH],
        **changes,
    )
    tell(held, state)


def _import_attempts(held: Job, attempts: list[Mapping[str, Any]]) -> int:
    """Keep the target's attempts instead of ours; return their highest fence, above which later ones must lie."""
    if not attempts:
        return 0
    Attempt.objects.filter(job_id=held.id, fence=held.fence).delete()
    Attempt.objects.bulk_create((Attempt(job_id=held.id, **each) for each in attempts), ignore_conflicts=True)
    return max(int(each["fence"]) for each in attempts)
