"""Waiting jobs get a place, and another one when theirs is gone or switched off."""

import pytest

from offloading.jobs import manager, placement
from offloading.models import Job, JobState
from tests.offloading import topologies
from topology.models import Instance

pytestmark = pytest.mark.django_db
TOPIC = "test/placement"


@pytest.fixture
def local():
    return topologies.establish("second", topics=TOPIC)


def targets():
    return sorted(Job.objects.values_list("target", flat=True))


def test_jobs_take_turns_between_equals(local):
    for _ in range(4):
        manager.add_job(TOPIC)
    assert targets() == sorted([local, "second"] * 2)


def test_jobs_of_a_lost_instance_move_to_the_others(local):
    for _ in range(4):
        manager.add_job(TOPIC)
    topologies.drop("second", local)
    assert placement.settle() == 2
    assert targets() == [local] * 4
    assert placement.settle() == 0


def test_unassigned_job_is_placed_when_somebody_takes_its_topic(local):
    manager.add_job("test/new")
    assert (placement.settle(), targets()) == (0, [""])
    topologies.announce("second", f"{TOPIC},test/new")
    assert (placement.settle(), targets()) == (1, ["second"])


def test_job_loses_its_target_when_nobody_takes_its_topic_any_more(local):
    manager.add_job(TOPIC)
    Instance.objects.update(properties={})
    assert (placement.settle(), targets()) == (1, [""])


def test_nothing_moves_while_the_topology_changes(local):
    manager.add_job(TOPIC)
    Instance.objects.filter(sling_id="second").update(heartbeat_at=None)
    Job.objects.update(target="second")
    assert (placement.settle(), targets()) == (0, ["second"])


def test_running_and_finished_jobs_stay(local):
    for state in (JobState.ACTIVE, JobState.ERROR):
        job = manager.add_job(TOPIC)
        Job.objects.filter(id=job.id).update(state=state, target="gone")
    assert (placement.settle(), targets()) == (0, ["gone", "gone"])


def test_backlog_moves_in_turns_and_in_full(local, monkeypatch):
    monkeypatch.setattr(placement, "_BATCH", 3)
    for _ in range(10):
        manager.add_job(TOPIC)
    Job.objects.update(target="gone")
    assert placement.settle() == 10
    assert targets().count("second") == 5


def test_copy_that_no_instance_here_takes_goes_back_to_its_origin(local):
    job = manager.add_job("test/elsewhere")
    Job.objects.update(origin="far", target="second")
    assert placement.settle() == 1
    job.refresh_from_db()
    assert job.state == JobState.DROPPED
    assert "goes back to its origin" in job.result_message


def test_jobs_that_turned_out_to_be_in_the_wrong_place_move_away(local):
    job = manager.add_job("test/elsewhere")
    Job.objects.update(target=local)
    placement.move_away([job.id], target=local)
    assert targets() == [""]
