"""The story of a job, in the order in which it happened: created, sent, run, returned, ended. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.template.defaultfilters import filesizeformat

from offloading.jobs.queues import QueueSettings
from offloading.models import Attempt, AttemptOutcome, Job, JobState, Transfer
from offloading.templatetags.jobs import ATTEMPTS, JOBS, TRANSFERS

# What an outcome means for the job, where its name alone does not say it.
MEANINGS = {
    AttemptOutcome.FENCED: "Its result came too late and was not applied: the job had moved on meanwhile.",
    AttemptOutcome.CRASHED: "The process died with the job in it.",
    AttemptOutcome.LOST: "The instance was not heard of any more, so the job was taken from it.",
    AttemptOutcome.RELEASED: "The instance gave the job back before it was done.",
    AttemptOutcome.TIMED_OUT: "It ran longer than its time limit.",
}


@dataclass(frozen=True)
class Event:
    """One line of the story. `until` is empty while it lasts, and for what has no duration."""

    at: datetime
    tone: str
    icon: str
    title: str
    key: str
    until: datetime | None = None
    note: str = ""
    meaning: str = ""
    text: str = ""
    log: str = ""
    # A log that somebody looks for now: of what runs, or of what made the job fail.
    is_log_open: bool = False
    is_running: bool = False


@dataclass(frozen=True)
class Progress:
    """How far the running attempt says it is. `steps` 0 = it did not say how many there are."""

    step: int
    steps: int
    eta: datetime | None

    @property
    def percent(self) -> int:
        return min(100 * self.step // self.steps, 100) if self.steps else 0


@dataclass(frozen=True)
class Limit:
    """One of the limits of a job, in words, and whether it is the job's own or that of its queue."""

    label: str
    value: str
    is_own: bool


def tell(job: Job, attempts: Iterable[Attempt], transfers: Iterable[Transfer], creator: str) -> list[Event]:
    """Return the events of a job, the earliest first; `creator` names the instance that added it."""
    known = list(attempts)
    runs = [_attempt(number, attempt, number == len(known)) for number, attempt in enumerate(known, start=1)]
    ways = [_transfer(transfer) for transfer in transfers]
    added = Event(
        job.created_at, "accent", "plus", f"{'Arrived from' if job.origin else 'Added on'} {creator}", "added"
    )
    middle = sorted([*runs, *ways], key=lambda event: event.at)
    last = known[-1].message if known else ""
    return [added, *middle, *_end(job, last)]


def progress(job: Job) -> Progress | None:
    """Return how far a running job is; None if it does not run or does not tell."""
    if job.state != JobState.ACTIVE or (job.progress_steps is None and job.progress_eta is None):
        return None
    steps = job.progress_steps or 0
    return Progress(step=min(job.progress_step, steps) if steps else 0, steps=steps, eta=job.progress_eta)


def limits(job: Job, queue: QueueSettings) -> list[Limit]:
    """Return the limits that hold for a job of `queue`."""
    retries = queue.retries if job.retries is None else job.retries
    delay = queue.retry_delay_seconds if job.retry_delay_seconds is None else job.retry_delay_seconds
    limit = queue.time_limit_seconds if job.time_limit_seconds is None else job.time_limit_seconds
    used = "no end of retries" if retries < 0 else f"{job.retry_count} of {retries} used"
    return [
        Limit("Retries", used, job.retries is not None),
        Limit("Retry delay", f"{delay:g} s", job.retry_delay_seconds is not None),
        Limit("Time limit", f"{limit:g} s" if limit else "none", job.time_limit_seconds is not None),
    ]


def _attempt(number: int, attempt: Attempt, is_last: bool) -> Event:
    tone, icon = ATTEMPTS[attempt.outcome]
    verb = "Ran on" if attempt.outcome else "Runs on"
    note = f"attempt {number}"
    if attempt.outcome and attempt.outcome != AttemptOutcome.SUCCEEDED:
        note += f", {attempt.get_outcome_display().lower()}"
    return Event(
        at=attempt.started_at,
        until=attempt.ended_at,
        tone=tone,
        icon=icon,
        title=f"{verb} {attempt.instance_label or attempt.instance}",
        key=f"attempt-{number}",
        note=note,
        meaning=MEANINGS.get(AttemptOutcome(attempt.outcome), "") if attempt.outcome else "",
        text=attempt.message,
        log=attempt.log,
        is_log_open=is_last and attempt.outcome != AttemptOutcome.SUCCEEDED,
        is_running=not attempt.outcome,
    )


def _transfer(transfer: Transfer) -> Event:
    tone, icon = TRANSFERS[transfer.state]
    peer = transfer.peer_label or transfer.peer
    is_open = transfer.state in (Transfer.State.WAITING, Transfer.State.SENDING)
    sending = transfer.is_sender
    verb = {
        (True, True): "Goes to",
        (True, False): "Comes from",
        (False, True): "Sent to",
        (False, False): "Received from",
    }
    is_late = transfer.state == Transfer.State.FENCED
    return Event(
        at=transfer.started_at,
        until=transfer.finished_at,
        tone=tone,
        icon=icon if transfer.state != Transfer.State.DONE else ("arrow-up-right" if sending else "arrow-down-left"),
        title=f"{verb[is_open, sending]} {peer}",
        key=f"transfer-{transfer.pk}",
        note=_moved(transfer),
        meaning="It came too late and was kept aside: the job had moved on meanwhile." if is_late else "",
        text=transfer.error,
        is_running=transfer.state == Transfer.State.SENDING,
    )


def _moved(transfer: Transfer) -> str:
    what = "result" if transfer.direction == Transfer.Direction.BACK else "payload"
    moved = f"{filesizeformat(transfer.bytes_moved)} of {filesizeformat(transfer.bytes_total)} {what}"
    state = "" if transfer.state == Transfer.State.DONE else f", {transfer.get_state_display().lower()}"
    tries = f", {transfer.tries} tries" if transfer.tries > 1 else ""
    return moved + state + tries


def _end(job: Job, said_already: str) -> list[Event]:
    if job.finished_at is None:
        return []
    tone, icon = JOBS[job.state]
    text = "" if job.state == JobState.SUCCEEDED or job.result_message == said_already else job.result_message
    return [Event(job.finished_at, tone, icon, job.get_state_display(), "end", text=text)]
