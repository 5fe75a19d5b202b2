import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from offloading.jobs import configuration, schedules, scheduling
from offloading.jobs.queues import QueueSettings
from offloading.models import Job, ScheduledJob
from tests.offloading.api import wrong

DAILY = {"type": "DAILY", "hour": 8, "minute": 30}
BODY = {"topic": "acme/mail/news", "schedules": [DAILY], "time_zone": "Europe/Berlin"}


def schedule(topic="acme/mail/news", hour=8):
    return scheduling.schedule_job(topic=topic, schedules=[schedules.daily(hour, 30)], by="ann")


def test_job_is_scheduled(staff, db):
    answer = staff.post("schedules/", {**BODY, "properties": {"to": "all"}, "title": "News", "misfire": "SKIP"})
    row = ScheduledJob.objects.get()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/schedules/{row.name}/"
    assert (row.properties, row.title, row.misfire, row.created_by) == ({"to": "all"}, "News", "SKIP", "admin")
    found = answer.json()
    assert (found["schedules"], found["description"]) == ([DAILY], "every day at 08:30")
    assert len(found["next_runs"]) == 10
    assert found["problem"] == ""


def test_scheduling_twice_is_harmless(staff, db):
    first, second = staff.post("schedules/", BODY), staff.post("schedules/", BODY)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["name"] == second.json()["name"]
    assert ScheduledJob.objects.count() == 1


def test_suspended_job_has_no_time(staff, db):
    found = staff.post("schedules/", {**BODY, "suspended": True}).json()
    assert (found["next_at"], found["suspended_by"], found["next_runs"]) == (None, "admin", [])


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"type": "DAILY", "hour": 8}, "has hour and minute"),
        ({"type": "DAILY", "hour": 25, "minute": 0}, "0 to 23"),
        ({"type": "OFTEN"}, "HOURLY"),
        ({"type": "CRON", "expression": "often"}, ""),
        ({"type": "DATE", "at": "soon"}, "ISO 8601"),
        ("daily", "object"),
    ],
)
def test_wrong_schedule_is_named_by_its_place(staff, db, schedule, message):
    assert message in wrong(staff.post("schedules/", {**BODY, "schedules": [DAILY, schedule]}))["schedules.1"]
    assert not ScheduledJob.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"topic": "a//b"}, "topic"),
        ({"schedules": []}, "schedules"),
        ({"schedules": [DAILY] * 51}, "schedules"),
        ({"schedules": [{"type": "DATE", "at": "2000-01-01T00:00:00Z"}]}, "schedules"),
        ({"time_zone": "Mars"}, "time_zone"),
        ({"misfire": "NEVER"}, "misfire"),
        ({"properties": {"a": "\0"}}, "properties"),
        ({"suspended": "no"}, "suspended"),
        ({"cron": "x"}, "cron"),
    ],
)
def test_bad_input_says_field_and_remedy(staff, db, change, field):
    assert field in wrong(staff.post("schedules/", {**BODY, **change}))
    assert not ScheduledJob.objects.exists()


def test_scheduled_jobs_are_listed(looker, db):
    names = [schedule(hour=hour).name for hour in (1, 2, 3)]
    other = schedule("acme/other")
    assert len(looker.get("schedules/").json()["schedules"]) == 4
    found = looker.get("schedules/", topic="acme/mail/news").json()
    assert {each["name"] for each in found["schedules"]} == set(names)
    assert found["is_complete"] is True
    page = looker.get("schedules/", limit=3).json()
    assert (len(page["schedules"]), page["is_complete"]) == (3, False)
    assert looker.get(f"schedules/{other.name}/").json()["topic"] == "acme/other"


def test_list_costs_the_same_for_many(looker, db):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert looker.get("schedules/").status_code == 200
        return len(captured)

    schedule()
    few = queries()
    for hour in range(10, 20):
        schedule(hour=hour)
    assert queries() == few


def test_job_rests_and_runs_again(staff, db):
    name = schedule().name
    for _ in range(2):
        assert staff.post(f"schedules/{name}/suspend/").json()["suspended_by"] == "admin"
    for _ in range(2):
        assert staff.post(f"schedules/{name}/resume/").json()["next_at"]


def test_times_are_changed(staff, db):
    name = schedule().name
    found = staff.put(f"schedules/{name}/times/", {"schedules": [{"type": "HOURLY", "minute": 5}]}).json()
    assert (found["name"], found["description"]) == (name, "every hour at minute 5")


def test_job_is_run_now(staff, db):
    name = schedule().name
    answer = staff.post(f"schedules/{name}/run/")
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/jobs/{Job.objects.get().pk}/"


def test_queue_that_drops_its_jobs_runs_none(staff, db):
    configuration.put(QueueSettings("drops", ("acme/mail/*",), type="DROP"), by="ann")
    wrong(staff.post(f"schedules/{schedule().name}/run/"), 409)
    assert not Job.objects.exists()


def test_scheduled_job_is_removed_once(staff, db):
    name = schedule().name
    assert staff.delete(f"schedules/{name}/").status_code == 204
    wrong(staff.delete(f"schedules/{name}/"), 404)


@pytest.mark.parametrize("act", ["suspend", "resume", "run"])
def test_missing_schedule_is_404(staff, db, act):
    wrong(staff.post(f"schedules/missing/{act}/"), 404)
    wrong(staff.put("schedules/missing/times/", {"schedules": [DAILY]}), 404)
    wrong(staff.get("schedules/missing/"), 404)
