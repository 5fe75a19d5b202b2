"""What is fired for the times that were missed, by policy."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from offloading.jobs import misfires, schedules

ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def plan(*given, due, now, misfire, limit=misfires.MAX_RUNS):
    return misfires.plan(given, due=due, now=now, zone=ZONE, misfire=misfire, limit=limit)


def minutes(*numbers):
    return tuple(NOON + timedelta(minutes=number) for number in numbers)


@pytest.mark.parametrize("misfire", ["SKIP", "ONCE", "ALL"])
@pytest.mark.parametrize("late_seconds", [0, 1, 60])
def test_run_in_time_is_fired_whatever_the_policy(misfire, late_seconds):
    now = NOON + timedelta(seconds=late_seconds)
    found = plan(schedules.hourly(0), due=NOON, now=now, misfire=misfire)
    assert found == misfires.Plan((NOON,), False, (schedules.hourly(0),), NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("misfire", "runs", "has_skipped"),
    [
        ("SKIP", minutes(20), True),
        ("ONCE", minutes(0), False),
        ("ALL", minutes(0, 5, 10, 15, 20), False),
    ],
)
def test_missed_runs(misfire, runs, has_skipped):
    now = NOON + timedelta(minutes=20, seconds=30)
    found = plan(schedules.by_cron("*/5 * * * *"), due=NOON, now=now, misfire=misfire)
    assert (found.runs, found.has_skipped) == (runs, has_skipped)
    assert found.next_at == minutes(25)[0]


def test_skip_fires_nothing_if_nothing_is_recent():
    now = NOON + timedelta(minutes=22)
    found = plan(schedules.by_cron("*/5 * * * *"), due=NOON, now=now, misfire="SKIP")
    assert (found.runs, found.has_skipped, found.next_at) == ((), True, minutes(25)[0])


def test_all_ends_at_the_limit():
    now = NOON + timedelta(minutes=20)
    found = plan(schedules.by_cron("*/5 * * * *"), due=NOON, now=now, misfire="ALL", limit=4)
    assert (found.runs, found.has_skipped) == (minutes(0, 5, 10, 15), True)
    assert plan(schedules.by_cron("*/5 * * * *"), due=NOON, now=now, misfire="ALL", limit=5).has_skipped is False
    long = plan(schedules.by_cron("* * * * *"), due=NOON, now=NOON + timedelta(days=900), misfire="ALL")
    assert (len(long.runs), long.has_skipped) == (100, True)


def test_date_is_over_once_it_was_due():
    date = schedules.at(NOON)
    found = plan(date, schedules.hourly(30), due=NOON, now=NOON, misfire="ONCE")
    assert (found.left, found.next_at) == ((schedules.hourly(30),), minutes(30)[0])
    found = plan(date, due=NOON, now=NOON + timedelta(days=1), misfire="ONCE")
    assert (found.runs, found.left, found.next_at) == ((NOON,), (), None)


def test_date_that_was_missed_is_skipped_if_that_is_wanted():
    found = plan(schedules.at(NOON), due=NOON, now=NOON + timedelta(minutes=2), misfire="SKIP")
    assert found == misfires.Plan((), True, (), None)


def test_date_that_is_yet_to_come_stays():
    date = schedules.at(NOON + timedelta(hours=1))
    found = plan(date, schedules.hourly(0), due=NOON, now=NOON, misfire="ALL")
    assert date in found.left and found.next_at == date.at
