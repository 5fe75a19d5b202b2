"""The screens of scheduled jobs: what they show, what the form takes, and who may change something."""

import html
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from offloading.jobs import schedules, scheduling
from offloading.models import Job, ScheduledJob
from offloading.views.schedules import exact
from tests.offloading import topologies

pytestmark = pytest.mark.django_db
PAGE = "/offloading/schedules/"
TOPIC = "test/schedules"


@pytest.fixture(autouse=True)
def local():
    return topologies.establish(topics=TOPIC)


def schedule(*when, topic=TOPIC, **facts):
    return scheduling.schedule_job(topic=topic, schedules=when or (schedules.daily(8, 30),), **facts)


def text(response):
    found = re.sub(r"<[^>]+>", " ", html.unescape(response.content.decode().replace("<wbr>", "")))
    return re.sub(r"\s+", " ", found)


def form(**fields):
    return {"topic": TOPIC, "type": "DAILY", "clock": "08:30", "time_zone": "Europe/Berlin"} | fields


# --- The list -----------------------------------------------------------------------------------------------------


def test_empty_list_says_what_will_be_there(staff_client, reader_client):
    assert "Nothing is scheduled" in text(staff_client.get(PAGE))
    assert f'href="{PAGE}new/"' in staff_client.get(PAGE).content.decode()
    assert f'href="{PAGE}new/"' not in reader_client.get(PAGE).content.decode()


def test_list_shows_what_runs_when_in_its_zone(reader_client):
    row = schedule(schedules.weekly(2, 8, 30), title="Sweep", time_zone="Asia/Tokyo")
    page = text(reader_client.get(PAGE))
    assert "Sweep" in page and "every Monday at 08:30" in page and "Asia/Tokyo" in page
    assert exact(row.next_at, "Asia/Tokyo") in page
    assert re.search(r"Mon \d+ \w+ \d{4}, 08:30 JST", page)
    assert "never run" in page


def test_list_leads_to_the_last_job(reader_client):
    row = schedule()
    job = scheduling.run_now(name=row.name, by="ann")
    page = reader_client.get(PAGE).content.decode()
    assert f"/offloading/jobs/{job.id}/" in page
    Job.objects.all().delete()
    assert "its job is removed" in reader_client.get(PAGE).content.decode()


def test_suspended_and_stopped_ones_are_listed_as_such(reader_client):
    scheduling.suspend(name=schedule(title="Rests").name, by="ann")
    stopped = schedule(topic="test/broken")
    ScheduledJob.objects.filter(name=stopped.name).update(next_at=None, time_zone="Mars/Base")
    page = text(reader_client.get(PAGE))
    assert "Suspended" in page and "by ann" in page and "Stopped" in page and "cannot be read" in page


def test_list_is_searched(reader_client):
    schedule(title="Sweep")
    schedule(topic="test/other")
    page = text(reader_client.get(PAGE, {"q": "swEEp"}))
    assert "Sweep" in page and "test/other" not in page
    assert "Nothing matches" in text(reader_client.get(PAGE, {"q": "nothing\0"}))


def test_list_of_many_costs_few_queries(reader_client, django_assert_max_num_queries):
    for minute in range(50):
        scheduling.run_now(name=schedule(schedules.hourly(minute)).name, by="ann")
    with django_assert_max_num_queries(8):
        page = reader_client.get(PAGE)
    assert page.content.decode().count("<tr id=") == 50


def test_fragment_is_the_list_alone(reader_client):
    schedule()
    page = reader_client.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in page and 'id="schedules"' in page


# --- One of them --------------------------------------------------------------------------------------------------


def test_page_shows_the_next_ten_runs(reader_client):
    row = schedule(schedules.daily(8, 30), properties={"folder": "/content/dam"}, time_zone="Europe/Berlin", by="ann")
    page = text(reader_client.get(f"{PAGE}{row.name}/"))
    for run in schedules.next_runs(
        scheduling.times(row), row.next_at - timedelta(seconds=1), schedules.zone_of("Europe/Berlin"), 10
    ):
        assert exact(run, "Europe/Berlin") in page
    assert "folder" in page and "by ann" in page and "Catch up once" in page and row.name in page


def test_page_of_a_suspended_one_shows_no_runs(reader_client):
    row = scheduling.suspend(name=schedule().name, by="ann")
    page = text(reader_client.get(f"{PAGE}{row.name}/"))
    assert "None while it is suspended." in page and "by ann" in page


def test_page_says_why_one_never_runs_again(reader_client):
    row = schedule()
    ScheduledJob.objects.update(next_at=None, schedules=[{"type": "SOMETIMES"}])
    page = text(reader_client.get(f"{PAGE}{row.name}/"))
    assert "It does not run any more" in page and "A schedule is an object" in page


