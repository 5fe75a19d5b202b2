"""Locks of a client that is gone or frozen do not outlast its lease."""

import time

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.signals import connection_created

from topology import sessions
from topology.models import Joining

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no sessions"),
]


@pytest.fixture
def end_idle_transactions():
    sessions.end_idle_transactions()
    yield
    connection_created.disconnect(dispatch_uid="topology.sessions.limit_idle")
    connections.close_all()


def test_server_looks_for_silent_clients_within_a_lease(settings):
    settings.OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS = 12.0
    connection.close()
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join('current_setting(%s, false)' for _ in names)}", names)
        assert cursor.fetchone() == ("6", "2", "3", "12000")


def test_transaction_of_a_frozen_agent_ends_with_its_lease(settings, end_idle_transactions):
    settings.OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS = 0.3
    connection.close()
    with pytest.raises(DatabaseError), transaction.atomic():
        Joining.objects.create(sling_id="frozen")
        time.sleep(0.6)
        Joining.objects.create(sling_id="too late")
    connection.close()
    assert not Joining.objects.exists()


def test_transaction_of_a_consumer_may_take_its_time(settings):
    settings.OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS = 0.3
    connection.close()
    with transaction.atomic():
        Joining.objects.create(sling_id="slow")
        time.sleep(0.6)
        Joining.objects.create(sling_id="in time")
    assert Joining.objects.count() == 2
