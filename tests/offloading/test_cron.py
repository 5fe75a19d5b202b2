"""Cron expressions: both forms, what they cannot say, and the hours that clocks leave out or repeat."""

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offloading import exceptions
from offloading.jobs import cron

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
SANTIAGO = ZoneInfo("America/Santiago")


def runs(text, after, count, zone=UTC_ZONE):
    """Return `count` ticks after a local time, as local times."""
    start = datetime.fromisoformat(after)
    start = start if start.tzinfo else start.replace(tzinfo=zone)
    found = itertools.islice(cron.ticks(cron.parse(text), start, zone), count)
    return [tick.astimezone(zone).strftime("%m-%d %H:%M:%S") for tick in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 8 * * 1", ["11-30 08:30:00", "12-07 08:30:00"]),
        ("30 8 * * MON", ["11-30 08:30:00", "12-07 08:30:00"]),
        ("  30   8 * *  mon ", ["11-30 08:30:00", "12-07 08:30:00"]),
        ("0 0 * * 0", ["11-29 00:00:00", "12-06 00:00:00"]),
        ("0 0 * * 7", ["11-29 00:00:00", "12-06 00:00:00"]),
        ("*/20 12 * * *", ["11-24 12:20:00", "11-24 12:40:00", "11-25 12:00:00"]),
        ("0 0 L * *", ["11-30 00:00:00", "12-31 00:00:00"]),
        ("0 0 * * 5L", ["11-27 00:00:00", "12-25 00:00:00"]),
        ("0 0 29 2 *", ["02-29 00:00:00"]),
        ("15,45 * * * * *", ["11-24 12:00:15", "11-24 12:00:45", "11-24 12:01:15"]),
        ("30 0 12 * * *", ["11-24 12:00:30", "11-25 12:00:30"]),
        ("0 0 12 * * 2", ["12-01 12:00:00"]),
    ],
)
def test_standard_form(text, expected):
    # A Tuesday.
    assert runs(text, "2026-11-24T12:00:00", len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "standard"),
    [
        ("0 30 8 ? * 2", "0 30 8 * * 1"),
        ("0 30 8 ? * MON-FRI", "0 30 8 * * 1,2,3,4,5"),
        ("0 30 8 ? * FRI-MON", "0 30 8 * * 5,6,0,1"),
        ("0 30 8 ? * 1-7/2", "0 30 8 * * 0,2,4,6"),
        ("0 30 8 ? * */3", "0 30 8 * * 0,3,6"),
        ("0 30 8 ? * 2/2", "0 30 8 * * 1,3,5"),
        ("0 30 8 ? * L", "0 30 8 * * 6"),
        ("0 30 8 ? * 6L", "0 30 8 * * 5L"),
        ("0 30 8 ? * FRIL", "0 30 8 * * 5L"),
        ("0 30 8 ? * 6#3", "0 30 8 * * 5#3"),
        ("0 30 8 ? * *", "0 30 8 * * *"),
        ("0 30 8 24 12 ?", "0 30 8 24 12 *"),
        ("0 30 8 LW * ?", "0 30 8 LW * *"),
        ("0 0/5 14,18 * * ?", "0 0/5 14,18 * * *"),
        ("0 30 8 ? * 2 *", "0 30 8 * * 1"),
    ],
)
def test_form_of_quartz_is_translated(text, standard):
    assert " ".join(cron.parse(text).fields) == standard


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "'?' in exactly one"),
        ("60 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day-of-month"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * 8", "day-of-week"),
        ("0 0 30 2 *", "day-of-month"),
        ("*/0 * * * *", "minute"),
        ("0 0 15W * *", "day-of-month"),
        ("* * ? * *", "six or seven fields"),
        ("0 30 8 ? * ?", "exactly one"),
        ("0 ? 8 ? * *", "exactly one"),
        ("0 30 8 ? * 0", "1 = Sunday"),
        ("0 30 8 ? * 8", "1 = Sunday"),
        ("0 30 8 ? * MO", "1 = Sunday"),
        ("0 30 8 ? * 2/0", "step of zero"),
        ("0 30 8 ? * 2-", "no day of the week"),
        ("0 30 8 1 1 ? 2027", "year '2027'"),
        ("0 0 * * \u0661", "ASCII"),
        ("0 0 * * " + "1," * 100 + "1", "at most 200"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_reason(text, reason):
    with pytest.raises(exceptions.ScheduleInvalid, match="cron expression") as refused:
        cron.parse(text)
    assert reason in str(refused.value)


@given(st.text(alphabet="0123456789*/-,#?LWMONSUJA ", max_size=30))
@example("0 0 * * MON#1/2")
@example("0 0 L/2 * *")
@example("1-5/2/3 * * * *")
def test_no_text_breaks_the_reading(text):
    try:
        expression = cron.parse(text)
    except exceptions.ScheduleInvalid:
        return
    assert expression.explain()
    after = datetime(2026, 11, 24, tzinfo=UTC)
    for tick in itertools.islice(cron.ticks(expression, after, BERLIN), 2):
        assert tick > after


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # At 02:00 the clock of Berlin shows 03:00.
        ("30 2 * * *", ["03-29 03:00:00", "03-30 02:30:00"]),
        ("0 30 2 * * ?", ["03-29 03:00:00", "03-30 02:30:00"]),
        ("15,45 2 * * *", ["03-29 03:00:00", "03-30 02:15:00"]),
        ("*/30 2 * * *", ["03-29 03:00:00", "03-30 02:00:00"]),
        ("30 2,3 * * *", ["03-29 03:00:00", "03-29 03:30:00", "03-30 02:30:00"]),
        ("30 * * * *", ["03-29 01:30:00", "03-29 03:30:00", "03-29 04:30:00"]),
    ],
)
def test_time_that_is_left_out_comes_at_once_after_the_gap(text, expected):
    assert runs(text, "2026-03-29T00:59:00", len(expected), BERLIN) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # At 03:00 the clock of Berlin shows 02:00 once more.
        ("30 2 * * *", ["10-25 02:30:00", "10-26 02:30:00"]),
        ("10 30 2 * * *", ["10-25 02:30:10", "10-26 02:30:10"]),
        ("*/30 2 * * *", ["10-25 02:00:00", "10-25 02:30:00", "10-26 02:00:00"]),
        ("0 */2 * * *", ["10-25 02:00:00", "10-25 04:00:00"]),
        ("30 * * * *", ["10-25 01:30:00", "10-25 02:30:00", "10-25 02:30:00", "10-25 03:30:00"]),
    ],
)
def test_time_that_comes_twice_counts_once_unless_every_hour_is_meant(text, expected):
    assert runs(text, "2026-10-25T00:59:00", len(expected), BERLIN) == expected


def test_second_time_around_nothing_of_the_first_is_repeated():
    # 02:40 in winter time: 02:45 has been.
    assert runs("45 2 * * *", "2026-10-25T02:40:00+01:00", 1, BERLIN) == ["10-26 02:45:00"]


def test_midnight_can_be_left_out_too():
    assert runs("0 0 * * *", "2026-09-05T12:00:00", 2, SANTIAGO) == ["09-06 01:00:00", "09-07 00:00:00"]
    assert runs("0 */6 * * *", "2026-09-05T19:00:00", 2, SANTIAGO) == ["09-06 01:00:00", "09-06 06:00:00"]
