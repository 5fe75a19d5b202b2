"""How the states of jobs, attempts and transfers look: one icon, one word, one tone each."""

from django import template

from offloading.jobs.filters import DELAYED, UNASSIGNED
from offloading.models import Attempt, AttemptOutcome, Job, JobState, Transfer

register = template.Library()

BADGE = "ui/_badge.html"
Look = tuple[str, str]  # tone and icon

JOBS: dict[str, Look] = {
    JobState.QUEUED: ("quiet", "clock"),
    UNASSIGNED: ("warn", "question-mark-circle"),
    DELAYED: ("quiet", "bell-snooze"),
    JobState.ACTIVE: ("busy", "arrow-path"),
    JobState.SUCCEEDED: ("good", "check-circle"),
    JobState.STOPPED: ("quiet", "stop-circle"),
    JobState.GIVEN_UP: ("danger", "hand-raised"),
    JobState.ERROR: ("danger", "x-circle"),
    JobState.DROPPED: ("quiet", "minus-circle"),
}
ATTEMPTS: dict[str, Look] = {
    "": ("busy", "arrow-path"),
    AttemptOutcome.SUCCEEDED: ("good", "check"),
    AttemptOutcome.FAILED: ("warn", "exclamation-triangle"),
    AttemptOutcome.ERROR: ("danger", "x-mark"),
    AttemptOutcome.STOPPED: ("quiet", "stop"),
    AttemptOutcome.CRASHED: ("danger", "bolt-slash"),
    AttemptOutcome.LOST: ("danger", "signal-slash"),
    AttemptOutcome.RELEASED: ("quiet", "arrow-uturn-left"),
    AttemptOutcome.TIMED_OUT: ("danger", "clock"),
    AttemptOutcome.FENCED: ("warn", "exclamation-triangle"),
}
TRANSFERS: dict[str, Look] = {
    Transfer.State.WAITING: ("quiet", "clock"),
    Transfer.State.SENDING: ("busy", "arrow-path"),
    Transfer.State.DONE: ("good", "check"),
    Transfer.State.PARKED: ("danger", "pause-circle"),
    Transfer.State.FENCED: ("warn", "clock"),
}


@register.inclusion_tag(BADGE)
def job_state(job: Job) -> dict[str, object]:
    """Show the state of a job. Without an instance, and waiting for a time, are states of their own to people."""
    text = str(job.get_state_display())
    if job.state == JobState.QUEUED and not job.target:
        return badge(JOBS[UNASSIGNED], "No instance")
    if job.state == JobState.QUEUED and job.not_before:
        return badge(JOBS[DELAYED], "Delayed")
    return badge(JOBS[job.state], text, moving=job.state == JobState.ACTIVE)


@register.filter
def is_long(text: str) -> bool:
    """Say whether a value of a payload gets a box to scroll in, which a keyboard must reach then."""
    return len(text) > 400 or text.count("\n") > 8


@register.inclusion_tag(BADGE)
def attempt_outcome(attempt: Attempt) -> dict[str, object]:
    """Show how an attempt ended."""
    text = str(attempt.get_outcome_display()) or "Running"
    return badge(ATTEMPTS[attempt.outcome], text, moving=not attempt.outcome)


@register.inclusion_tag(BADGE)
def transfer_state(transfer: Transfer) -> dict[str, object]:
    """Show how far a transfer is."""
    moving = transfer.state == Transfer.State.SENDING
    return badge(TRANSFERS[transfer.state], str(transfer.get_state_display()), moving=moving)


def badge(look: Look, text: str, *, moving: bool = False) -> dict[str, object]:
    tone, icon = look
    return {"tone": tone, "icon": icon, "text": text, "moving": moving}
