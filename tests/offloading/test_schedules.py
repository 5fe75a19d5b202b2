"""Schedules: their ranges, the times they name through the year and through changes of the clock, names and words."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offloading import exceptions
from offloading.jobs import schedules
from offloading.jobs.schedules import Schedule, Type

UTC_ZONE, BERLIN, NEW_YORK = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
LORD_HOWE, KATHMANDU, APIA = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Apia")
TWO = (schedules.hourly(1), schedules.daily(8, 0))
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)  # a Tuesday


def at(text, zone=UTC_ZONE):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def wall(run, zone=UTC_ZONE):
    return run.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (schedules.hourly(5), "2026-11-24T12:04:59", "2026-11-24 12:05:00"),
        (schedules.hourly(5), "2026-11-24T12:05:00", "2026-11-24 13:05:00"),
        (schedules.hourly(0), "2026-12-31T23:30:00", "2027-01-01 00:00:00"),
        (schedules.daily(8, 30), "2026-11-24T08:29:59", "2026-11-24 08:30:00"),
        (schedules.daily(8, 30), "2026-11-24T08:30:00", "2026-11-25 08:30:00"),
        (schedules.daily(8, 30), "2026-11-24T08:30:59", "2026-11-25 08:30:00"),
        (schedules.weekly(1, 8, 30), "2026-11-24T12:00:00", "2026-11-29 08:30:00"),
        (schedules.weekly(3, 8, 30), "2026-11-24T12:00:00", "2026-12-01 08:30:00"),
        (schedules.weekly(3, 12, 30), "2026-11-24T12:00:00", "2026-11-24 12:30:00"),
        (schedules.weekly(7, 8, 30), "2026-11-24T12:00:00", "2026-11-28 08:30:00"),
        (schedules.monthly(24, 12, 30), "2026-11-24T12:00:00", "2026-11-24 12:30:00"),
        (schedules.monthly(24, 11, 30), "2026-11-24T12:00:00", "2026-12-24 11:30:00"),
        (schedules.monthly(1, 0, 0), "2026-12-24T12:00:00", "2027-01-01 00:00:00"),
        (schedules.yearly(1, 1, 0, 0), "2026-11-24T12:00:00", "2027-01-01 00:00:00"),
        (schedules.yearly(12, 24, 18, 0), "2026-11-24T12:00:00", "2026-12-24 18:00:00"),
        (schedules.yearly(11, 24, 12, 0), "2026-11-24T12:00:00", "2027-11-24 12:00:00"),
        (schedules.at(at("2026-11-24T12:00:01")), "2026-11-24T12:00:00", "2026-11-24 12:00:01"),
        (schedules.by_cron("30 8 * * 1"), "2026-11-24T12:00:00", "2026-11-30 08:30:00"),
    ],
)
def test_next_run_is_strictly_later_and_at_the_full_minute(schedule, after, expected):
    assert wall(schedules.next_run(schedule, at(after), UTC_ZONE)) == expected


def test_date_that_was_is_not_again():
    assert schedules.next_run(schedules.at(NOON), NOON, UTC_ZONE) is None


@pytest.mark.parametrize("month", range(1, 13))
def test_year_has_the_month_that_was_given(month):
    run = schedules.next_run(schedules.yearly(month, 15, 6, 7), NOON, UTC_ZONE)
    assert (run.month, run.day, run.hour, run.minute) == (month, 15, 6, 7)


@pytest.mark.parametrize(("day", "name"), list(enumerate(schedules.WEEKDAYS, start=1)))
def test_week_begins_with_sunday(day, name):
    assert f"{schedules.next_run(schedules.weekly(day, 6, 7), NOON, UTC_ZONE):%A}" == name


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        # The clock of Berlin jumps from 02:00 to 03:00, and falls back from 03:00 to 02:00.
        (schedules.daily(2, 30), BERLIN, "2026-03-28T12:00:00", ["2026-03-29 03:00:00", "2026-03-30 02:30:00"]),
        (schedules.daily(2, 30), BERLIN, "2026-10-24T12:00:00", ["2026-10-25 02:30:00", "2026-10-26 02:30:00"]),
        (schedules.weekly(1, 2, 30), BERLIN, "2026-03-28T12:00:00", ["2026-03-29 03:00:00", "2026-04-05 02:30:00"]),
        (schedules.daily(8, 30), BERLIN, "2026-03-28T12:00:00", ["2026-03-29 08:30:00", "2026-03-30 08:30:00"]),
        (schedules.daily(2, 30), NEW_YORK, "2026-03-07T12:00:00", ["2026-03-08 03:00:00", "2026-03-09 02:30:00"]),
        # Half an hour is left out.
        (schedules.daily(2, 15), LORD_HOWE, "2026-10-03T12:00:00", ["2026-10-04 02:30:00", "2026-10-05 02:15:00"]),
        # A whole day is left out.
        (schedules.daily(9, 0), APIA, "2011-12-29T08:00:00", ["2011-12-29 09:00:00", "2011-12-31 00:00:00",
                                                               "2011-12-31 09:00:00"]),
        (schedules.hourly(0), BERLIN, "2026-03-29T01:00:00", ["2026-03-29 03:00:00", "2026-03-29 04:00:00"]),
        (schedules.hourly(0), BERLIN, "2026-10-25T01:30:00", ["2026-10-25 02:00:00", "2026-10-25 02:00:00",
                                                              "2026-10-25 03:00:00"]),
        (schedules.hourly(15), LORD_HOWE, "2026-10-04T01:00:00", ["2026-10-04 01:15:00", "2026-10-04 03:15:00"]),
        (schedules.hourly(10), KATHMANDU, "2026-10-04T01:00:00", ["2026-10-04 01:10:00", "2026-10-04 02:10:00"]),
    ],
)  # fmt: skip
def test_changes_of_the_clock(schedule, zone, after, expected):
    runs = schedules.next_runs([schedule], at(after, zone), zone, len(expected))
    assert [wall(run, zone) for run in runs] == expected


def test_in_the_second_of_two_equal_hours_the_first_has_been():
    second = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    assert wall(schedules.next_run(schedules.daily(2, 30), second, BERLIN), BERLIN) == "2026-10-26 02:30:00"


def test_several_schedules_go_together_and_one_time_is_one_run():
    both = [schedules.daily(8, 0), schedules.weekly(4, 8, 0), schedules.daily(20, 0), schedules.at(NOON)]
    runs = schedules.next_runs(both, NOON, UTC_ZONE, 4)
    assert [wall(run) for run in runs] == [
        "2026-11-24 20:00:00",
        "2026-11-25 08:00:00",
        "2026-11-25 20:00:00",
        "2026-11-26 08:00:00",
    ]
    assert schedules.next_runs([schedules.at(NOON)], NOON, UTC_ZONE, 3) == ()


zones = st.sampled_from([UTC_ZONE, BERLIN, NEW_YORK, LORD_HOWE, KATHMANDU, ZoneInfo("America/Santiago")])
instants = st.datetimes(datetime(2020, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC))
minutes, hours, days = st.integers(0, 59), st.integers(0, 23), st.integers(1, 28)
any_schedule = st.one_of(
    st.builds(schedules.hourly, minutes),
    st.builds(schedules.daily, hours, minutes),
    st.builds(schedules.weekly, st.integers(1, 7), hours, minutes),
    st.builds(schedules.monthly, days, hours, minutes),
    st.builds(schedules.yearly, st.integers(1, 12), days, hours, minutes),
    st.builds("{1} {0} * * *".format, hours, minutes).map(schedules.by_cron),
    st.builds("{} * * * *".format, minutes).map(schedules.by_cron),
)


@given(any_schedule, instants, zones)
def test_runs_rise_fit_their_fields_and_leave_nothing_out(schedule, after, zone):
    first, second = schedules.next_runs([schedule], after, zone, 2)
    assert after < first < second
    assert first.second == first.microsecond == 0
    # Whatever lies in between has the same next run: nothing was left out.
    middle = after + (first - after) / 2
    assert schedules.next_run(schedule, middle, zone) == first
    assert schedules.next_run(schedule, first - timedelta(microseconds=1), zone) == first
    local = first.astimezone(zone)
    fits = {
        "minute": local.minute,
        "hour": local.hour,
        "day": local.isoweekday() % 7 + 1 if schedule.type == Type.WEEKLY else local.day,
        "month": local.month,
    }
    wanted = {field: getattr(schedule, field) for field in schedules.FIELDS[schedule.type] if field in fits}
    # Only a gap in the clock makes a run come at another time.
    is_after_gap = (local - timedelta(minutes=1)).replace(tzinfo=None) != (
        (first - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
    )
    assert is_after_gap or wanted == {field: fits[field] for field in wanted}


@given(any_schedule | instants.map(schedules.at))
def test_stored_schedule_is_read_back(schedule):
    assert schedules.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: schedules.hourly(60), "minute of a HOURLY schedule is 0 to 59"),
        (lambda: schedules.hourly(-1), "0 to 59"),
        (lambda: schedules.hourly(True), "0 to 59"),
        (lambda: schedules.hourly("5"), "0 to 59"),
        (lambda: schedules.daily(24, 0), "hour of a DAILY schedule is 0 to 23"),
        (lambda: schedules.weekly(0, 8, 0), "1 to 7, 1 = Sunday"),
        (lambda: schedules.weekly(8, 8, 0), "1 to 7"),
        (lambda: schedules.monthly(29, 8, 0), "1 to 28"),
        (lambda: schedules.yearly(0, 1, 8, 0), "month of a YEARLY schedule is 1 to 12"),
        (lambda: schedules.yearly(13, 1, 8, 0), "1 to 12"),
        (lambda: schedules.yearly(2, 29, 8, 0), "1 to 28"),
        (lambda: schedules.at(datetime(2030, 1, 1)), "time zone"),
        (lambda: schedules.at(datetime(9999, 12, 31, tzinfo=UTC)), "9000"),
        (lambda: schedules.at("tomorrow"), "time zone"),
        (lambda: schedules.by_cron("tomorrow"), "cron expression 'tomorrow'"),
        (lambda: schedules.by_cron(7), "is a text"),
        (lambda: Schedule(Type.DAILY, hour=8), "DAILY schedule has hour and minute, but minute is None"),
        (lambda: Schedule(Type.HOURLY, minute=8, hour=3), "hour is 3"),
    ],
)
def test_field_out_of_range_is_refused_by_its_name(make, reason):
    with pytest.raises(exceptions.ScheduleInvalid) as refused:
        make()
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "DAILY",
        {},
        {"type": "SOMETIMES"},
        {"type": []},
        {"type": "DAILY", "hour": 8},
        {"type": "DAILY", "hour": 8, "minute": 0, "second": 0},
        {"type": "DAILY", "hour": "8", "minute": 0},
        {"type": "DATE", "at": "soon"},
        {"type": "DATE", "at": 7},
        {"type": "DATE", "at": "2026-01-01T00:00:00"},
        {"type": "CRON", "expression": "x"},
    ],
)
def test_stored_value_that_is_no_schedule_is_refused(value):
    with pytest.raises(exceptions.ScheduleInvalid):
        schedules.from_json(value)
    with pytest.raises(exceptions.ScheduleInvalid):
        schedules.all_from_json([value])


def test_stored_schedules_are_a_list():
    with pytest.raises(exceptions.ScheduleInvalid, match="list"):
        schedules.all_from_json({"type": "DAILY"})


def test_scheduled_job_has_some_schedules_and_not_too_many():
    assert schedules.checked([schedules.hourly(1), schedules.hourly(1)]) == (schedules.hourly(1),)
    with pytest.raises(exceptions.ScheduleInvalid, match="0 were given"):
        schedules.checked([])
    with pytest.raises(exceptions.ScheduleInvalid, match="51 were given"):
        schedules.checked(schedules.hourly(minute) for minute in range(51))


@pytest.mark.parametrize(("seconds", "is_ahead"), [(-1, False), (0, False), (2, False), (3, True)])
def test_date_must_be_more_than_two_seconds_ahead(seconds, is_ahead):
    schedule = schedules.at(NOON + timedelta(seconds=seconds))
    if is_ahead:
        schedules.require_ahead([schedule], NOON)
    else:
        with pytest.raises(exceptions.ScheduleInvalid, match="more than 2 seconds ahead"):
            schedules.require_ahead([schedule], NOON)


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "Europe", "../Europe/Berlin", "/etc/passwd", "Europe/Berlin\0", "a" * 300]
)
def test_unknown_zone_is_refused(zone):
    with pytest.raises(exceptions.ScheduleInvalid, match="no time zone"):
        schedules.zone_of(zone)


def named(topic="a/b", properties=None, when=TWO, zone="UTC"):
    return schedules.name(topic=topic, properties=properties or {}, schedules=when, zone=zone)


def test_same_again_has_the_same_name_whatever_the_order():
    assert named(properties={"a": 1, "b": [1]}) == named(properties={"b": [1], "a": 1})
    assert named(when=(schedules.daily(8, 0), schedules.hourly(1))) == named()
    assert len(named()) == 64


def test_different_ones_have_different_names():
    names = [
        named(),
        named(topic="a/c"),
        named(properties={"a": 1}),
        named(properties={"a": "1"}),
        named(properties={"a": 1.0}),
        named(properties={"a": True}),
        named(properties={"a": None}),
        named(properties={"a": [1]}),
        named(when=(schedules.hourly(1),)),
        named(when=(schedules.hourly(1), schedules.daily(8, 1))),
        named(zone="Europe/Berlin"),
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (schedules.hourly(5), "every hour at minute 5"),
        (schedules.daily(8, 30), "every day at 08:30"),
        (schedules.weekly(2, 8, 30), "every Monday at 08:30"),
        (schedules.monthly(5, 0, 0), "every month on day 5 at 00:00"),
        (schedules.yearly(12, 24, 18, 0), "every year on 24 December at 18:00"),
        (schedules.at(at("2026-12-24T17:00:00")), "once on 24 December 2026 at 18:00"),
        (schedules.at(at("2026-12-24T17:00:05")), "once on 24 December 2026 at 18:00:05"),
        (schedules.by_cron("30 8 * * 1"), "at 08:30 on Monday (cron 30 8 * * 1)"),
        (schedules.by_cron("0 30 8 ? * 2"), "at 08:30 on Monday (cron 0 30 8 ? * 2)"),
    ],
)
def test_words(schedule, words):
    assert schedules.describe(schedule, BERLIN) == words


def test_words_of_several():
    several = [schedules.hourly(5), schedules.daily(8, 30), schedules.weekly(2, 8, 30)]
    assert schedules.describe_all(several[:1], UTC_ZONE) == "every hour at minute 5"
    assert (
        schedules.describe_all(several, UTC_ZONE)
        == "every hour at minute 5, every day at 08:30 and every Monday at 08:30"
    )