def test_unknown_name_is_not_found(staff_client):
    for place in ("", "times/"):
        assert staff_client.get(f"{PAGE}nonsense/{place}").status_code == 404
        assert staff_client.get(f"{PAGE}a%00b/{place}").status_code == 404
    for verb in ("suspend", "resume", "run", "remove"):
        assert staff_client.post(f"{PAGE}nonsense/{verb}/").status_code == 404


# --- Changing -----------------------------------------------------------------------------------------------------


def test_suspend_run_resume_and_remove(staff_client):
    row = schedule(title="Sweep")
    address = f"{PAGE}{row.name}/"
    assert staff_client.post(f"{address}suspend/").url == address
    assert scheduling.get(row.name).suspended_by == "admin"
    page = staff_client.get(address)
    assert "Sweep is suspended." in text(page) and f'action="{address}resume/"' in page.content.decode()
    assert staff_client.post(f"{address}run/").url == address
    assert Job.objects.get().topic == TOPIC
    assert staff_client.post(f"{address}resume/", {"from": "list"}).url == PAGE
    assert scheduling.get(row.name).next_at == row.next_at
    assert staff_client.post(f"{address}remove/").url == PAGE
    assert not ScheduledJob.objects.exists()


def test_one_that_cannot_go_on_says_so(staff_client):
    row = schedule()
    ScheduledJob.objects.update(next_at=None, time_zone="Mars/Base", topic="not a topic")
    staff_client.post(f"{PAGE}{row.name}/resume/")
    staff_client.post(f"{PAGE}{row.name}/run/")
    page = text(staff_client.get(f"{PAGE}{row.name}/"))
    assert "no time zone 'Mars/Base'" in page and "'not a topic' is not a topic" in page


@pytest.mark.parametrize("verb", ["suspend", "resume", "run", "remove"])
def test_changing_is_for_staff_and_by_post(reader_client, staff_client, verb):
    row = schedule()
    assert reader_client.post(f"{PAGE}{row.name}/{verb}/").status_code == 403
    assert staff_client.get(f"{PAGE}{row.name}/{verb}/").status_code == 405
    assert scheduling.get(row.name).version == 1


def test_forms_are_for_staff(reader_client):
    row = schedule()
    for address in (f"{PAGE}new/", f"{PAGE}{row.name}/times/"):
        assert reader_client.get(address).status_code == 403
        assert reader_client.post(address, form()).status_code == 403


# --- The form -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "HOURLY", "minute": "5"}, schedules.hourly(5)),
        ({"type": "DAILY", "clock": "08:30"}, schedules.daily(8, 30)),
        ({"type": "WEEKLY", "weekday": "1", "clock": "08:30"}, schedules.weekly(1, 8, 30)),
        ({"type": "MONTHLY", "day": "28", "clock": "00:00"}, schedules.monthly(28, 0, 0)),
        ({"type": "YEARLY", "month": "12", "day": "24", "clock": "18:00"}, schedules.yearly(12, 24, 18, 0)),
        ({"type": "DATE", "at": "2100-12-24T18:00"}, schedules.at(datetime(2100, 12, 24, 17, 0, tzinfo=UTC))),
        ({"type": "CRON", "expression": "30 8 * * 1"}, schedules.by_cron("30 8 * * 1")),
        # What stands in the fields of other types does not count.
        ({"type": "HOURLY", "minute": "5", "day": "77", "clock": "late", "expression": "x"}, schedules.hourly(5)),
    ],
)
def test_job_is_scheduled_by_each_type(staff_client, fields, expected):
    answer = staff_client.post(f"{PAGE}new/", {"topic": TOPIC, "time_zone": "Europe/Berlin"} | fields)
    row = ScheduledJob.objects.get()
    assert (answer.status_code, answer.url) == (302, f"{PAGE}{row.name}/")
    assert scheduling.times(row) == (expected,)
    assert (row.time_zone, row.created_by, row.misfire) == ("Europe/Berlin", "admin", "ONCE")


