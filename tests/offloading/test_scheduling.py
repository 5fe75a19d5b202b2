"""Scheduled jobs: what is refused, what is the same, what a person can do, and that each time is fired once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections

from offloading import exceptions
from offloading.jobs import schedules, scheduling
from offloading.models import Job, ScheduledJob
from tests.offloading import topologies
from topology import wakeup

pytestmark = pytest.mark.django_db
TOPIC = "test/scheduling"
EPOCH = 3


@pytest.fixture(autouse=True)
def local():
    return topologies.establish(topics=TOPIC)


@pytest.fixture
def woken(monkeypatch):
    """Return the list of wake-ups that were asked for; sending them is another test's affair."""
    found = []
    monkeypatch.setattr(wakeup, "notify", lambda kind, sling_id="": found.append(kind))
    return found


def schedule(*when, topic=TOPIC, **facts):
    return scheduling.schedule_job(topic=topic, schedules=when or (schedules.hourly(5),), **facts)


def soon(seconds=60):
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def due_at(row, when=None):
    """Let a scheduled job be due at `when`."""
    when = when or row.next_at
    ScheduledJob.objects.filter(name=row.name).update(next_at=when)
    return when


def fire(when, epoch=EPOCH):
    return scheduling.fire_due(epoch=epoch, now=when)


# --- Scheduling ---------------------------------------------------------------------------------------------------


def test_scheduled_job_is_stored_with_its_next_time(local, woken):
    row = schedule(
        schedules.daily(8, 30), properties={"a": {"b": 1}}, title="Sweep", time_zone="Europe/Berlin", by="ann"
    )
    stored = scheduling.get(row.name)
    assert (stored.topic, stored.title, stored.properties) == (TOPIC, "Sweep", {"a": {"b": 1}})
    assert (stored.time_zone, stored.misfire, stored.application, stored.created_by) == (
        "Europe/Berlin",
        "ONCE",
        local,
        "ann",
    )
    assert stored.next_at == schedules.next_run(
        schedules.daily(8, 30), datetime.now(UTC), schedules.zone_of("Europe/Berlin")
    )
    assert scheduling.times(stored) == (schedules.daily(8, 30),)
    assert woken == ["schedules"]
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"topic": "not a topic"}, exceptions.TopicInvalid),
        ({"properties": {"a": object()}}, exceptions.PropertiesInvalid),
        ({"schedules": []}, exceptions.ScheduleInvalid),
        ({"schedules": [schedules.at(datetime(2020, 1, 1, tzinfo=UTC))]}, exceptions.ScheduleInvalid),
        ({"time_zone": "Mars/Base"}, exceptions.ScheduleInvalid),
        ({"misfire": "LATER"}, exceptions.ScheduleInvalid),
    ],
)
def test_what_is_not_valid_is_refused_and_nothing_stored(facts, error):
    with pytest.raises(error):
        scheduling.schedule_job(**{"topic": TOPIC, "schedules": [schedules.hourly(1)]} | facts)
    assert not ScheduledJob.objects.exists()


