"""The life of a job as a table: which event takes it from which state to which. Nothing else may change a state.

Pure. Each row is carried out by one guarded UPDATE in `claims`, `transitions` or `manager`. The page
docs/explanation/job-lifecycle.md shows this table, and a test compares the two.
"""

from dataclasses import dataclass
from enum import StrEnum

from offloading.models import JobState

WAITING = frozenset({JobState.QUEUED})
RUNNING = frozenset({JobState.ACTIVE})
UNFINISHED = WAITING | RUNNING
FINAL = frozenset(JobState) - UNFINISHED


class Event(StrEnum):
    """What can happen to a job."""

    CLAIM = "claimed"
    SUCCEED = "succeeded"
    FAIL = "failed"
    CANCEL = "cancelled"
    RELEASE = "released"
    CRASH = "worker died"
    LOSE = "instance lost"
    STOP = "stopped"
    DROP = "removed"
    RETRY = "retried"


@dataclass(frozen=True)
class Transition:
    """One row: `event` takes a job from any of `sources` to `target`, provided that `condition` holds."""

    event: Event
    sources: frozenset[JobState]
    target: JobState
    condition: str = ""


TRANSITIONS = (
    Transition(Event.CLAIM, WAITING, JobState.ACTIVE, "its target is here, and it is due"),
    Transition(Event.SUCCEED, RUNNING, JobState.SUCCEEDED),
    Transition(Event.FAIL, RUNNING, JobState.QUEUED, "failed or over its time limit; retries are left"),
    Transition(Event.FAIL, RUNNING, JobState.GIVEN_UP, "failed or over its time limit; no retry is left"),
    Transition(Event.CANCEL, RUNNING, JobState.ERROR, "the consumer cancelled it or raised"),
    Transition(Event.RELEASE, RUNNING, JobState.QUEUED, "given back unfinished, or never begun"),
    Transition(Event.CRASH, RUNNING, JobState.QUEUED, "fewer than 3 crashes"),
    Transition(Event.CRASH, RUNNING, JobState.ERROR, "the third crash: set aside"),
    Transition(Event.LOSE, RUNNING, JobState.QUEUED, "fewer than 3 crashes"),
    Transition(Event.LOSE, RUNNING, JobState.ERROR, "the third crash: set aside"),
    Transition(Event.STOP, UNFINISHED, JobState.STOPPED, "a running one is asked first"),
    Transition(Event.DROP, UNFINISHED, JobState.DROPPED),
    Transition(Event.RETRY, FINAL, JobState.QUEUED, "asked for by a person or a program"),
)


def sources(event: Event) -> frozenset[JobState]:
    """Return the states in which `event` may happen."""
    return frozenset().union(*(row.sources for row in TRANSITIONS if row.event == event))


def targets(event: Event) -> frozenset[JobState]:
    """Return the states that `event` may lead to."""
    return frozenset(row.target for row in TRANSITIONS if row.event == event)


def is_allowed(source: JobState, target: JobState) -> bool:
    """Say whether any event takes a job from `source` to `target`."""
    return any(source in row.sources and row.target == target for row in TRANSITIONS)
