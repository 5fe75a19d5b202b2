"""The loop that hands out transfers: what waits, who is at it, and that one bad peer blocks no other."""

import threading
import time

import pytest
from django.db import connection, connections

from offloading.jobs import manager
from offloading.models import Job, Transfer
from offloading.transport import agent, client, sender, transfers
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish, http_server
from topology import identity
from topology import services as topology
from topology.models import Instance


@pytest.fixture
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()
    yield
    client.close()


@pytest.fixture
def waiting(db, instance):
    """Return a transfer that waits."""
    foreign = Foreign()
    foreign.announce()
    manager.add_job(TOPIC)
    sender.take_jobs(topology.current_view())
    return Transfer.objects.get()


def test_idle_instance_asks_two_questions(db, instance, django_assert_num_queries):
    with django_assert_num_queries(2):
        assert agent.waiting_kinds() == set()


def test_each_kind_of_work_is_seen(db, instance):
    Foreign().announce()
    job = manager.add_job(TOPIC)
    assert agent.waiting_kinds() == {"job"}
    sender.take_jobs(topology.current_view())
    assert agent.waiting_kinds() == {"transfer"}
    Transfer.objects.update(state="DONE")
    Job.objects.filter(id=job.id).update(state="QUEUED", target=identity.sling_id())
    assert agent.waiting_kinds() == set()


def test_of_two_that_reach_for_a_transfer_one_gets_it(waiting):
    assert transfers.take(waiting.id) is not None
    assert transfers.take(waiting.id) is None


def test_holder_notices_that_it_lost_the_transfer(waiting):
    held = transfers.take(waiting.id)
    Transfer.objects.update(claimed_by="somebody else")
    for act in (lambda: transfers.finish(held), lambda: transfers.progress(held, blobs=0, moved_bytes=1)):
        with pytest.raises(transfers.TransferLost):
            act()


@pytest.mark.parametrize(
    ("live_runs", "is_busy", "is_released"),
    [({RUN}, True, False), ({RUN}, False, True), (set(), True, True), ({"other"}, True, True)],
)
def test_transfer_of_a_dead_run_is_taken_over(waiting, live_runs, is_busy, is_released):
    transfers.take(waiting.id)
    count = transfers.release_lost(live_runs=live_runs, busy=[waiting.id] if is_busy else [])
    assert count == int(is_released)
    assert Transfer.objects.get().state == ("WAITING" if is_released else "SENDING")


@pytest.mark.django_db
def test_many_transfers_to_one_peer_hide_none_to_another(instance):
    many, other = Foreign(topics=("acme/many",)), Foreign(topics=("acme/other",))
    many.announce()
    other.announce()
    first = manager.add_job("acme/many")
    last = manager.add_job("acme/other")
    facts = {"direction": "OUT", "is_sender": True}
    Transfer.objects.bulk_create(
        Transfer(job=first, fence=fence, peer=many.sling_id, tries=3, **facts) for fence in range(200)
    )
    Transfer.objects.create(job=last, fence=1, peer=other.sling_id, **facts)
    found = transfers.due(without_peers=(), each=4)
    assert [(due.peer, due.tries) for due in found] == [(other.sling_id, 0), *[(many.sling_id, 3)] * 4]


@pytest.mark.django_db
def test_transfers_that_failed_hide_no_new_one_to_the_same_peer(instance):
    foreign = Foreign()
    job = manager.add_job(TOPIC)
    Transfer.objects.bulk_create(
        Transfer(job=job, fence=fence, peer=foreign.sling_id, tries=int(fence < 200), direction="OUT", is_sender=True)
        for fence in range(202)
    )
    assert [due.tries for due in transfers.due(without_peers=(), each=4)] == [0, 0, 1, 1, 1, 1]


@pytest.mark.django_db
def test_job_for_an_instance_that_left_this_cluster_for_another_is_sent(instance):
    foreign = Foreign()
    Instance.objects.create(sling_id=foreign.sling_id, join_number=0, runtime_id="former", heartbeat_at=None)
    foreign.announce()
    manager.add_job(TOPIC)
    assert agent.waiting_kinds() == {"job"}
    assert sender.take_jobs(topology.current_view()) == 1


def test_delay_doubles_up_to_a_minute_and_is_spread():
    for tries, expected in ((1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (500, 60)):
        assert 0.8 * expected <= transfers.delay_seconds(tries) <= 1.2 * expected


def test_parked_transfer_can_be_tried_again(waiting):
    transfers.park(transfers.take(waiting.id), "look at it")
    assert transfers.retry(transfer_id=waiting.id)
    assert (Transfer.objects.get().state, Transfer.objects.get().tries) == ("WAITING", 0)
    transfers.finish(transfers.take(waiting.id))
    assert not transfers.retry(transfer_id=waiting.id)


def test_program_error_stays_with_its_transfer(waiting, monkeypatch):
    monkeypatch.setattr(sender, "send", lambda *_: 1 / 0)
    agent.move(waiting.id, lambda: None)
    assert "ZeroDivisionError" in Transfer.objects.get().error


@pytest.mark.skipif(connection.vendor == "sqlite", reason="threads cannot share a test's SQLite in memory")
@pytest.mark.django_db(transaction=True)
def test_peer_that_hangs_keeps_no_other_waiting(instance):
    release = threading.Event()

    def hang(*_):
        release.wait(20)
        return 200, {"state": "queued"}

    with http_server(hang) as (slow, _), http_server(lambda *_: (200, {"state": "queued"})) as (quick, _):
        Foreign(endpoint=slow, topics=("acme/slow",)).announce()
        Foreign(endpoint=quick, topics=("acme/quick",)).announce()
        for topic in ["acme/slow"] * 10 + ["acme/quick"] * 10:
            manager.add_job(topic)
        stop = threading.Event()

        def work():
            agent.run(stop)
            connections.close_all()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            quick_ones = Transfer.objects.filter(job__topic="acme/quick", state="DONE")
            deadline = time.monotonic() + 15
            while quick_ones.count() < 10 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert quick_ones.count() == 10
            assert not Transfer.objects.filter(job__topic="acme/slow", state="DONE").exists()
        finally:
            release.set()
            stop.set()
            thread.join()
