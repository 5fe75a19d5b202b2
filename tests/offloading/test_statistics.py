import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from offloading.jobs import consumers, ids, manager, statistics, testing
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.jobs.statistics import Entry
from offloading.models import Job, JobState, StatisticsReset, Tally
from topology import identity

MAIL = ("mail", "acme/mail/send")
PICTURES = ("pictures", "acme/pictures/scale")
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


# --- Reading ------------------------------------------------------------------------------------------------------


def tally(minute, queue="mail", topic="acme/mail/send", instance="one", **counters):
    return Tally.objects.create(minute=minute, instance=instance, queue=queue, topic=topic, **counters)


def job(queue="mail", **columns):
    return Job.objects.create(id=ids.uuid7(), topic="acme/mail/send", queue=queue, application="one", **columns)


@pytest.fixture
def now(db):
    return timezone.now().replace(second=0, microsecond=0)


def test_without_jobs_all_values_are_zero_and_times_are_never(db):
    assert statistics.of_everything().as_json() == {
        "name": "",
        "startTime": -1,
        "numberOfJobs": 0,
        "numberOfActiveJobs": 0,
        "numberOfQueuedJobs": 0,
        "numberOfFinishedJobs": 0,
        "numberOfFailedJobs": 0,
        "numberOfCancelledJobs": 0,
        "numberOfProcessedJobs": 0,
        "lastActivatedJobTime": -1,
        "lastFinishedJobTime": -1,
        "averageWaitingTime": 0,
        "averageProcessingTime": 0,
    }


def test_values_are_sums_of_the_minutes(now):
    tally(now - timedelta(minutes=9), started=3, finished=1, failed=2, waiting_ms=100, processing_ms=70)
    tally(now - timedelta(minutes=5), started=1, finished=2, cancelled=4, waiting_ms=1, processing_ms=30)
    tally(now - timedelta(minutes=2), failed=1)

    found = statistics.of_everything()
    assert (found.finished, found.failed, found.cancelled, found.processed) == (3, 3, 4, 10)
    assert found.start_time == now - timedelta(minutes=9)


def test_averages_are_whole_milliseconds_of_those_that_count_for_them(now):
    tally(now, started=3, finished=2, failed=9, waiting_ms=101, processing_ms=75)

    found = statistics.of_everything()
    assert (found.average_waiting_ms, found.average_processing_ms) == (33, 37)


def test_only_success_is_a_last_finished_job(now):
    tally(now - timedelta(minutes=9), started=1, finished=1)
    tally(now - timedelta(minutes=4), started=1, failed=1)
    tally(now, cancelled=1)

    found = statistics.of_everything().as_json()
    assert found["lastFinishedJobTime"] == (now - timedelta(minutes=9)).timestamp() * 1000
    assert found["lastActivatedJobTime"] == (now - timedelta(minutes=4)).timestamp() * 1000


def test_a_running_job_tells_to_the_instant_when_it_started(now):
    started_at = now + timedelta(seconds=12, milliseconds=345)
    tally(now, started=1)
    job(state=JobState.ACTIVE, target="one", started_at=started_at)

    assert statistics.of_queue("mail").last_activated_at == started_at


def test_what_waits_and_runs_is_counted_from_the_jobs(now):
    job(target="one")
    job(target="one", not_before=now + timedelta(hours=1))
    job(target="")
    job(target="two", state=JobState.ACTIVE)
    job(target="one", state=JobState.SUCCEEDED, finished_at=now)
    job("pictures", target="two")

    everything, mail = statistics.of_everything(), statistics.of_queue("mail")
    assert (everything.queued, everything.active, everything.total) == (4, 1, 5)
    assert (mail.queued, mail.active, mail.total) == (3, 1, 4)
    assert statistics.of_everything(instance="one").queued == 2
    assert statistics.of_everything(instance="two").active == 1


def test_each_queue_each_instance_and_each_topic_has_its_own(now):
    tally(now, *MAIL, instance="one", finished=1)
    tally(now, "mail", "acme/mail/fetch", instance="two", finished=2)
    tally(now, *PICTURES, instance="two", finished=4, failed=1)
    job("letters", target="three")

    assert [(each.name, each.finished, each.queued) for each in statistics.of_queues()] == [
        ("letters", 0, 1),
        ("mail", 3, 0),
        ("pictures", 4, 0),
    ]
    assert {name: each.finished for name, each in statistics.of_instances().items()} == {"one": 1, "three": 0, "two": 6}
    assert [(each.name, each.processed) for each in statistics.of_topics()] == [
        ("acme/mail/fetch", 2),
        ("acme/mail/send", 1),
        ("acme/pictures/scale", 5),
    ]
    assert [each.finished for each in statistics.of_queues(instance="two")] == [2, 4]
    assert [each.name for each in statistics.of_topics(instance="one")] == ["acme/mail/send"]
    assert statistics.of_queue("mail", instance="two").finished == 2


