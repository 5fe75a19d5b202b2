"""Transactions of several instances at once: none waits for another in a circle, or for one that is stuck."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from offloading.jobs import claims, configuration, manager, outcomes, recovery
from offloading.jobs.claims import Holder
from offloading.jobs.outcomes import Ending, Kind
from offloading.jobs.queues import QueueSettings
from offloading.models import Job, JobState, QueueType
from tests.offloading import held
from tests.offloading.topologies import establish

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time"),
]
TOPICS = [f"test/locks/{number}" for number in range(30)]


@pytest.fixture
def pool():
    """Threads with connections of their own, which are closed at the end."""
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        yield pool
        for each in [pool.submit(lambda: (barrier.wait(5), connection.close())) for _ in range(2)]:
            each.result()


def test_two_instances_write_the_same_failures_in_any_order(pool):
    establish(topics="test/**")
    endings = [
        [
            Ending(claim.job_id, claim.fence, Kind.CANCELLED, "broken")
            for claim in (held.hold(target, topic=topic) for topic in topics)
        ]
        for target, topics in (("one", TOPICS), ("two", TOPICS[::-1]))
    ]
    for each in [pool.submit(outcomes.write_all, some) for some in endings]:
        each.result()
    assert Job.objects.filter(state=JobState.ERROR).count() == 2 * len(TOPICS)


def test_ordered_queue_that_another_instance_looks_at_holds_nobody_up(pool):
    establish("second", topics="test/**")
    for name in "ab":
        configuration.put(QueueSettings(name, (f"test/{name}",), type=QueueType.ORDERED), by="ann")
        job = manager.add_job(f"test/{name}")
        Job.objects.filter(id=job.id).update(target="one")
    barrier = threading.Barrier(2)

    def claim(run, topics):
        with transaction.atomic():
            found = []
            for topic in topics:
                queue = configuration.queue_of(topic)
                found += claims.claim(target="one", queue=queue, limit=1, holder=Holder(run, "one", "one"))
                barrier.wait(5)
            return found

    tasks = [pool.submit(claim, "a", ["test/a", "test/b"]), pool.submit(claim, "b", ["test/b", "test/a"])]
    assert sum(len(each.result()) for each in tasks) == 2


def test_job_that_somebody_has_locked_keeps_no_other_from_its_turn(pool):
    establish(topics="test/**")
    first, second = (manager.add_job("test/late", delay_seconds=0.001) for _ in range(2))
    Job.objects.update(target="one")
    with transaction.atomic():
        Job.objects.select_for_update().get(id=first.id)
        pool.submit(claims.promote, "one").result(5)
    assert list(Job.objects.filter(not_before=None)) == [second]


def test_job_that_a_frozen_process_has_locked_is_taken_back_later_than_the_others(pool):
    establish(topics="test/**")
    locked, free = (held.hold("one", run_id="a run that ended", topic="test/lost") for _ in range(2))
    with transaction.atomic():
        Job.objects.select_for_update().get(id=locked.job_id)
        assert pool.submit(recovery.recover_lost_runs, ["another run"]).result(5) == 1
    assert held.row(free).state == JobState.QUEUED
    assert recovery.recover_lost_runs(["another run"]) == 1
