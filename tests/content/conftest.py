"""What the tests of the content tree share: recorded events, and threads with a database of their own connections."""

import sqlite3
import threading

import pytest
from django.db import connection, connections

from content import models, signals


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch):
    """Keep the receivers of other apps out: these tests are about this one, and count its queries."""
    monkeypatch.setattr(signals.node_changed, "receivers", [])


@pytest.fixture(autouse=True)
def empty_tree(request, nobody_listens):
    """Begin without the nodes that other apps install with their migrations."""
    marker = request.node.get_closest_marker("django_db")
    is_committed = "in_threads" in request.fixturenames or (marker and marker.kwargs.get("transaction"))
    if marker or is_committed:
        request.getfixturevalue("transactional_db" if is_committed else "db")
        models.Binary.objects.all().delete()
        models.Node.objects.all().delete()


@pytest.fixture
def events():
    """Collect the events of the test, oldest first."""
    seen = []

    def receive(event, **kwargs):
        seen.append(event)

    signals.node_changed.connect(receive)
    yield seen
    signals.node_changed.disconnect(receive)


@pytest.fixture
def in_threads(transactional_db, tmp_path, monkeypatch):
    """Return `run(*callables)`, which runs each in a thread of its own, all at once, and returns what they return.

    The test database on SQLite lies in memory, which threads cannot share as processes share a file: so the threads
    get a copy of it in a file. Do everything in threads that shall see the same data.
    """
    if connection.vendor == "sqlite":
        copy = tmp_path / "threads.sqlite3"
        connection.ensure_connection()
        target = sqlite3.connect(copy)
        connection.connection.backup(target)
        target.close()
        monkeypatch.setitem(connections.databases, "default", {**connections.databases["default"], "NAME": str(copy)})

    def run(*work):
        results = [None] * len(work)
        start = threading.Barrier(len(work))

        def call(number):
            try:
                start.wait(10)
                results[number] = work[number]()
            except Exception as error:
                results[number] = error
            finally:
                connections.close_all()

        threads = [threading.Thread(target=call, args=[number]) for number in range(len(work))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    return run