def test_a_topic_has_no_start_and_nothing_that_waits(now):
    tally(now, *MAIL, finished=1)

    assert set(statistics.of_everything().as_json()) - set(statistics.of_topics()[0].as_json()) == {
        "startTime",
        "numberOfJobs",
        "numberOfActiveJobs",
        "numberOfQueuedJobs",
    }


def test_all_queues_are_read_with_as_many_queries_as_one(now, django_assert_num_queries):
    for number in range(30):
        tally(now, f"queue-{number}", finished=1)
    with django_assert_num_queries(3):
        assert len(statistics.of_queues()) == 30
    with django_assert_num_queries(3):
        statistics.of_queue("queue-1")


@pytest.mark.parametrize(
    ("outcomes", "options", "counted"),
    [
        ([JobResult.OK], {}, {"started": 1, "finished": 1}),
        ([JobResult.FAILED, JobResult.OK], {}, {"started": 2, "finished": 1, "failed": 1}),
        ([JobResult.FAILED, JobResult.FAILED], {"retries": 1}, {"started": 2, "failed": 1, "cancelled": 1}),
        ([JobResult.CANCEL], {}, {"started": 1, "cancelled": 1}),
        ([RuntimeError("no paper")], {}, {"started": 1, "cancelled": 1}),
    ],
)
def test_what_the_engine_does_is_counted(db, outcomes, options, counted):
    left = list(outcomes)

    class Consumer(JobConsumer):
        topics = ("acme/mail/send",)

        def process(self, job):
            if isinstance(left[0], Exception):
                raise left.pop(0)
            return left.pop(0)

    with consumers.register_temporarily(Consumer):
        manager.add_job("acme/mail/send", retry_delay_seconds=0, **options)
        testing.run_waiting()

    (found,) = statistics.of_queues()
    names = ("started", "finished", "failed", "cancelled")
    assert {name: getattr(found, name) for name in names if getattr(found, name)} == counted
    assert found.total == 0
    assert statistics.of_topics()[0].processed == len(outcomes)


def test_stopping_a_waiting_job_cancels_it(db):
    job = manager.add_job("acme/mail/send")
    manager.stop_job(job.id, by="ann")

    assert (statistics.of_everything().cancelled, statistics.of_everything().started) == (1, 0)


# --- Throughput ---------------------------------------------------------------------------------------------------


def test_throughput_is_by_minute_oldest_first_with_zeros_between(now, monkeypatch):
    monkeypatch.setattr(statistics, "_this_minute", lambda: now)
    tally(now, finished=1, failed=2, cancelled=3, started=50)
    tally(now - timedelta(minutes=2), "mail", "acme/mail/fetch", finished=4)
    tally(now - timedelta(minutes=2), finished=3, instance="two")
    tally(now - timedelta(minutes=4), *PICTURES, finished=9)
    tally(now - timedelta(minutes=5), finished=99)
    tally(now - timedelta(minutes=1), started=5)

    assert statistics.throughput("mail", minutes=5) == [0, 0, 7, 0, 6]
    assert statistics.throughput(minutes=5) == [9, 0, 7, 0, 6]
    assert statistics.throughput("nothing", minutes=3) == [0, 0, 0]
    assert statistics.throughputs(5) == {"mail": [0, 0, 7, 0, 6], "pictures": [9, 0, 0, 0, 0]}
    assert statistics.throughputs(3, by="topic") == {"acme/mail/send": [3, 0, 6], "acme/mail/fetch": [4, 0, 0]}
    assert statistics.throughputs(3, by="instance") == {"one": [4, 0, 6], "two": [3, 0, 0]}


def test_the_running_minute_is_the_last_one(db):
    statistics.count([Entry(*MAIL, finished=2)])

    assert sum(statistics.throughput("mail", minutes=60)[-2:]) == 2


@pytest.mark.parametrize("minutes", [0, -1, 24 * 60 + 1])
def test_throughput_of_a_time_that_is_not_kept_is_refused(db, minutes):
    with pytest.raises(ValueError, match="last 1 to 1440 minutes"):
        statistics.throughput(minutes=minutes)


def test_throughput_by_something_else_is_refused(db):
    with pytest.raises(ValueError, match="by queue, topic or instance"):
        statistics.throughputs(by="color")


# --- Beginning anew -----------------------------------------------------------------------------------------------


def test_a_reset_begins_at_zero_at_once_and_counts_on(db):
    statistics.count([Entry(*MAIL, started=5, finished=5, waiting_ms=50), Entry(*PICTURES, finished=1)])
    statistics.reset(by="ann")
    before = statistics.of_everything()
    statistics.count([Entry(*MAIL, started=1, finished=1, waiting_ms=7)])
    after = statistics.of_everything()

    assert (before.processed, before.last_finished_at, before.average_waiting_ms) == (0, None, 0)
    assert (after.finished, after.average_waiting_ms) == (1, 7)
    assert after.start_time == StatisticsReset.objects.get(queue="").reset_at
    assert StatisticsReset.objects.get(queue="").reset_by == "ann"


