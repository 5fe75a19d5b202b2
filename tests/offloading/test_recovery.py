"""Ends that nobody reports: the job comes back with its fence raised, and is set aside when that keeps happening."""

import pytest
from django.db.models.functions import Now

from offloading.exceptions import StaleFence
from offloading.jobs import outcomes, recovery
from offloading.models import AttemptOutcome, JobState
from tests.offloading.held import hold, row
from tests.offloading.topologies import establish, view
from topology import services as topology
from topology.models import Instance

pytestmark = pytest.mark.django_db


@pytest.fixture
def local():
    return establish(topics="")


def test_crash_puts_the_job_back_at_once(local):
    claim = hold(local)
    recovery.crashed(job_id=claim.job_id, fence=claim.fence)
    job = row(claim)
    assert (job.state, job.fence, job.crash_count, job.not_before) == (JobState.QUEUED, 2, 1, None)
    assert (job.attempts.get().outcome, job.retry_count) == (AttemptOutcome.CRASHED, 0)


@pytest.mark.parametrize("end", [recovery.crashed, recovery.lost])
def test_third_crash_sets_the_job_aside(local, end):
    claim = hold(local, crash_count=2)
    end(job_id=claim.job_id, fence=claim.fence)
    job = row(claim)
    assert (job.state, job.crash_count) == (JobState.ERROR, 3)
    assert "set aside after 3 such attempts" in job.result_message


@pytest.mark.parametrize("end", [recovery.crashed, recovery.lost])
def test_end_that_comes_after_the_outcome_is_stale(local, end):
    claim = hold(local)
    outcomes.succeed(job_id=claim.job_id, fence=claim.fence)
    with pytest.raises(StaleFence):
        end(job_id=claim.job_id, fence=claim.fence)
    assert row(claim).state == JobState.SUCCEEDED


def test_jobs_of_runs_that_are_not_alive_come_back(local):
    (alive,) = topology.live_run_ids()
    kept, lost = hold(local, run_id=alive), hold(local, run_id="a run that ended")
    remote = hold("far", run_id="remote:far")
    assert recovery.recover_lost_runs(topology.live_run_ids()) == 1
    assert row(lost).state == JobState.QUEUED
    assert row(lost).attempts.get().outcome == AttemptOutcome.LOST
    assert {row(claim).state for claim in (kept, remote)} == {JobState.ACTIVE}
    assert recovery.recover_lost_runs(topology.live_run_ids()) == 0


def test_run_that_joins_while_lost_ones_are_looked_for_keeps_its_jobs(local):
    living = topology.live_run_ids()
    second = Instance.objects.create(sling_id="second", join_number=9, runtime_id="new", heartbeat_at=Now())
    claim = hold(second.sling_id, run_id="new")
    assert recovery.recover_lost_runs(living) == 0
    assert row(claim).state == JobState.ACTIVE


def test_new_run_takes_back_what_the_former_ones_of_its_instance_held(local):
    former, current = hold(local, run_id="former"), hold(local, run_id="current")
    other = hold("second", run_id="run of the second")
    assert recovery.recover_former_runs(sling_id=local, run_id="current") == 1
    assert row(former).state == JobState.QUEUED
    assert {row(claim).state for claim in (current, other)} == {JobState.ACTIVE}


def test_job_whose_remote_target_is_gone_comes_back_without_a_crash(local):
    there, gone = hold("far", run_id="remote:far"), hold("gone", run_id="remote:gone")
    assert recovery.recover_gone_targets(view([local], ["far"])) == 1
    assert row(there).state == JobState.ACTIVE
    assert (row(gone).state, row(gone).fence, row(gone).crash_count) == (JobState.QUEUED, 2, 0)


def test_no_target_counts_as_gone_while_the_topology_changes(local):
    hold("gone", run_id="remote:gone")
    assert recovery.recover_gone_targets(view([local], is_current=False)) == 0
