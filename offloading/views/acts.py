"""What a person can do with a job, and what each of it will cause. Pure; the views of `jobs` do it."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from offloading.jobs import states
from offloading.models import Job, JobState


@dataclass(frozen=True)
class Act:
    """One button. `effect` says what it will do; with `confirm` it asks first; `places` are what to choose from."""

    name: str
    label: str
    icon: str
    url: str
    effect: str
    is_danger: bool = False
    # What one most likely came for.
    is_first: bool = False
    # Already asked for: shown, and not to be pressed again.
    is_pending: bool = False
    confirm: str = ""
    question: str = ""
    places: Sequence[tuple[str, str]] = ()

    @property
    def verb(self) -> str:
        return self.question.rstrip("?")


def of(job: Job, places: Sequence[tuple[str, str]]) -> list[Act]:
    """Return what can be done with `job`; `places` are the (sling id, label) that it could wait at instead."""
    if job.state in states.FINAL:
        return [*_again(job), _delete(job)]
    return [_stop(job), *_move(job, places), _drop(job)]


def _again(job: Job) -> list[Act]:
    if job.origin:
        return []
    is_done = job.state == JobState.SUCCEEDED
    effect = "Does the work a second time." if is_done else "Starts it from the beginning, with all its retries."
    label = "Run again" if is_done else "Retry"
    has_failed = job.state in (JobState.ERROR, JobState.GIVEN_UP)
    return [Act("retry", label, "arrow-path", _url("retry", job), effect, is_first=has_failed)]


def _stop(job: Job) -> Act:
    if job.state == JobState.QUEUED:
        effect = "It does not run, and stays in the list as stopped."
        return Act("stop", "Stop", "stop-circle", _url("stop", job), effect)
    if job.stop_requested_by:
        effect = f"Asked for by {job.stop_requested_by}."
        return Act("stop", "Stopping", "stop-circle", _url("stop", job), effect, is_pending=True)
    effect = "Asks it to end. What it has not applied yet is lost."
    return Act("stop", "Stop", "stop-circle", _url("stop", job), effect)


def _move(job: Job, places: Sequence[tuple[str, str]]) -> list[Act]:
    if job.state != JobState.QUEUED or not places:
        return []
    effect = "It waits there instead."
    return [Act("move", "Move", "arrow-right-circle", _url("move", job), effect, places=places)]


def _drop(job: Job) -> Act:
    if job.state == JobState.QUEUED:
        effect = "It does not run, and stays in the list as dropped until it is removed again."
        return Act("remove", "Remove", "trash", _url("remove", job), effect, is_danger=True)
    return Act(
        "remove",
        "Remove",
        "trash",
        _url("remove", job),
        "Ends it as dropped at once. Whatever it still does will not count.",
        is_danger=True,
        confirm="It runs. Its attempt is cut off, and what it has not applied yet is lost.",
        question="Remove the running job?",
    )


def _delete(job: Job) -> Act:
    return Act(
        "remove",
        "Remove",
        "trash",
        _url("remove", job),
        "Deletes the job and its story.",
        is_danger=True,
        confirm="The job, its attempts and their logs are deleted. This cannot be undone.",
        question="Remove the job for good?",
    )


def _url(name: str, job: Job) -> str:
    return reverse(f"offloading:job-{name}", args=[job.pk])