def test_a_reset_keeps_what_waits_and_runs(db):
    job(target="one")
    job(target="one", state=JobState.ACTIVE, started_at=timezone.now() - timedelta(hours=1))
    statistics.reset(by="ann")

    found = statistics.of_everything()
    assert (found.queued, found.active, found.last_activated_at) == (1, 1, None)


def test_a_queue_is_reset_alone(db):
    statistics.count([Entry(*MAIL, finished=1), Entry(*PICTURES, finished=2)])
    statistics.reset("mail", by="ann")

    assert statistics.of_queue("mail").finished == 0
    assert statistics.of_queue("pictures").finished == 2
    assert [(each.name, each.finished) for each in statistics.of_queues()] == [("pictures", 2)]
    assert statistics.of_everything().finished == 3


def test_a_reset_of_everything_resets_all_queues_and_forgets_all_topics(db):
    statistics.count([Entry(*MAIL, finished=1), Entry(*PICTURES, finished=2)])
    statistics.reset("mail", by="ann")
    statistics.reset(by="ann")

    assert statistics.of_queues() == statistics.of_topics() == []
    assert list(StatisticsReset.objects.values_list("queue", flat=True)) == [""]


def test_resets_in_the_same_minute_keep_their_order(db):
    for number, queue in enumerate(["", "mail", "pictures", "mail"]):
        statistics.count([Entry(*MAIL, finished=10**number), Entry(*PICTURES, finished=10**number)])
        statistics.reset(queue, by="ann")
    statistics.count([Entry(*MAIL, finished=5)])

    assert statistics.of_everything().finished == 2 * 1110 + 5
    assert statistics.of_queue("mail").finished == 5
    assert statistics.of_queue("pictures").finished == 1000


def test_what_was_reset_still_shows_as_throughput(db):
    statistics.count([Entry(*MAIL, finished=3)])
    statistics.reset(by="ann")

    assert sum(statistics.throughput("mail", minutes=4)) == 3


# --- Putting together ---------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def at_noon(db, monkeypatch):
    monkeypatch.setattr(statistics, "_this_minute", lambda: NOON)


def minutes():
    return list(Tally.objects.order_by("minute", "queue").values_list("minute", "queue", "finished", "waiting_ms"))


def test_minutes_become_hours_after_a_day_and_no_sum_changes(at_noon):
    for minute in range(180):
        tally(NOON - timedelta(hours=27) + timedelta(minutes=minute), finished=1, waiting_ms=minute)
    tally(NOON - timedelta(hours=26, minutes=30), *PICTURES, finished=1)
    tally(NOON - timedelta(minutes=1), finished=1)
    before = statistics.of_everything()

    assert statistics.compact() == 120 - 2 + 1
    assert minutes()[:3] == [
        (NOON - timedelta(hours=27), "mail", 60, sum(range(60))),
        (NOON - timedelta(hours=27), "pictures", 1, 0),
        (NOON - timedelta(hours=26), "mail", 60, sum(range(60, 120))),
    ]
    assert Tally.objects.count() == 3 + 60 + 1
    assert statistics.compact() == 0
    after = statistics.of_everything()
    assert (after.finished, after.waiting_ms) == (before.finished, before.waiting_ms)


def test_hours_become_days_after_35_of_them(at_noon):
    begin = NOON - timedelta(days=40, hours=12)
    for hour in range(24 * 7):
        tally(begin + timedelta(hours=hour), finished=1)

    assert statistics.compact() == 5 * 23
    assert minutes()[:5] == [(begin + timedelta(days=day), "mail", 24, 0) for day in range(5)]
    assert Tally.objects.count() == 5 + 2 * 24


def test_a_long_history_is_put_together_bit_by_bit(at_noon):
    for minute in range(1, 60):
        tally(NOON - timedelta(hours=30) + timedelta(minutes=minute), finished=1)

    assert [statistics.compact(limit=25) for _ in range(4)] == [25, 25, 9, 0]
    assert minutes() == [(NOON - timedelta(hours=30), "mail", 59, 0)]


def test_an_hour_in_which_statistics_were_reset_stays_exact(at_noon):
    hour = NOON - timedelta(hours=30)
    for minute in range(120):
        tally(hour + timedelta(minutes=minute), finished=1)
    StatisticsReset.objects.create(queue="mail", reset_at=hour + timedelta(minutes=30, seconds=10))
    before = statistics.of_queue("mail").finished

    assert statistics.compact() == 59
    assert statistics.compact() == 0
    assert statistics.of_queue("mail").finished == before == 90
