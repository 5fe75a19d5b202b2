"""Ends of attempts that nobody reports: the worker died, the instance was lost, the other installation is gone.

Each takes the job back with its fence raised, so that whatever the former attempt still writes is refused. A job whose
attempts keep killing what runs them is set aside at the third time.
"""

import logging
import uuid
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, QuerySet

from offloading import exceptions
from offloading.jobs import claims, transitions
from offloading.models import AttemptOutcome, Job, JobState
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

MAX_CRASHES = 3
_ADVICE = "Look for what they have in common (memory, a damaged file), then retry it."


def crashed(*, job_id: uuid.UUID, fence: int) -> None:
    """The process that ran the job died. Raises StaleFence if the job moved on in the meantime."""
    message = "The worker process died while it ran the job."
    _take_back(job_id, fence, AttemptOutcome.CRASHED, message, is_crash=True)


def lost(*, job_id: uuid.UUID, fence: int) -> None:
    """The run that held the job is over. Raises StaleFence if the job moved on, or somebody has locked it.

    What was lost in the midst of a transaction must not keep the others waiting.
    """
    message = "The instance that ran the job was lost: it stopped, or its heartbeat did not come."
    _take_back(job_id, fence, AttemptOutcome.LOST, message, is_crash=True, waits=False)


def recover_lost_runs(live_run_ids: Iterable[str]) -> int:
    """Take back all jobs that are held by runs of this cluster which are not alive; return how many."""
    held = Job.objects.filter(state=JobState.ACTIVE).exclude(claimed_by__in=live_run_ids)
    return _lose_all(held.exclude(claimed_by__startswith=claims.remote_run("")))


def recover_former_runs(*, sling_id: str, run_id: str) -> int:
    """Take back the jobs that former runs of this instance held: run `run_id` has replaced them. Return how many."""
    held = Job.objects.filter(state=JobState.ACTIVE, target=sling_id).exclude(claimed_by=run_id)
    return _lose_all(held.exclude(claimed_by__startswith=claims.remote_run("")))


def recover_gone_targets(view: TopologyView) -> int:
    """Take back the jobs that were handed to instances of other clusters which the topology lost; return how many."""
    if not view.is_current:
        return 0
    here = Q(claimed_by__in=[claims.remote_run(each.sling_id) for each in view.instances])
    held = Job.objects.filter(state=JobState.ACTIVE, claimed_by__startswith=claims.remote_run("")).exclude(here)
    return sum(_give_up_remote(*row) for row in held.values_list("id", "fence", "target"))


def _lose_all(held: QuerySet[Job]) -> int:
    return sum(_lose(*row) for row in held.values_list("id", "fence"))


def _lose(job_id: uuid.UUID, fence: int) -> int:
    try:
        lost(job_id=job_id, fence=fence)
    except exceptions.StaleFence:
        return 0  # it ended, or somebody else took it back, since it was read; if not, the next look finds it again
    return 1


def _give_up_remote(job_id: uuid.UUID, fence: int, target: str) -> int:
    message = f"The topology lost instance {target}, which had the job. If its result still comes, it is too late."
    try:
        _take_back(job_id, fence, AttemptOutcome.LOST, message, is_crash=False)
    except exceptions.StaleFence:
        return 0
    return 1


def _take_back(
    job_id: uuid.UUID, fence: int, outcome: AttemptOutcome, message: str, *, is_crash: bool, waits: bool = True
) -> None:
    with transaction.atomic():
        held = transitions.hold(job_id=job_id, fence=fence, waits=waits)
        transitions.close_attempt(held, outcome, message)
        crashes = held.crash_count + is_crash
        changes = {"fence": held.fence + 1, "crash_count": crashes}
        if held.stop_requested_by:
            transitions.end_stopped(held, message, **changes)
        elif is_crash and crashes >= MAX_CRASHES:
            transitions.set_aside(
                held, f"{message} It was set aside after {crashes} such attempts. {_ADVICE}", **changes
            )
        else:
            transitions.requeue(held, message, **changes)
    facts = {"job": job_id, "fence": fence, "outcome": outcome.value, "crashes": crashes}
    logger.warning("job taken back", extra=facts)