def test_zone_is_that_of_the_installation_unless_one_is_given(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    assert schedule().time_zone == "Asia/Tokyo"


def test_same_again_is_the_same(woken):
    first = schedule(properties={"a": {"b": [1, 2]}})
    again = schedule(properties={"a": {"b": [1, 2]}})
    assert (again, again.version, again.next_at) == (first, 1, first.next_at)
    assert ScheduledJob.objects.count() == 1
    assert woken == ["schedules"]


def test_nested_names_that_json_makes_texts_do_not_make_another_one():
    assert schedule(properties={"a": {1: 2}}) == schedule(properties={"a": {"1": 2}})


def test_others_are_others():
    names = {
        schedule().name,
        schedule(schedules.hourly(6)).name,
        schedule(properties={"a": 1}).name,
        schedule(topic="test/other").name,
        schedule(time_zone="Asia/Tokyo").name,
    }
    assert len(names) == ScheduledJob.objects.count() == 5


def test_same_again_takes_over_title_and_policy_and_stays_suspended():
    row = schedule()
    scheduling.suspend(name=row.name, by="ann")
    again = schedule(title="New", misfire="ALL")
    assert (again.title, again.misfire, again.suspended_by, again.next_at) == ("New", "ALL", "ann", None)


def test_date_that_is_over_does_not_refuse_what_is_scheduled_already():
    given = (schedules.at(soon()), schedules.hourly(5))
    row = schedule(*given)
    later = soon(3600 * 2)
    fire(later)
    assert scheduling.times(scheduling.get(row.name)) == (schedules.hourly(5),)
    assert schedule(*given) == row


def test_suspended_from_the_beginning():
    row = schedule(suspended=True, by="ann")
    assert (row.suspended_by, row.next_at) == ("ann", None)
    assert scheduling.next_due() is None


# --- Changing -----------------------------------------------------------------------------------------------------


def test_suspended_one_does_not_fire_and_resumed_one_does_not_catch_up(woken):
    row = schedule()
    suspended = scheduling.suspend(name=row.name, by="ann")
    assert (suspended.suspended_by, suspended.next_at, suspended.version) == ("ann", None, 2)
    assert fire(soon(86_400)) == 0
    resumed = scheduling.resume(name=row.name, by="bob")
    assert (resumed.suspended_by, resumed.suspended_at, resumed.version) == ("", None, 3)
    assert resumed.next_at > datetime.now(UTC)
    assert woken == ["schedules"] * 3


def test_suspending_twice_and_resuming_twice_is_once():
    row = schedule()
    scheduling.suspend(name=row.name, by="ann")
    assert scheduling.suspend(name=row.name, by="bob").suspended_by == "ann"
    scheduling.resume(name=row.name, by="ann")
    assert scheduling.resume(name=row.name, by="ann").version == 3


def test_one_without_a_time_to_come_is_not_resumed():
    row = schedule(schedules.at(soon()))
    scheduling.suspend(name=row.name, by="ann")
    past = schedules.at(datetime(2020, 1, 1, tzinfo=UTC))
    ScheduledJob.objects.update(schedules=[past.to_json()])
    with pytest.raises(exceptions.ScheduleInvalid, match="All its dates are over"):
        scheduling.resume(name=row.name, by="ann")
    assert scheduling.get(row.name).suspended_by == "ann"


def test_rescheduled_one_keeps_its_name_and_what_it_does(woken):
    row = schedule(properties={"a": 1})
    moved = scheduling.reschedule(name=row.name, schedules=[schedules.daily(1, 2)], time_zone="Asia/Tokyo", by="ann")
    assert (moved.name, moved.topic, moved.properties, moved.version) == (row.name, TOPIC, {"a": 1}, 2)
    assert (moved.time_zone, moved.next_at.minute, moved.next_at.hour) == ("Asia/Tokyo", 2, 16)
    assert woken == ["schedules"] * 2


@pytest.mark.parametrize("when", [[], [schedules.at(datetime(2020, 1, 1, tzinfo=UTC))]])
def test_rescheduled_to_nonsense_the_old_times_stay(when):
    row = schedule()
    with pytest.raises(exceptions.ScheduleInvalid):
        scheduling.reschedule(name=row.name, schedules=when, by="ann")
    assert (scheduling.get(row.name).schedules, scheduling.get(row.name).version) == (row.schedules, 1)


def test_rescheduled_while_suspended_it_stays_so():
    row = schedule(suspended=True, by="ann")
    assert scheduling.reschedule(name=row.name, schedules=[schedules.daily(1, 2)], by="bob").next_at is None


def test_removed_one_is_gone_and_its_jobs_stay():
    row = schedule()
    scheduling.run_now(name=row.name, by="ann")
    assert scheduling.unschedule(name=row.name, by="ann") is True
    assert scheduling.unschedule(name=row.name, by="ann") is False
    assert (ScheduledJob.objects.count(), Job.objects.count()) == (0, 1)


def test_run_by_hand_adds_the_job_and_moves_no_time():
    row = schedule(properties={"a": 1}, title="Sweep")
    job = scheduling.run_now(name=row.name, by="ann")
    stored = scheduling.get(row.name)
    assert (job.topic, job.properties, job.title) == (TOPIC, {"a": 1}, "Sweep")
    assert (stored.last_job, stored.fired_count, stored.next_at) == (job.id, 1, row.next_at)


@pytest.mark.parametrize("act", [scheduling.suspend, scheduling.resume, scheduling.run_now])
def test_unknown_name_is_missing(act):
    with pytest.raises(exceptions.ScheduleMissing, match="no scheduled job nonsense"):
        act(name="nonsense", by="ann")
    with pytest.raises(exceptions.ScheduleMissing):
        scheduling.get("nonsense")
    with pytest.raises(exceptions.ScheduleMissing):
        scheduling.reschedule(name="nonsense", schedules=[schedules.hourly(1)], by="ann")


# --- Looking ------------------------------------------------------------------------------------------------------


def test_next_runs_begin_with_the_next_and_rise():
    row = schedule(schedules.hourly(5))
    runs = scheduling.next_runs(row, datetime.now(UTC), 3)
    assert runs == tuple(row.next_at + timedelta(hours=number) for number in range(3))
    assert scheduling.next_runs(scheduling.suspend(name=row.name, by="ann"), datetime.now(UTC), 3) == ()


def test_found_by_topic_and_templates_the_next_first():
    later = schedule(schedules.at(soon(500)), properties={"size": 5, "to": "ann"})
    first = schedule(schedules.at(soon(100)), properties={"size": 50})
    rests = schedule(schedules.at(soon(300)), topic="test/other", suspended=True, by="ann", title="Sweep")
    assert scheduling.find() == [first, later, rests]
    assert scheduling.find(TOPIC) == [first, later]
    assert scheduling.find(limit=1) == [first]
    assert scheduling.find(templates=[{"to": "ann"}]) == [later]
    assert scheduling.find(templates=[{"<size": 50}, {"slingevent:jobTitle": "Sweep"}]) == [later, rests]
    assert scheduling.find(templates=[{">size": 1, "=size": "5"}, {}]) == []
    with pytest.raises(exceptions.QueryInvalid):
        scheduling.find(templates=[{"event.job.retrycount": 3}])


def test_words_of_a_stored_job():
    assert scheduling.describe(schedule(schedules.daily(8, 30))) == "every day at 08:30"
    assert scheduling.describe(ScheduledJob(schedules=["?"])) == ""


def test_next_due_is_counted_by_the_clock_of_the_database():
    assert scheduling.next_due() is None
    row = schedule(schedules.at(soon(100)))
    assert 90 < scheduling.next_due() <= 100
    due_at(row, soon(-50))
    assert -60 < scheduling.next_due() <= -50


# --- Firing -------------------------------------------------------------------------------------------------------


def test_due_job_is_added_and_the_next_time_set():
    row = schedule(schedules.hourly(5), properties={"a": 1}, title="Sweep")
    due = row.next_at
    assert fire(due - timedelta(seconds=1)) == 0
    assert fire(due) == 1
    stored, job = scheduling.get(row.name), Job.objects.get()
    assert (job.topic, job.properties, job.title) == (TOPIC, {"a": 1}, "Sweep")
    assert (stored.last_job, stored.last_due_at, stored.next_at) == (job.id, due, due + timedelta(hours=1))
    assert (stored.fired_count, stored.epoch, stored.version) == (1, EPOCH, 2)


def test_second_call_fires_nothing():
    due = schedule().next_at
    assert [fire(due), fire(due), fire(due + timedelta(minutes=59))] == [1, 0, 0]


def test_what_is_not_given_is_the_clock_of_the_database():
    row = schedule()
    assert scheduling.fire_due(epoch=EPOCH) == 0
    due_at(row, soon(-30))
    assert scheduling.fire_due(epoch=EPOCH) == 1
    assert scheduling.get(row.name).next_at > datetime.now(UTC)


def test_one_read_before_somebody_changed_it_is_not_fired():
    row = schedule()
    for change in (
        lambda: scheduling.run_now(name=row.name, by="ann"),
        lambda: scheduling.suspend(name=row.name, by="ann"),
        lambda: scheduling.resume(name=row.name, by="ann"),
        lambda: scheduling.reschedule(name=row.name, schedules=[schedules.hourly(6)], by="ann"),
        lambda: scheduling.unschedule(name=row.name, by="ann"),
    ):
        before = scheduling.get(row.name)
        before.next_at = before.next_at or soon()
        change()
        count = Job.objects.count()
        assert scheduling._fire(before, EPOCH, soon(86_400)) == 0
        assert Job.objects.count() == count


def test_leader_of_an_older_view_fires_nothing_any_more():
    row = schedule()
    fire(row.next_at, epoch=5)
    later = row.next_at + timedelta(hours=1)
    assert fire(later, epoch=4) == 0
    assert fire(later, epoch=5) == 1
    assert fire(later + timedelta(hours=1), epoch=6) == 1


@pytest.mark.parametrize(("misfire", "count"), [("SKIP", 1), ("ONCE", 1), ("ALL", 7)])
def test_missed_runs_are_caught_up_by_the_policy(misfire, count):
    row = schedule(schedules.hourly(5), misfire=misfire)
    now = row.next_at + timedelta(hours=6)
    assert fire(now) == count
    stored = scheduling.get(row.name)
    assert (stored.next_at, stored.fired_count) == (now + timedelta(hours=1), count)
    assert stored.last_due_at == (row.next_at if misfire == "ONCE" else now)


def test_skipped_runs_add_no_job_and_are_logged(caplog):
    row = schedule(schedules.hourly(5), misfire="SKIP")
    assert fire(row.next_at + timedelta(minutes=30)) == 0
    stored = scheduling.get(row.name)
    assert (stored.next_at, stored.last_due_at, stored.fired_count) == (row.next_at + timedelta(hours=1), None, 0)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["missed runs skipped"]


def test_date_is_removed_after_firing_and_the_last_one_takes_the_job_along():
    first, second = soon(60), soon(120)
    row = schedule(schedules.at(first), schedules.at(second))
    assert fire(first) == 1
    assert scheduling.times(scheduling.get(row.name)) == (schedules.at(second),)
    assert fire(second) == 1
    assert not ScheduledJob.objects.exists()
    assert Job.objects.count() == 2
    assert fire(second) == 0


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"schedules": [{"type": "SOMETIMES"}]}, "A schedule is an object"),
        ({"time_zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"topic": "not a topic"}, "is not a topic"),
        ({"properties": {"a": "x" * 1024 * 1024}}, "bytes"),
    ],
)
def test_broken_one_is_parked_with_its_reason_and_keeps_no_other_from_firing(broken, reason, caplog):
    bad, good = schedule(topic="test/bad"), schedule()
    ScheduledJob.objects.filter(name=bad.name).update(**broken)
    assert fire(good.next_at) == 1
    assert Job.objects.get().topic == TOPIC
    parked = scheduling.get(bad.name)
    assert (parked.next_at, parked.fired_count, parked.version) == (None, 0, 2)
    assert reason in scheduling.problem(parked)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "schedule parked, its job is refused"
    ]
    assert fire(good.next_at + timedelta(hours=1)) == 1


