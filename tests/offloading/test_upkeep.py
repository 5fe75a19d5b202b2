"""The leader keeps jobs in their places: at once when something changed, and otherwise at its pace."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from offloading.jobs import configuration, manager, queues, upkeep
from offloading.models import Job, JobState, Pause, QueueType
from tests.offloading import topologies
from topology import services as topology
from topology.listeners import EventType, TopologyEvent
from topology.models import Instance

pytestmark = pytest.mark.django_db
TOPIC = "test/upkeep"


@pytest.fixture
def local():
    return topologies.establish("second", topics=TOPIC)


@pytest.fixture
def keeper(local):
    """Return the upkeep of the leader, which has heard of the topology and done everything once."""
    keeper = upkeep.Upkeep(threading.Event())
    keeper.hear(TopologyEvent(EventType.INIT, None, topology.current_view()))
    keeper.turn()
    keeper.turn()
    return keeper


def changed(keeper):
    keeper.hear(TopologyEvent(EventType.CHANGED, None, topology.current_view()))


def later(monkeypatch, seconds):
    now = time.monotonic() + seconds
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: now)


def targets():
    return sorted(Job.objects.values_list("target", flat=True))


def misplace(count=1, target="gone"):
    for _ in range(count):
        manager.add_job(TOPIC)
    Job.objects.update(target=target)


def test_change_of_the_topology_moves_jobs_at_once(keeper, local):
    misplace()
    keeper.turn()
    assert targets() == ["gone"]
    changed(keeper)
    keeper.turn()
    assert targets()[0] in (local, "second")


def test_only_the_leader_keeps(local):
    misplace()
    view = topology.current_view()
    follower = upkeep.Upkeep(threading.Event())
    follower.hear(TopologyEvent(EventType.INIT, None, topologies.view(["leader", "me"], local="me")))
    follower.turn()
    assert follower.rest() > 0
    assert targets() == ["gone"]
    follower.hear(TopologyEvent(EventType.CHANGED, None, view))
    follower.turn()
    assert targets() != ["gone"]


def test_nothing_is_done_while_the_topology_changes(keeper):
    misplace()
    keeper.hear(TopologyEvent(EventType.CHANGING, topology.current_view(), None))
    keeper.turn()
    assert targets() == ["gone"]


def test_what_came_late_is_found_after_the_change(keeper, monkeypatch):
    changed(keeper)
    keeper.turn()
    misplace()
    later(monkeypatch, 2 * 0.5 + 0.1)
    keeper.turn()
    assert "gone" not in targets()


def test_job_that_was_still_added_to_its_former_queue_is_found_after_the_change(keeper, monkeypatch):
    changed(keeper)
    keeper.turn()
    manager.add_job(TOPIC)
    Job.objects.update(queue="former")
    keeper.hurry()  # in between, and no reason to forget it
    later(monkeypatch, 0.3)
    keeper.turn()
    later(monkeypatch, 2 * 0.5 + 0.1)
    keeper.turn()
    assert Job.objects.get().queue == "<main queue>"


def test_unassigned_jobs_are_looked_at_when_one_is_told_of(keeper, monkeypatch):
    misplace(target="")
    keeper.hurry()
    keeper.turn()
    assert targets() == [""]  # not without a breath: whoever sends jobs away might get them back at once
    later(monkeypatch, 0.3)
    keeper.turn()
    assert "" not in targets()


def test_unassigned_jobs_are_looked_at_every_minute(keeper, monkeypatch):
    later(monkeypatch, 5)
    keeper.turn()
    misplace(target="")
    later(monkeypatch, 30)
    keeper.turn()
    assert targets() == [""]
    later(monkeypatch, 70)
    keeper.turn()
    assert "" not in targets()


def test_changed_queue_moves_its_jobs(keeper, local):
    misplace(4, target="second")
    settings = queues.QueueSettings("one by one", (TOPIC,), type=QueueType.ORDERED)
    configuration.put(settings, by="test")
    keeper.look_at_everything()
    keeper.turn()
    assert targets() == [local] * 4


def test_idle_instance_gets_jobs_within_ten_seconds(keeper, monkeypatch):
    misplace(20, target="second")
    keeper.turn()
    assert targets() == ["second"] * 20
    later(monkeypatch, 11)
    keeper.turn()
    assert targets().count("second") == 10


def test_jobs_of_a_lost_run_come_back_and_are_placed(keeper, local, monkeypatch):
    misplace(target="second")
    Job.objects.update(state=JobState.ACTIVE, claimed_by=topologies.run_of("second"))
    topologies.drop("second", local)
    changed(keeper)
    later(monkeypatch, 3)
    keeper.turn()
    job = Job.objects.get()
    assert (job.state, job.target) == (JobState.QUEUED, local)


def test_pause_ends_when_its_time_is_over(keeper, monkeypatch):
    Pause.objects.create(
        kind=Pause.Kind.TOPIC, name=TOPIC, paused_by="test", until=timezone.now() - timedelta(seconds=1)
    )
    keeper.look_at_everything()
    keeper.turn()
    assert not Pause.objects.exists()


def test_next_end_of_a_pause_is_not_slept_through(keeper, monkeypatch):
    until = timezone.now() + timedelta(seconds=20)
    Pause.objects.create(kind=Pause.Kind.TOPIC, name=TOPIC, paused_by="test", until=until)
    keeper.look_at_everything()
    keeper.turn()
    assert Pause.objects.exists()
    assert 0 < keeper.rest() < 20
    Pause.objects.update(until=timezone.now())
    later(monkeypatch, 21)
    keeper.turn()
    assert not Pause.objects.exists()


def test_failure_is_made_up_for(keeper, local, monkeypatch):
    misplace()
    # What is told of this instance is nonsense for a moment.
    told = Instance.objects.get(sling_id=local).properties
    Instance.objects.filter(sling_id=local).update(properties=[])
    changed_view = topologies.view([local, "second"], local=local)
    keeper.hear(TopologyEvent(EventType.CHANGED, None, changed_view))
    with pytest.raises(AttributeError):
        keeper.turn()
    assert targets() == ["gone"]
    Instance.objects.filter(sling_id=local).update(properties=told)
    keeper.hurry()
    later(monkeypatch, 3)
    keeper.turn()
    assert targets() != ["gone"]


def test_idle_turn_asks_little(keeper, monkeypatch):
    later(monkeypatch, 3)
    keeper.turn()  # the look after the change
    later(monkeypatch, 6)
    with CaptureQueriesContext(connection) as queries:
        keeper.turn()
    assert len(queries) <= 1


def test_rest_ends_when_something_is_due(keeper, settings):
    assert 0 < keeper.rest() <= settings.OFFLOADING_HEARTBEAT_SECONDS
    changed(keeper)
    assert keeper.rest() == 0
    keeper.turn()
    assert 0 < keeper.rest() <= 1
