"""Waiting jobs get a place, and another one when theirs is gone, is switched off or is far behind."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from offloading.jobs import configuration, manager, placement, signals
from offloading.jobs.distribution import Load
from offloading.jobs.queues import QueueSettings
from offloading.models import Job, JobState, QueueType
from tests.offloading import topologies
from topology import services as topology
from topology.models import Instance

pytestmark = pytest.mark.django_db
TOPIC = "test/placement"


@pytest.fixture
def local():
    return topologies.establish("second", topics=TOPIC)


def targets():
    return sorted(Job.objects.values_list("target", flat=True))


def add(count, topic=TOPIC, **changes):
    """Add so many jobs, then change their rows."""
    ids = [manager.add_job(topic).id for _ in range(count)]
    if changes:
        Job.objects.filter(id__in=ids).update(**changes)
    return ids


def configure(**values):
    configuration.put(QueueSettings("the queue", (TOPIC,), **values), by="test")


# --- New jobs -----------------------------------------------------------------------------------------------------


def test_jobs_take_turns_between_equals(local):
    add(4)
    assert targets() == sorted([local, "second"] * 2)


def test_more_jobs_go_where_more_slots_are(local):
    topologies.announce("second", TOPIC, slots=4)
    add(10)
    assert targets().count("second") == 8


def test_busy_instance_gets_nothing_while_another_is_idle(local):
    topologies.announce(local, TOPIC, slots=3)
    topologies.announce("second", TOPIC, slots=2)
    add(2, target="second", state=JobState.ACTIVE, claimed_by=topologies.run_of("second"))
    add(3)
    assert targets().count(local) == 3


def test_burst_is_spread_by_one_picture(local):
    placer = placement.Placer()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        chosen = [placer.choose(topic=TOPIC, creator=local).target for _ in range(10)]
    assert len(queries) <= 1  # the queue configurations
    assert chosen.count("second") == 5


def test_picture_is_kept_for_a_moment_and_forgotten_on_request(local, monkeypatch):
    monkeypatch.setattr(placement, "CACHE_SECONDS", 60.0)
    kept = placement.current()
    assert placement.current() is kept
    placement.forget()
    assert placement.current() is not kept


def test_asking_only_does_not_count(local):
    placer = placement.Placer()
    asked = {placer.choose(topic=TOPIC, creator=local, turn=turn).target for turn in range(6)}
    assert asked == {local, "second"}
    assert placer.loads == {local: Load(), "second": Load()}


def test_jobs_of_an_ordered_queue_have_one_target(local):
    configure(type=QueueType.ORDERED)
    add(4)
    assert targets() == [local] * 4


def test_queue_may_prefer_the_instance_that_added_the_job(local):
    configure(prefer_run_on_creation_instance=True)
    add(4)
    assert targets() == [local] * 4


def test_distribution_may_be_switched_off(local, settings):
    settings.OFFLOADING_DISABLE_DISTRIBUTION = True
    add(4)
    topologies.announce(local, "other")
    add(1)
    assert targets() == sorted([local] * 4 + ["second"])


# --- Loads --------------------------------------------------------------------------------------------------------


def test_loads_are_what_waits_and_what_runs(local):
    topologies.announce("second", TOPIC, slots=8)
    add(3, target="second")
    add(2, target="second", state=JobState.ACTIVE, claimed_by=topologies.run_of("second"))
    add(1, target="second", state=JobState.ACTIVE, claimed_by="a run that is over")
    add(1, target="second", not_before=timezone.now() + timedelta(hours=1))
    add(1, target="second", state=JobState.SUCCEEDED)
    assert placement.Placer().loads == {local: Load(), "second": Load(3, 2, 8)}


def test_no_more_is_counted_than_matters(local, monkeypatch):
    monkeypatch.setattr(placement.loads, "MOST_COUNTED", 8)
    topologies.announce("second", TOPIC, slots=4)
    add(12, target="second")
    add(12, target=local)
    assert placement.Placer().loads == {local: Load(2, 0, 1), "second": Load(8, 0, 4)}


# --- Jobs in the wrong place --------------------------------------------------------------------------------------


def test_jobs_of_a_lost_instance_move_to_the_others(local):
    add(4)
    topologies.drop("second", local)
    assert placement.settle() == 2
    assert targets() == [local] * 4
    assert placement.settle() == 0


def test_unassigned_job_is_placed_when_somebody_takes_its_topic(local):
    add(1, "test/new")
    assert (placement.settle(), targets()) == (0, [""])
    topologies.announce("second", f"{TOPIC},test/new")
    assert (placement.settle(), targets()) == (1, ["second"])


def test_job_loses_its_target_when_nobody_takes_its_topic_any_more(local):
    add(1)
    Instance.objects.update(properties={})
    assert (placement.settle(), targets()) == (1, [""])


def test_nothing_moves_while_the_topology_changes(local):
    add(1)
    Instance.objects.filter(sling_id="second").update(heartbeat_at=None)
    Job.objects.update(target="second")
    assert (placement.settle(), targets()) == (0, ["second"])
    assert (placement.settle_lost(topology.current_view()), placement.rebalance(topology.current_view())) == (0, 0)


def test_running_and_finished_jobs_stay(local):
    for state in (JobState.ACTIVE, JobState.ERROR):
        add(1, state=state, target="gone")
    assert (placement.settle(), targets()) == (0, ["gone", "gone"])


def test_delayed_jobs_move_as_well(local):
    add(1, target="gone", not_before=timezone.now() + timedelta(hours=1))
    assert placement.settle() == 1
    assert targets()[0] in (local, "second")


@pytest.mark.parametrize("count", [9, 10])
def test_backlog_moves_evenly_and_in_full(local, monkeypatch, count):
    monkeypatch.setattr(placement, "_BATCH", 3)
    add(count, target="gone")
    assert placement.settle() == count
    assert targets().count("second") in (count // 2, count - count // 2)


def test_move_may_be_limited(local, monkeypatch):
    monkeypatch.setattr(placement, "_BATCH", 3)
    add(10, target="gone")
    assert placement.settle(most=5) == 6
    assert targets().count("gone") == 4


def test_only_lost_jobs_are_looked_at_every_minute(local):
    add(1, target="gone")
    add(1, target="")
    add(1, "test/other", target="second")
    assert placement.settle_lost(topology.current_view()) == 2
    assert set(targets()) <= {local, "second"}
    assert placement.settle() == 1


def test_ordered_queue_moves_as_a_whole(local):
    add(4)
    configure(type=QueueType.ORDERED)
    assert placement.settle() == 2
    assert targets() == [local] * 4
    topologies.announce(local, "other")
    assert placement.settle() == 4
    assert targets() == ["second"] * 4


def test_copy_that_no_instance_here_takes_goes_back_to_its_origin(local):
    job = manager.add_job("test/elsewhere")
    Job.objects.update(origin="far", target="second")
    assert placement.settle() == 1
    job.refresh_from_db()
    assert job.state == JobState.DROPPED
    assert "goes back to its origin" in job.result_message


def test_moves_are_told(local):
    ids = add(2, target="gone")
    told = []

    def hear(changes, **_):
        told.extend(changes)

    signals.jobs_changed.connect(hear)
    try:
        placement.settle()
    finally:
        signals.jobs_changed.disconnect(hear)
    assert {change.job_id for change in told} == set(ids)
    assert {(change.state, change.previous) for change in told} == {(JobState.QUEUED, JobState.QUEUED)}
    assert {change.target for change in told} == {local, "second"}


# --- Jobs beside idle instances -----------------------------------------------------------------------------------


def test_instance_that_joined_gets_the_later_half(local):
    ids = add(40, target=local)
    assert placement.rebalance(topology.current_view()) == 20
    assert list(Job.objects.filter(target=local).order_by("id").values_list("id", flat=True)) == ids[:20]
    assert placement.rebalance(topology.current_view()) == 0


def test_what_runs_soon_stays(local):
    add(4, target=local)
    assert (placement.rebalance(topology.current_view()), targets()) == (0, [local] * 4)


def test_large_backlog_is_evened_out_exactly(local, monkeypatch):
    monkeypatch.setattr(placement.loads, "MOST_COUNTED", 10)
    monkeypatch.setattr(placement, "_BATCH", 7)
    add(50, target=local)
    assert placement.rebalance(topology.current_view()) == 25


@pytest.mark.parametrize("values", [{"type": QueueType.ORDERED}, {"type": QueueType.IGNORE}])
def test_some_queues_are_left_alone(local, values):
    configure(**values)
    add(40, target=local)
    assert placement.rebalance(topology.current_view()) == 0


def test_jobs_stay_with_their_creator_where_the_queue_prefers_it(local):
    configure(prefer_run_on_creation_instance=True)
    add(20, target=local)
    add(20, target=local, application="somebody who is gone")
    placement.rebalance(topology.current_view())
    assert Job.objects.filter(target=local, application=local).count() == 20
    assert Job.objects.filter(target="second").count() == 20


def test_instance_that_does_not_take_the_topic_gets_nothing(local):
    topologies.announce("second", "other")
    add(40, target=local)
    assert placement.rebalance(topology.current_view()) == 0
