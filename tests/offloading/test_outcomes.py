"""How attempts end, each only under the fence that is in force, here and at another installation."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from offloading.exceptions import StaleFence
from offloading.jobs import manager, outcomes, transitions
from offloading.jobs.outcomes import Ending, Kind
from offloading.models import Attempt, AttemptOutcome, JobState
from tests.offloading.held import hold, row
from tests.offloading.topologies import establish

pytestmark = pytest.mark.django_db

ENDS = {
    "succeed": outcomes.succeed,
    "fail": lambda **key: outcomes.write(Ending(**key, kind=Kind.FAILED)),
    "time out": lambda **key: outcomes.write(Ending(**key, kind=Kind.TIMED_OUT)),
    "raise": lambda **key: outcomes.write(Ending(**key, kind=Kind.RAISED)),
    "stop": lambda **key: outcomes.write(Ending(**key, kind=Kind.STOPPED)),
    "error": lambda **key: outcomes.error(**key, message=""),
    "release": lambda **key: outcomes.release(**key, message=""),
    "finish_remote": lambda **key: transitions.finish_remote(**key, outcome_state=JobState.SUCCEEDED),
}


@pytest.fixture
def local():
    return establish(topics="")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("offset", [-1, 1])
def test_wrong_fence_changes_nothing(local, end, offset):
    claim = hold(local)
    before = row(claim)
    with pytest.raises(StaleFence):
        ENDS[end](job_id=claim.job_id, fence=claim.fence + offset)
    after = row(claim)
    assert (after.state, after.fence, after.claimed_by) == (before.state, before.fence, before.claimed_by)
    assert after.attempts.get().outcome == ""


@pytest.mark.parametrize("end", ENDS)
def test_attempt_ends_once(local, end):
    claim = hold(local)
    outcomes.succeed(job_id=claim.job_id, fence=claim.fence)
    with pytest.raises(StaleFence):
        ENDS[end](job_id=claim.job_id, fence=claim.fence)
    assert row(claim).state == JobState.SUCCEEDED


def test_endless_retries_never_give_up(local):
    claim = hold(local, retries=-1, retry_count=10_000)
    assert outcomes.write(Ending(claim.job_id, claim.fence, Kind.FAILED)) == JobState.QUEUED


@pytest.mark.parametrize(("given", "seconds"), [(None, 60), (5, 5)])
def test_retry_waits_on_the_databases_clock(local, given, seconds):
    claim = hold(local, retry_delay_seconds=60)
    outcomes.write(Ending(claim.job_id, claim.fence, Kind.FAILED, retry_delay_seconds=given))
    assert abs(row(claim).not_before - timezone.now() - timedelta(seconds=seconds)) < timedelta(seconds=3)


def test_released_job_is_counted_neither_as_retry_nor_as_crash(local):
    claim = hold(local)
    outcomes.release(job_id=claim.job_id, fence=claim.fence, message="stopping")
    job = row(claim)
    assert (job.state, job.fence, job.retry_count, job.crash_count) == (JobState.QUEUED, 2, 0, 0)
    assert job.attempts.get().outcome == AttemptOutcome.RELEASED


def test_waiting_job_is_dropped_and_a_running_one_is_not(local):
    claim = hold(local)
    assert not transitions.drop_waiting(job_id=claim.job_id, message="no")
    outcomes.release(job_id=claim.job_id, fence=claim.fence, message="")
    assert transitions.drop_waiting(job_id=claim.job_id, message="no")
    assert row(claim).state == JobState.DROPPED


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (JobState.SUCCEEDED, AttemptOutcome.SUCCEEDED),
        (JobState.ERROR, AttemptOutcome.ERROR),
        (JobState.GIVEN_UP, AttemptOutcome.FAILED),
        (JobState.STOPPED, AttemptOutcome.STOPPED),
    ],
)
def test_remote_end_is_written_at_the_origin(local, state, outcome):
    claim = hold("far", run_id="remote:far")
    transitions.finish_remote(job_id=claim.job_id, fence=claim.fence, outcome_state=state, message="so it was")
    job = row(claim)
    assert (job.state, job.result_message, job.claimed_by) == (state, "so it was", "")
    assert job.attempts.get().outcome == outcome


def test_attempts_of_the_target_replace_the_way_there_and_lie_below_all_later_ones(local):
    claim = hold("far", run_id="remote:far")
    far = [
        {"fence": fence, "instance": "far", "instance_label": "far:4502", "outcome": outcome}
        for fence, outcome in [(2, AttemptOutcome.CRASHED), (3, AttemptOutcome.SUCCEEDED)]
    ]
    transitions.finish_remote(
        job_id=claim.job_id, fence=claim.fence, outcome_state=JobState.SUCCEEDED, message="", attempts=far
    )
    job = row(claim)
    assert list(job.attempts.order_by("fence").values_list("fence", "outcome")) == [(2, "CRASHED"), (3, "SUCCEEDED")]
    assert job.fence == 3


def test_copy_that_came_back_unrun_is_placed_again(local):
    claim = hold("far", run_id="remote:far")
    transitions.finish_remote(
        job_id=claim.job_id, fence=claim.fence, outcome_state=JobState.DROPPED, message="switched off"
    )
    job = row(claim)
    assert (job.state, job.target, job.fence, job.retry_count) == (JobState.QUEUED, "", 2, 0)
    assert job.not_before is not None


def test_remote_end_is_undone_with_the_callers_transaction(local):
    claim = hold("far", run_id="remote:far")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        transitions.finish_remote(job_id=claim.job_id, fence=claim.fence, outcome_state=JobState.SUCCEEDED)
        raise ZeroDivisionError
    assert row(claim).state == JobState.ACTIVE


def test_message_is_bounded(local):
    claim = hold(local)
    outcomes.error(job_id=claim.job_id, fence=claim.fence, message="x" * 20_000)
    assert len(row(claim).result_message) == transitions.MESSAGE_LENGTH
    assert len(Attempt.objects.get().message) == transitions.MESSAGE_LENGTH


def test_log_keeps_its_end_and_says_that_the_beginning_is_gone():
    log = outcomes.Log()
    log.add("short")
    assert log.text == "short\n"
    for number in range(10_000):
        log.add(f"line {number}")
    assert len(log.text) <= outcomes.LOG_LENGTH + 30
    assert log.text.startswith("… earlier lines were cut\n")
    assert log.text.endswith("line 9999\n")
    assert "short" not in log.text


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite keeps times as text")
def test_times_are_written_in_one_form_so_that_those_of_one_millisecond_sort_by_age(local):
    claim = hold(local)
    outcomes.write(Ending(claim.job_id, claim.fence, Kind.FAILED, retry_delay_seconds=0))
    manager.add_job("test/held", priority=1)
    manager.retry_job(manager.stop_job(manager.add_job("test/held").id, by="ann").id, by="ann")
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT LENGTH(rank_at), LENGTH(queued_at) FROM offloading_job")
        assert cursor.fetchall() == [(23, 23)]
