import threading
from pathlib import Path

import pytest
from django.db import connection, transaction

from tests.topology.conftest import RUN
from topology import identity, services, wakeup


@pytest.fixture(autouse=True)
def short_folder(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(wakeup, "_callbacks", type(wakeup._callbacks)(list))
    monkeypatch.setattr("tempfile.tempdir", None)
    # A socket's path may have 107 bytes only.
    folder = Path("/tmp") / f"t{tmp_path_factory.getbasetemp().name[-4:]}"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def listener(transactional_db):
    found = wakeup.Listener()
    found.start()
    services.join(RUN, found.address)
    yield found
    found.stop()


class Heard:
    """Collects wake-ups of one kind and lets a test wait for the next."""

    def __init__(self, kind):
        self._semaphore = threading.Semaphore(0)
        wakeup.on(kind, self._semaphore.release)

    def one(self):
        return self._semaphore.acquire(timeout=5)

    def forget(self):
        while self._semaphore.acquire(blocking=False):
            pass


@pytest.fixture
def heard(listener):
    found = Heard("jobs")
    ready = Heard("ready")
    # The first wake-up that comes through says that the listener is listening.
    for _ in range(50):
        wakeup.notify("ready")
        if ready._semaphore.acquire(timeout=0.1):
            break
    found.forget()
    return found


def test_wakeup_reaches_the_agent(heard):
    wakeup.notify("jobs")
    assert heard.one()


def test_wakeup_for_one_instance_is_for_it_alone(heard):
    wakeup.notify("jobs", "another instance")
    wakeup.notify("jobs", identity.sling_id())
    assert heard.one()
    assert not heard._semaphore.acquire(timeout=0.2)


def test_wakeup_is_sent_when_the_transaction_commits_and_not_before(heard):
    with transaction.atomic():
        wakeup.notify("jobs")
        assert not heard._semaphore.acquire(timeout=0.2)
    assert heard.one()


def test_nothing_is_sent_when_the_transaction_is_rolled_back(heard):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        wakeup.notify("jobs")
        raise ZeroDivisionError
    assert not heard._semaphore.acquire(timeout=0.2)


@pytest.mark.django_db(transaction=True)
def test_instance_that_is_gone_costs_nothing():
    services.join(RUN, "/nowhere/at/all")
    wakeup.notify("jobs")


def test_failing_callback_keeps_nobody_from_hearing(listener, caplog):
    wakeup.on("jobs", lambda: 1 / 0)
    heard = Heard("jobs")
    listener.dispatch("jobs")
    assert heard.one()
    assert "wake-up callback failed" in caplog.text


def test_callback_that_is_taken_back_hears_nothing():
    calls = []
    wakeup.on("jobs", lambda: calls.append(1))()
    wakeup._call("jobs")
    assert calls == []


def test_folder_that_others_can_enter_is_refused(short_folder, monkeypatch):
    folder = wakeup._socket_path().parent
    folder.chmod(0o755)
    with pytest.raises(wakeup.WakeupAddressUnusable, match="only this user can enter"):
        wakeup._socket_path()
    folder.chmod(0o700)


def test_too_long_a_folder_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with pytest.raises(wakeup.WakeupAddressUnusable, match="shorter folder"):
        wakeup._socket_path()


def test_socket_is_removed_at_the_end_and_one_left_behind_is_replaced(transactional_db):
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL needs no socket")
    first = wakeup.Listener()
    second = wakeup.Listener()
    assert first.address == second.address
    second.stop()
    assert not Path(second.address).exists()
    first.stop()


def test_listener_that_was_cut_off_listens_again_and_everyone_looks(heard, caplog):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server that could close a connection")
    cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = %s AND datname = current_database()"
    for _ in range(2):
        with connection.cursor() as cursor:
            cursor.execute(cut_off, [f"LISTEN {wakeup.CHANNEL}"])
            assert cursor.rowcount == 1
        assert heard.one()
    messages = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert messages == ["wake-ups interrupted, database unreachable"] * 2