def test_parked_one_is_resumed_when_it_is_mended():
    bad = schedule()
    ScheduledJob.objects.update(time_zone="Mars/Base")
    fire(bad.next_at)
    with pytest.raises(exceptions.ScheduleInvalid, match="Mars/Base"):
        scheduling.resume(name=bad.name, by="ann")
    ScheduledJob.objects.update(time_zone="UTC")
    assert scheduling.problem(scheduling.get(bad.name)) == scheduling.PARKED
    assert scheduling.problem(scheduling.resume(name=bad.name, by="ann")) == ""


def test_one_that_fails_otherwise_stays_due_and_keeps_no_other_from_firing(caplog):
    bad, good = schedule(topic="test/bad"), schedule()
    ScheduledJob.objects.filter(name=bad.name).update(properties=["no", "object"])
    assert fire(good.next_at) == 1
    assert scheduling.get(bad.name).next_at == bad.next_at
    assert "schedule could not be fired, trying on" in caplog.messages


def test_change_is_told(django_capture_on_commit_callbacks):
    told = []

    def hear(name, **facts):
        told.append(name)

    scheduling.schedules_changed.connect(hear)
    try:
        row = schedule()
        fire(row.next_at)
        scheduling.unschedule(name=row.name, by="ann")
        scheduling.unschedule(name=row.name, by="ann")
    finally:
        scheduling.schedules_changed.disconnect(hear)
    assert told == [row.name] * 3


