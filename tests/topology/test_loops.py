import threading
import time

import pytest
from django.db import InterfaceError, OperationalError, connection

from topology import wakeup
from topology.loops import Bell, Outage


def fail(error):
    def act():
        raise error

    return act


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_outage_is_logged_when_it_begins_and_when_it_ends(error, caplog):
    caplog.set_level("INFO")
    outage = Outage("test")
    answers = [outage.attempt(fail(error)), outage.attempt(fail(error)), outage.attempt(lambda: None)]
    assert answers == [False, False, True]
    assert [record.message for record in caplog.records] == [
        "database unreachable, trying on",
        "database is back",
    ]


@pytest.mark.django_db
def test_other_failures_are_logged_and_the_loop_goes_on(caplog):
    assert Outage("test").attempt(fail(ValueError("wrong")))
    assert [record.message for record in caplog.records] == ["loop failed, going on"]


@pytest.mark.django_db(transaction=True)
def test_connection_that_the_database_closed_is_replaced():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server that could close a connection")
    outage, seen = Outage("test"), []

    def query():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            seen.append(cursor.fetchone()[0])

    def cut_off():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    outage.attempt(query)
    assert not outage.attempt(cut_off)
    assert outage.attempt(query)
    assert len(set(seen)) == 2


def test_bell_wakes_at_once_and_a_ring_before_the_wait_counts():
    bell = Bell(threading.Event(), "test-kind")
    wakeup._call("test-kind")
    start = time.monotonic()
    bell.wait(30)
    assert time.monotonic() - start < 5
    bell.close()
    assert wakeup._callbacks["test-kind"] == []


def test_bell_wakes_when_its_time_is_over():
    start = time.monotonic()
    Bell(threading.Event()).wait(0.01)
    assert time.monotonic() - start < 5


def test_bell_does_not_keep_a_loop_from_ending():
    stop = threading.Event()
    stop.set()
    start = time.monotonic()
    Bell(stop).wait(30)
    assert time.monotonic() - start < 5