def test_everything_else_of_the_form(staff_client):
    more = {"title": "Sweep", "properties": '{"a": [1]}', "misfire": "ALL", "suspended": "on"}
    staff_client.post(f"{PAGE}new/", form(**more))
    row = ScheduledJob.objects.get()
    assert (row.title, row.properties, row.misfire, row.suspended_by) == ("Sweep", {"a": [1]}, "ALL", "admin")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"topic": ""}, "This field is required"),
        ({"topic": "no topic"}, "is not a topic"),
        ({"properties": "{"}, "This is not JSON"),
        ({"properties": "[1]"}, "Give an object"),
        ({"properties": json.dumps({"a": "\0"})}, "NUL"),
        ({"type": ""}, "This field is required"),
        ({"type": "SOMETIMES"}, "Select a valid choice"),
        ({"clock": ""}, "Needed for this kind of schedule"),
        ({"clock": "25:00"}, "Enter a valid time"),
        ({"type": "HOURLY"}, "Needed for this kind of schedule"),
        ({"type": "HOURLY", "minute": "60"}, "less than or equal to 59"),
        ({"type": "MONTHLY", "day": "29"}, "less than or equal to 28"),
        ({"type": "WEEKLY", "weekday": "9"}, "Select a valid choice"),
        ({"type": "CRON"}, "Needed for this kind of schedule"),
        ({"type": "CRON", "expression": "every day"}, "The cron expression 'every day' cannot be used"),
        ({"type": "DATE", "at": "soon"}, "Enter a valid date"),
        ({"type": "DATE", "at": "2020-01-01T00:00"}, "must be more than 2 seconds ahead"),
        ({"type": "DATE", "at": "9999-12-31T23:59"}, "9000"),
        ({"time_zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"misfire": "LATER"}, "Select a valid choice"),
    ],
)
def test_what_is_not_valid_comes_back_with_its_error(staff_client, fields, error):
    answer = staff_client.post(f"{PAGE}new/", form(**fields))
    assert answer.status_code == 422
    assert error in text(answer)
    assert not ScheduledJob.objects.exists()


def test_field_names_the_types_it_belongs_to(staff_client):
    page = staff_client.get(f"{PAGE}new/").content.decode()
    assert 'data-for="DAILY WEEKLY MONTHLY YEARLY"' in page and 'data-for="HOURLY"' in page
    assert f'<option value="{TOPIC}">' in page and '<option value="Europe/Berlin">' in page


def test_times_are_changed_and_nothing_else(staff_client):
    row = schedule(schedules.weekly(3, 8, 30), properties={"a": 1}, time_zone="Europe/Berlin")
    address = f"{PAGE}{row.name}/times/"
    page = staff_client.get(address).content.decode()
    assert 'value="08:30"' in page and 'value="Europe/Berlin"' in page and 'value="3" selected' in page
    fields = {"type": "CRON", "expression": "0 30 8 ? * 2", "time_zone": "Asia/Tokyo"}
    assert staff_client.post(address, fields).url == f"{PAGE}{row.name}/"
    changed = scheduling.get(row.name)
    assert scheduling.times(changed) == (schedules.by_cron("0 30 8 ? * 2"),)
    assert (changed.time_zone, changed.properties) == ("Asia/Tokyo", {"a": 1})


def test_nonsense_leaves_the_times_as_they_are(staff_client):
    row = schedule()
    past = {"type": "DATE", "at": "2020-01-01T00:00", "time_zone": "UTC"}
    answer = staff_client.post(f"{PAGE}{row.name}/times/", past)
    assert (answer.status_code, scheduling.get(row.name).version) == (422, 1)


@pytest.mark.parametrize(
    "when",
    [
        schedules.hourly(5),
        schedules.monthly(7, 1, 2),
        schedules.yearly(12, 24, 18, 0),
        schedules.at((timezone.now() + timedelta(days=400)).replace(second=0)),
        schedules.by_cron("30 8 * * 1"),
    ],
)
def test_form_to_change_begins_with_what_holds(staff_client, when):
    row = schedule(when, time_zone="Europe/Berlin")
    page = staff_client.get(f"{PAGE}{row.name}/times/").context["form"]
    given = {name: page[name].value() for name in page.fields}
    sent = {
        name: value.strftime("%Y-%m-%dT%H:%M") if name == "at" and value else value for name, value in given.items()
    }
    sent = {name: value for name, value in sent.items() if value is not None}
    assert staff_client.post(f"{PAGE}{row.name}/times/", sent).status_code == 302
    assert scheduling.times(scheduling.get(row.name)) == (when,)


def test_several_schedules_are_not_replaced_without_a_word(staff_client):
    row = schedule(schedules.hourly(5), schedules.hourly(10))
    assert "It has several schedules" in text(staff_client.get(f"{PAGE}{row.name}/times/"))
    page = text(staff_client.get(f"{PAGE}{row.name}/"))
    assert "every hour at minute 5" in page and "every hour at minute 10" in page


@pytest.mark.parametrize(
    ("when", "zone", "expected"),
    [
        ("2026-11-30T07:30:00", "Europe/Berlin", "Mon 30 Nov 2026, 08:30 CET"),
        ("2026-11-30T07:30:15", "UTC", "Mon 30 Nov 2026, 07:30:15 UTC"),
        ("2026-11-30T07:30:00", "Mars/Base", "Mon 30 Nov 2026, 07:30 UTC"),
    ],
)
def test_exact_time_is_that_of_the_zone(when, zone, expected):
    assert exact(datetime.fromisoformat(when).replace(tzinfo=UTC), zone) == expected
