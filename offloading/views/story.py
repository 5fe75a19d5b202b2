"""The story of a job, in the order in which it happened: created, sent, run, returned, ended. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.template.defaultfilters import filesizeformat

from offloading.models import Attempt, AttemptOutcome, Job, JobState, Transfer
from offloading.templatetags.jobs import ATTEMPTS, JOBS, TRANSFERS


@dataclass(frozen=True)
class Event:
    """One line of the story. `until` is empty while it lasts, and for what has no duration."""

    at: datetime
    tone: str
    icon: str
    title: str
    until: datetime | None = None
    note: str = ""
    text: str = ""
    log: str = ""
    is_running: bool = False


def tell(job: Job, attempts: Iterable[Attempt], transfers: Iterable[Transfer], creator: str) -> list[Event]:
    """Return the events of a job, the earliest first; `creator` names the instance that added it."""
    runs = [_attempt(number, attempt) for number, attempt in enumerate(attempts, start=1)]
    ways = [_transfer(transfer) for transfer in transfers]
    added = Event(job.created_at, "accent", "plus", f"{'Arrived from' if job.origin else 'Added on'} {creator}")
    middle = sorted([*runs, *ways], key=lambda event: event.at)
    return [added, *middle, *_end(job)]


def _attempt(number: int, attempt: Attempt) -> Event:
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
        note=note,
        text=attempt.message,
        log=attempt.log,
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
    return Event(
        at=transfer.started_at,
        until=transfer.finished_at,
        tone=tone,
        icon=icon if transfer.state != Transfer.State.DONE else ("arrow-up-right" if sending else "arrow-down-left"),
        title=f"{verb[is_open, sending]} {peer}",
        note=_moved(transfer),
        text=transfer.error,
        is_running=transfer.state == Transfer.State.SENDING,
    )


def _moved(transfer: Transfer) -> str:
    what = "result" if transfer.direction == Transfer.Direction.BACK else "payload"
    moved = f"{filesizeformat(transfer.bytes_moved)} of {filesizeformat(transfer.bytes_total)} {what}"
    state = "" if transfer.state == Transfer.State.DONE else f", {transfer.get_state_display().lower()}"
    tries = f", {transfer.tries} tries" if transfer.tries > 1 else ""
    return moved + state + tries


def _end(job: Job) -> list[Event]:
    if job.finished_at is None:
        return []
    tone, icon = JOBS[job.state]
    text = "" if job.state == JobState.SUCCEEDED else job.result_message
    return [Event(job.finished_at, tone, icon, job.get_state_display(), text=text)]
