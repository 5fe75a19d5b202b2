"""The audit log of jobs: one line for each step of each job, in Sling's words, with the facts beside them.

Sling calls this logger `org.apache.sling.event.jobs.audit`. It speaks at DEBUG, when the transaction is committed;
while that level is off it costs one question.
"""

import logging
from typing import Any

from django.db import transaction

from offloading.jobs import signals, states
from offloading.jobs.signals import JobChange
from offloading.models import JobState

logger = logging.getLogger("offloading.jobs.audit")


def on_jobs_changed(changes: tuple[JobChange, ...], **_: Any) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        transaction.on_commit(lambda: _write(changes), robust=True)


def say(words: str, **facts: Any) -> None:
    """Write what is no change of a job when the transaction is committed: ADD FAILED, SCHEDULED OK and the like."""
    if logger.isEnabledFor(logging.DEBUG):
        transaction.on_commit(lambda: logger.debug(words, extra=facts), robust=True)


def _write(changes: tuple[JobChange, ...]) -> None:
    for change in changes:
        facts = {"job": change.job_id, "topic": change.topic, "queue": change.queue, "instance": change.target}
        if change.state:
            facts["state"] = change.state
        for words in step(change):
            logger.debug(words, extra=facts)


def step(change: JobChange) -> tuple[str, ...]:
    """Return what a change is called. A new job is added, and then assigned or not."""
    if not change.state:
        return ("REMOVE OK",)
    if change.state == JobState.ACTIVE:
        return ("START OK",)
    if change.state != JobState.QUEUED:
        return ("FINISHED",)
    if change.previous == JobState.QUEUED:
        return ("REASSIGN OK",) if change.target else ("REUNASSIGN OK",)
    assigned = "ASSIGN OK" if change.target else "UNASSIGN OK"
    if change.previous == "" or change.previous in states.FINAL:
        return ("ADD OK", assigned)
    return ("FINISHED", assigned)


def connect() -> None:
    """Begin to listen to what happens to jobs."""
    signals.jobs_changed.connect(on_jobs_changed, dispatch_uid="job-audit")
