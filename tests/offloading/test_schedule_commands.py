"""`manage.py jobs schedule…`: what it takes, prints and refuses."""

import io
import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from offloading.jobs import schedules, scheduling
from offloading.models import Job, ScheduledJob
from tests.offloading import topologies

pytestmark = pytest.mark.django_db
TOPIC = "test/commands"


@pytest.fixture(autouse=True)
def local():
    return topologies.establish(topics=TOPIC)


def jobs(*arguments):
    out = io.StringIO()
    call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def schedule(*arguments):
    """Schedule a job and return it as it was printed."""
    return json.loads(jobs("schedule", TOPIC, *arguments, "--json"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--hourly", "5"], schedules.hourly(5)),
        (["--daily", "8:30"], schedules.daily(8, 30)),
        (["--weekly", "2", "8:30"], schedules.weekly(2, 8, 30)),
        (["--weekly", "mon", "8:30"], schedules.weekly(2, 8, 30)),
        (["--weekly", "Sunday", "08:30"], schedules.weekly(1, 8, 30)),
        (["--monthly", "28", "0:00"], schedules.monthly(28, 0, 0)),
        (["--yearly", "december", "24", "18:00"], schedules.yearly(12, 24, 18, 0)),
        (["--yearly", "12", "24", "18:00"], schedules.yearly(12, 24, 18, 0)),
        (["--at", "2100-12-24T18:00"], schedules.at(datetime(2100, 12, 24, 17, 0, tzinfo=UTC))),
        (["--at", "2100-12-24T18:00Z"], schedules.at(datetime(2100, 12, 24, 18, 0, tzinfo=UTC))),
        (["--cron", "30 8 * * 1"], schedules.by_cron("30 8 * * 1")),
    ],
)
def test_each_type_can_be_given(arguments, expected):
    printed = schedule(*arguments, "--time-zone", "Europe/Berlin")
    row = scheduling.get(printed["name"])
    assert scheduling.times(row) == (expected,)
    assert (row.time_zone, row.created_by, printed["problem"]) == ("Europe/Berlin", "manage.py", "")


def test_everything_else_can_be_given():
    printed = schedule(
        "--daily", "8:30", "--daily", "20:30", "--title", "Sweep", "--properties", '{"a": 1}', "--misfire", "ALL",
        "--suspended", "--by", "ann",
    )  # fmt: skip
    row = scheduling.get(printed["name"])
    assert scheduling.times(row) == (schedules.daily(8, 30), schedules.daily(20, 30))
    assert (row.title, row.properties, row.misfire, row.suspended_by, row.time_zone) == (
        "Sweep",
        {"a": 1},
        "ALL",
        "ann",
        "UTC",
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "0 were given"),
        (["--hourly", "x"], "'x' is not a number"),
        (["--hourly", "60"], "0 to 59"),
        (["--daily", "late"], "'late' is not a time of day"),
        (["--weekly", "noday", "8:30"], "'noday' is not a number"),
        (["--at", "soon"], "'soon' is not a time"),
        (["--at", "2020-01-01T00:00"], "must be more than 2 seconds ahead"),
        (["--at", "2020-01-41T00:00"], "is not a time"),
        (["--cron", "x"], "cron expression 'x'"),
        (["--daily", "8:30", "--properties", "{"], "not JSON"),
        (["--daily", "8:30", "--properties", "[]"], "a JSON object"),
        (["--daily", "8:30", "--time-zone", "Mars/Base"], "no time zone"),
    ],
)
def test_what_is_not_valid_is_refused(arguments, error):
    with pytest.raises(CommandError, match=error):
        jobs("schedule", TOPIC, *arguments)
    assert not ScheduledJob.objects.exists()


def test_list_says_when_each_runs():
    assert jobs("schedules") == "Nothing is scheduled.\n"
    name = schedule("--daily", "8:30")["name"]
    stopped = schedule("--hourly", "5")["name"]
    ScheduledJob.objects.filter(name=stopped).update(next_at=None, time_zone="Mars/Base")
    jobs("schedule-suspend", schedule("--hourly", "7")["name"], "--by", "ann")
    printed = jobs("schedules")
    assert name[:12] in printed and "every day at 08:30" in printed and "suspended by ann" in printed
    assert "cannot be read" in printed and "no time zone 'Mars/Base'" in printed
    assert len(json.loads(jobs("schedules", "--json"))) == 3
    assert jobs("schedules", "--topic", "test/other") == "Nothing is scheduled.\n"


def test_life_of_a_scheduled_job():
    name = schedule("--daily", "8:30")["name"]
    assert "is suspended." in jobs("schedule-suspend", name[:8], "--by", "ann")
    assert scheduling.get(name).suspended_by == "ann"
    assert "runs again, next at" in jobs("schedule-resume", name[:8])
    assert "is scheduled every hour at minute 5" in jobs("schedule-change", name, "--hourly", "5")
    assert "is not scheduled any more." in jobs("schedule-remove", name[:8])
    assert not ScheduledJob.objects.exists()


def test_job_is_run_by_hand():
    printed = jobs("schedule-run", schedule("--daily", "8:30")["name"])
    assert f"is queued as job {Job.objects.get().id}." in printed


def test_zone_stays_when_times_are_changed():
    name = schedule("--daily", "8:30", "--time-zone", "Asia/Tokyo")["name"]
    jobs("schedule-change", name, "--at", "2100-01-01T00:00")
    row = scheduling.get(name)
    assert (row.time_zone, row.next_at) == ("Asia/Tokyo", datetime(2099, 12, 31, 15, tzinfo=UTC))


def test_name_must_tell_one_from_the_others():
    schedule("--daily", "8:30")
    with pytest.raises(CommandError, match="begins with 'x'"):
        jobs("schedule-remove", "x")
    with pytest.raises(CommandError, match="begins with ''"):
        jobs("schedule-remove", "")
    # Seventeen names cannot all begin with different hexadecimal digits.
    begins = [schedule("--hourly", str(minute))["name"][0] for minute in range(17)]
    twice = next(digit for digit in begins if begins.count(digit) > 1)
    with pytest.raises(CommandError, match="Give more of it"):
        jobs("schedule-remove", twice)
