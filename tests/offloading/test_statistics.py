import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from offloading.jobs import statistics
from offloading.jobs.statistics import Entry
from offloading.models import Tally
from topology import identity

MAIL = ("mail", "acme/mail/send")
COUNTERS = ("started", "finished", "failed", "cancelled", "waiting_ms", "processing_ms")


@pytest.fixture
def one_minute(db, monkeypatch):
    """Let all counts of a test fall into one minute, even if it runs at the turn of one."""
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=5)
    monkeypatch.setitem(statistics._THIS_MINUTE, connection.vendor, f"'{minute:%Y-%m-%d %H:%M:%S}'")
    return minute


def test_counts_are_added_to_the_minute_of_this_instance(one_minute):
    statistics.count([Entry(*MAIL, started=2, waiting_ms=500)])
    statistics.count([Entry(*MAIL, started=1, finished=1, failed=1, cancelled=4, waiting_ms=7, processing_ms=90)])

    tally = Tally.objects.get()
    assert (tally.minute, tally.instance) == (one_minute, identity.sling_id())
    assert (tally.queue, tally.topic) == MAIL
    assert [getattr(tally, name) for name in COUNTERS] == [3, 1, 1, 4, 507, 90]


def test_the_minute_is_the_databases(db):
    before = timezone.now().replace(second=0, microsecond=0)
    statistics.count([Entry(*MAIL, started=1)])

    assert Tally.objects.get().minute in (before, before + timedelta(minutes=1))


def test_all_rows_are_one_statement(one_minute, django_assert_num_queries):
    entries = [Entry("mail", f"acme/mail/{number}", started=1) for number in range(50)]
    with django_assert_num_queries(1):
        statistics.count(entries)

    assert Tally.objects.count() == 50


def test_nothing_to_count_is_no_statement(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        statistics.count([])


def test_entries_of_the_same_topic_are_summed_first(one_minute):
    statistics.count([Entry(*MAIL, started=1, waiting_ms=10), Entry(*MAIL, started=1, waiting_ms=30, cancelled=1)])

    tally = Tally.objects.get()
    assert (tally.started, tally.waiting_ms, tally.cancelled) == (2, 40, 1)


def test_more_rows_than_a_statement_takes_are_counted_too(one_minute, monkeypatch):
    monkeypatch.setattr(statistics, "_ROWS", 3)
    statistics.count(Entry("mail", f"acme/mail/{number}", finished=1) for number in range(7))

    assert Tally.objects.filter(finished=1).count() == 7


def test_a_transaction_that_is_rolled_back_counted_nothing(one_minute):
    with pytest.raises(RuntimeError), transaction.atomic():
        statistics.count([Entry(*MAIL, started=1)])
        raise RuntimeError

    assert not Tally.objects.exists()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="threads cannot share a test's SQLite in memory")
@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_lose_nothing_and_do_not_block_each_other_for_ever():
    """Both write the same topics, each naming them in an order of its own."""
    names = [f"acme/mail/{number}" for number in range(20)]

    def write(topics):
        try:
            for _ in range(20):
                with transaction.atomic():
                    statistics.count(Entry("mail", topic, finished=1) for topic in topics)
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=[order]) for order in (names, names[::-1])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sum(Tally.objects.values_list("finished", flat=True)) == 2 * 20 * 20
