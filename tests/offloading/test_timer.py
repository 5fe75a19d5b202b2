"""The thread that fires schedules: on the leader alone, while the topology is settled, and asleep until then."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from config import agent
from offloading.jobs import schedules, scheduling, timer
from offloading.models import Job, ScheduledJob
from tests.offloading import topologies
from topology import listeners, wakeup
from topology import services as topology
from topology.loops import Stop
from topology.models import Instance, View

pytestmark = pytest.mark.django_db
TOPIC = "test/timer"


@pytest.fixture
def local():
    return topologies.establish("second", topics=TOPIC)


def schedule(seconds):
    """Schedule a job that is due in so many seconds."""
    row = scheduling.schedule_job(topic=TOPIC, schedules=[schedules.hourly(5)])
    ScheduledJob.objects.update(next_at=datetime.now(UTC) + timedelta(seconds=seconds))
    return row


def hearing():
    """Return a timer that has heard of the present topology."""
    new = timer.Timer()
    new.hear(listeners.TopologyEvent(listeners.EventType.INIT, None, topology.current_view()))
    return new


def test_leader_fires_what_is_due_with_the_epoch_of_its_view(local):
    row = schedule(-5)
    assert hearing().look() == timer.MAX_SLEEP_SECONDS
    assert Job.objects.count() == 1
    assert scheduling.get(row.name).epoch == topology.current_view().epoch == 1


def test_sleeps_until_the_next_one_is_due(local):
    schedule(10)
    assert 9 < hearing().look() <= 10
    assert not Job.objects.exists()


def test_nothing_scheduled_costs_one_query_in_half_a_minute(local, django_assert_num_queries):
    leader = hearing()
    with django_assert_num_queries(1):
        assert leader.look() == timer.MAX_SLEEP_SECONDS


def test_others_do_not_even_ask(local, django_assert_num_queries):
    schedule(-5)
    View.objects.update(leader="second")
    other = hearing()
    with django_assert_num_queries(0):
        assert other.look() == timer.MAX_SLEEP_SECONDS
        assert timer.Timer().look() == timer.MAX_SLEEP_SECONDS


def test_leader_of_yesterday_fires_nothing(local):
    schedule(-5)
    former = hearing()
    View.objects.update(leader="second")
    assert former.look() == timer.MAX_SLEEP_SECONDS
    assert not Job.objects.exists()


def test_nothing_is_fired_while_the_topology_changes(local):
    schedule(-5)
    leader = hearing()
    Instance.objects.filter(sling_id="second").update(heartbeat_at=None)
    assert leader.look() == timer.MAX_SLEEP_SECONDS
    leader.hear(listeners.TopologyEvent(listeners.EventType.CHANGING, None, None))
    assert leader.look() == timer.MAX_SLEEP_SECONDS
    assert not Job.objects.exists()


def test_what_cannot_be_fired_is_not_tried_without_a_pause(local):
    schedule(-5)
    ScheduledJob.objects.update(properties=["no", "object"])
    assert hearing().look() == timer.MAX_SLEEP_SECONDS


def test_what_became_due_in_between_is_fired_at_once(local):
    schedule(-5)
    other = scheduling.schedule_job(topic=TOPIC, schedules=[schedules.hourly(6)])
    ScheduledJob.objects.filter(name=other.name).update(properties=["no", "object"], next_at=datetime.now(UTC))
    assert hearing().look() == 0


def test_agent_has_it_among_its_threads():
    assert agent.LOOPS["timer"] is timer.run


@pytest.mark.django_db(transaction=True)
def test_thread_sleeps_until_a_job_is_due_and_a_change_ends_its_sleep(local):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's test database is that of one thread")
    stop = Stop()
    thread = threading.Thread(target=timer.run, args=(stop,))
    thread.start()
    try:
        view = topology.current_view()
        wait_until(lambda: timer.LISTENER in listeners._callbacks)
        listeners.Delivery().tell_all(listeners.TopologyEvent(listeners.EventType.INIT, None, view))
        schedule(0.5)
        wakeup._call(scheduling.WAKEUP)
        wait_until(lambda: Job.objects.count() == 1)
        schedule(-1)
        wakeup._call(scheduling.WAKEUP)
        wait_until(lambda: Job.objects.count() == 2)
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
    assert timer.LISTENER not in listeners._callbacks


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