@pytest.mark.django_db(transaction=True)
def test_leaders_at_the_same_time_fire_each_run_once():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time, and its test database is that of one thread")
    leaders, runs = 6, 10
    rows = [schedule(schedules.hourly(minute)) for minute in range(20)]
    start = max(row.next_at for row in rows)
    for number in range(runs):
        barrier = threading.Barrier(leaders)
        now = start + timedelta(hours=number)

        def lead(barrier=barrier, now=now):
            try:
                barrier.wait()
                return fire(now)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(leaders) as pool:
            fired = [future.result() for future in [pool.submit(lead) for _ in range(leaders)]]
        assert sum(fired) == len(rows)
    assert Job.objects.count() == len(rows) * runs
    assert set(ScheduledJob.objects.values_list("fired_count", flat=True)) == {runs}


@pytest.mark.django_db(transaction=True)
def test_audit_log_tells_of_it_in_the_words_of_sling(caplog):
    caplog.set_level("DEBUG", "offloading.jobs.audit")
    row = schedule()
    schedule()
    scheduling.suspend(name=row.name, by="ann")
    scheduling.resume(name=row.name, by="ann")
    scheduling.unschedule(name=row.name, by="ann")
    told = [record.message for record in caplog.records if record.name == "offloading.jobs.audit"]
    assert told == ["SCHEDULED OK", "SUSPENDED", "SCHEDULED OK", "STOP"]
