import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from offloading.jobs import bulk, configuration, manager
from offloading.jobs.queues import QueueSettings
from offloading.models import Attempt, Job, JobState
from tests.offloading import stored, topologies
from tests.offloading.api import wrong

TOPIC = "acme/mail/send"
DROPPED = "acme/drop/it"


@pytest.fixture
def local(db):
    return topologies.establish("another", topics=f"{TOPIC},{bulk.TOPIC}")


@pytest.fixture
def dropping(db):
    configuration.put(QueueSettings("drops", ("acme/drop/*",), type="DROP"), by="ann")


def state_of(job_id):
    return Job.objects.get(pk=job_id).state


# --- Adding one ---------------------------------------------------------------------------------------------------


def test_job_is_added(staff, local):
    answer = staff.post("jobs/", {"topic": TOPIC, "properties": {"to": "ann"}})
    job = Job.objects.get()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/jobs/{job.pk}/"
    assert answer.json()["id"] == str(job.pk)
    assert (job.topic, job.properties) == (TOPIC, {"to": "ann"})
    assert job.target in (local, "another")


def test_every_option_of_a_job_is_stored(staff, local):
    options = {
        "title": "Letter",
        "name": "letter-1",
        "priority": 3,
        "not_before": "2100-01-31T18:00:00+01:00",
        "retries": -1,
        "retry_delay_seconds": 1.5,
        "time_limit_seconds": 0,
    }
    answer = staff.post("jobs/", {"topic": TOPIC, **options}).json()
    assert options | {"not_before": "2100-01-31T17:00:00Z"} == {name: answer[name] for name in options}
    job = Job.objects.get()
    assert job.not_before.isoformat() == "2100-01-31T17:00:00+00:00"
    assert (job.priority, job.retries, job.time_limit_seconds) == (3, -1, 0)


def test_delayed_job_waits_for_its_time(staff, local):
    assert staff.post("jobs/", {"topic": TOPIC, "delay_seconds": 60}).json()["not_before"]


def test_job_of_an_unknown_topic_waits_for_an_instance(staff, local):
    assert staff.post("jobs/", {"topic": "acme/nobody"}).json()["target"] == ""


def test_name_of_an_unfinished_job_is_taken(staff, local):
    first = staff.post("jobs/", {"topic": TOPIC, "name": "one"}).json()
    again = staff.post("jobs/", {"topic": TOPIC, "name": "one"})
    assert "name" in wrong(again, 409)
    assert again.json()["job"] == first["id"]
    assert Job.objects.count() == 1


def test_queue_that_drops_its_jobs_refuses_one(staff, dropping):
    answer = staff.post("jobs/", {"topic": DROPPED})
    assert "drops its jobs" in wrong(answer, 409)[""]
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "topic", "required"),
        ({"topic": "no topic!"}, "topic", "is not a topic"),
        ({"topic": 5}, "topic", "valid string"),
        ({"topic": TOPIC, "topik": 1}, "topik", "There is no such field. There are: topic, properties"),
        ({"topic": TOPIC, "properties": []}, "properties", "dictionary"),
        ({"topic": TOPIC, "properties": {"": 1}}, "properties", "needs a name"),
        ({"topic": TOPIC, "properties": {"a": "\0"}}, "properties", "NUL"),
        ({"topic": TOPIC, "priority": 1.5}, "priority", "integer"),
        ({"topic": TOPIC, "priority": True}, "priority", "integer"),
        ({"topic": TOPIC, "priority": 10**30}, "priority", "less than"),
        ({"topic": TOPIC, "retries": -2}, "retries", "greater than"),
        ({"topic": TOPIC, "delay_seconds": -1}, "delay_seconds", "greater than"),
        ({"topic": TOPIC, "delay_seconds": "5"}, "delay_seconds", "valid number"),
        ({"topic": TOPIC, "not_before": "2030-01-01T00:00:00"}, "not_before", "no time zone"),
        ({"topic": TOPIC, "not_before": "9999-12-31T23:59:59-10:00"}, "not_before", "years"),
        ({"topic": TOPIC, "not_before": "soon"}, "not_before", "format"),
        ({"topic": TOPIC, "title": "x" * 256}, "title", "255"),
        ({"topic": TOPIC, "name": "\ud800"}, "name", "urrogate"),
        ([], "", "An object is needed here, not a list."),
        ("text", "", "An object is needed here, not a text."),
        (None, "topic", "required"),
    ],
)
def test_bad_input_says_field_and_remedy(staff, db, body, field, message):
    assert message in wrong(staff.post("jobs/", body))[field]
    assert not Job.objects.exists()


def test_all_that_is_wrong_is_said_at_once(staff, db):
    answer = staff.post("jobs/", {"nothing": 1, "retries": "x"})
    assert set(wrong(answer)) == {"topic", "nothing", "retries"}


def test_properties_may_not_be_too_large(staff, db):
    found = wrong(staff.post("jobs/", {"topic": TOPIC, "properties": {"a": "x" * 1_100_000}}))
    assert "more than the 1048576" in found["properties"]


# --- Adding many --------------------------------------------------------------------------------------------------


def test_many_jobs_are_added(staff, local):
    wanted = [{"topic": TOPIC, "title": str(number)} for number in range(20)]
    answer = staff.post("jobs/bulk/", {"jobs": [*wanted, {"topic": TOPIC, "name": "last", "priority": 1}]})
    assert answer.status_code == 201
    ids = answer.json()["ids"]
    assert answer.json()["count"] == len(ids) == 21
    assert [Job.objects.get(pk=each).title for each in ids[:20]] == [each["title"] for each in wanted]
    assert Job.objects.get(pk=ids[20]).name == "last"


def test_wrong_jobs_among_many_are_named_by_their_place(staff, db):
    bodies = [{"topic": TOPIC}, {"topic": "!"}, {"topic": TOPIC, "retries": 1.5}, {"topc": TOPIC}]
    found = wrong(staff.post("jobs/bulk/", {"jobs": bodies}))
    assert set(found) == {"jobs.1.topic", "jobs.2.retries", "jobs.3.topic", "jobs.3.topc"}
    assert not Job.objects.exists()


def test_name_that_is_taken_keeps_all_jobs_from_being_added(staff, local):
    manager.add_job(TOPIC, name="taken")
    names = ["new", "taken", "twice", "twice"]
    answer = staff.post("jobs/bulk/", {"jobs": [{"topic": TOPIC, "name": name} for name in names]})
    assert set(wrong(answer, 409)) == {"jobs.1.name", "jobs.3.name"}
    assert Job.objects.count() == 1


def test_queue_that_drops_its_jobs_keeps_all_from_being_added(staff, local, dropping):
    answer = staff.post("jobs/bulk/", {"jobs": [{"topic": TOPIC}, {"topic": DROPPED}]})
    assert "drops its jobs" in wrong(answer, 409)[""]
    assert not Job.objects.exists()


@pytest.mark.parametrize("jobs", [[], [{"topic": TOPIC}] * 10_001, {}, None])
def test_number_of_many_jobs_is_bounded(staff, db, jobs):
    assert "jobs" in wrong(staff.post("jobs/bulk/", {"jobs": jobs}))
    assert not Job.objects.exists()


# --- Looking ------------------------------------------------------------------------------------------------------


def test_job_is_told_with_attempts_and_reasons(looker, local):
    job = manager.add_job("acme/nobody", {"to": "ann"})
    Attempt.objects.create(job=job, fence=1, instance="a", instance_label="a:1", outcome="FAILED", log="it broke")
    found = looker.get(f"jobs/{job.pk}/").json()
    assert found["properties"] == {"to": "ann"}
    assert [each["log"] for each in found["attempts"]] == ["it broke"]
    assert found["reasons"][0]["kind"] == "unassigned"
    assert found["reasons"][0]["needs_somebody"] is True
    assert {each["sling_id"] for each in found["reasons"][0]["instances"]} == {local, "another"}


def test_progress_of_a_job_is_told(looker, local):
    job = stored.store(state=JobState.ACTIVE, progress_steps=10, progress_step=4)
    found = looker.get(f"jobs/{job.pk}/").json()
    assert found["progress"] == {"steps": 10, "step": 4, "eta": None}
    assert found["reasons"] == []


def test_only_the_last_attempts_are_told(looker, local):
    job = stored.store()
    attempts = [Attempt(job=job, fence=n, instance="a", instance_label="a", outcome="FAILED") for n in range(120)]
    Attempt.objects.bulk_create(attempts)
    found = looker.get(f"jobs/{job.pk}/").json()["attempts"]
    assert [each["fence"] for each in found] == list(range(20, 120))


def test_missing_job_is_404(looker, db):
    assert "There is no job" in wrong(looker.get(f"jobs/{uuid.uuid4()}/"), 404)[""]


# --- Finding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, "abc"),
        ({"state": "ERROR"}, "b"),
        ({"state": "ERROR,QUEUED"}, "ab"),
        ({"state": ["ERROR", "SUCCEEDED"]}, "bc"),
        ({"topic": "acme/mail/**"}, "ac"),
        ({"queue": "other"}, "c"),
        ({"target": "there"}, "b"),
        ({"family": "f" * 32}, "b"),
        ({"q": "state:error"}, "b"),
        ({"q": "ann"}, "a"),
        ({"q": ""}, "abc"),
        ({"type": "ALL"}, "a"),
        ({"type": "HISTORY"}, "bc"),
        ({"type": "HISTORY", "topic": "acme/mail/send"}, "c"),
        ({"templates": '[{"to": "ann"}]'}, "a"),
        ({"type": "HISTORY", "templates": '[{">size": 4}, {"event.job.topic": "acme/web"}]'}, "bc"),
    ],
)
def test_jobs_are_found(looker, db, parameters, found):
    stored.store(title="a", properties={"to": "ann"})
    stored.store(topic="acme/web", state=JobState.ERROR, title="b", target="there", family="f" * 32)
    stored.store(state=JobState.SUCCEEDED, title="c", queue="other", properties={"size": 5})
    assert sorted(job["title"] for job in looker.get("jobs/", **parameters).json()["jobs"]) == list(found)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"state": "LOST"}, "state.0"),
        ({"stat": "ERROR"}, "stat"),
        ({"type": "SOME"}, "type"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"templates": "[{"}, "templates"),
        ({"templates": "{}"}, "templates"),
        ({"templates": "[" * 100_000}, "templates"),
        ({"type": "ALL", "q": "x", "queue": "y"}, "queue"),
        ({"templates": "[]", "before": "x"}, "before"),
        ({"topic": "a//b"}, "topic"),
        ({"before": "x"}, ""),
        ({"before": "x", "after": "y"}, "before"),
        ({"q": "x\0"}, "q"),
        ({"properties": "perhaps"}, "properties"),
        ({"templates": '[{"event.job.nothing": 1}]'}, ""),
    ],
)
def test_wrong_query_says_field_and_remedy(looker, db, parameters, field):
    assert field in wrong(looker.get("jobs/", **parameters))


def test_properties_are_told_when_they_are_asked_for(looker, db):
    stored.store(properties={"to": "ann"})
    assert looker.get("jobs/").json()["jobs"][0]["properties"] is None
    assert looker.get("jobs/", properties="true").json()["jobs"][0]["properties"] == {"to": "ann"}


def test_pages_lead_to_each_other(looker, db):
    wanted = [str(stored.store(title="letter").pk) for _ in range(7)][::-1]
    stored.store(topic="acme/web")
    page = looker.get("jobs/", topic=TOPIC, limit=3).json()
    assert page["previous"] is None
    pages = [page]
    while page["next"]:
        page = looker.get(page["next"].removeprefix("http://testserver")).json()
        pages.append(page)
    assert [job["id"] for page in pages for job in page["jobs"]] == wanted
    assert [len(page["jobs"]) for page in pages] == [3, 3, 1]
    back = looker.get(pages[1]["previous"].removeprefix("http://testserver")).json()
    assert back["jobs"] == pages[0]["jobs"]


def test_pages_of_a_query_lead_on(looker, db):
    wanted = [str(stored.store().pk) for _ in range(5)]
    page = looker.get("jobs/", type="ALL", limit=2).json()
    found = page["jobs"]
    while page["next"]:
        page = looker.get(page["next"].removeprefix("http://testserver")).json()
        found += page["jobs"]
    assert [job["id"] for job in found] == wanted


def test_list_costs_the_same_for_many_jobs(looker, db):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert looker.get("jobs/", properties="true").status_code == 200
        return len(captured)

    stored.store()
    looker.get("jobs/")
    few = queries()
    for _ in range(30):
        stored.store()
    assert queries() == few


def test_one_job_costs_a_bounded_number_of_queries(looker, local, django_assert_max_num_queries):
    job = manager.add_job(TOPIC)
    attempts = [Attempt(job=job, fence=n, instance="a", instance_label="a", outcome="FAILED") for n in range(50)]
    Attempt.objects.bulk_create(attempts)
    with django_assert_max_num_queries(14):
        assert len(looker.get(f"jobs/{job.pk}/").json()["attempts"]) == 50


# --- Acting on one ------------------------------------------------------------------------------------------------


def test_finished_job_is_retried_once(staff, local):
    job = stored.store(state=JobState.ERROR)
    assert staff.post(f"jobs/{job.pk}/retry/").json()["state"] == "QUEUED"
    assert "cannot be retried" in wrong(staff.post(f"jobs/{job.pk}/retry/"), 409)[""]
    assert state_of(job.pk) == JobState.QUEUED


def test_waiting_job_is_stopped_once(staff, local):
    job = manager.add_job(TOPIC)
    assert staff.post(f"jobs/{job.pk}/stop/").json()["state"] == "STOPPED"
    wrong(staff.post(f"jobs/{job.pk}/stop/"), 409)
    assert state_of(job.pk) == JobState.STOPPED


def test_running_job_is_asked_to_stop(staff, local):
    job = stored.store(state=JobState.ACTIVE)
    for _ in range(2):
        assert staff.post(f"jobs/{job.pk}/stop/", {}).json()["stop_requested_by"] == "admin"


def test_waiting_job_is_moved(staff, local):
    job = manager.add_job(TOPIC)
    assert staff.post(f"jobs/{job.pk}/move/", {"target": "another"}).json()["target"] == "another"
    assert staff.post(f"jobs/{job.pk}/move/", {"target": "another"}).status_code == 200
    assert "no instance" in wrong(staff.post(f"jobs/{job.pk}/move/", {"target": "nobody"}))["target"]
    assert Job.objects.get().target == "another"


def test_unfinished_job_is_dropped_and_then_deleted(staff, local):
    job = manager.add_job(TOPIC)
    assert staff.delete(f"jobs/{job.pk}/").json()["state"] == "DROPPED"
    assert staff.delete(f"jobs/{job.pk}/").status_code == 204
    wrong(staff.delete(f"jobs/{job.pk}/"), 404)


@pytest.mark.parametrize("act", ["retry", "stop"])
def test_act_takes_no_fields(staff, local, act):
    job = manager.add_job(TOPIC)
    assert "force" in wrong(staff.post(f"jobs/{job.pk}/{act}/", {"force": True}))
    assert state_of(job.pk) == JobState.QUEUED


@pytest.mark.parametrize("act", ["retry", "stop", "move"])
def test_act_on_a_missing_job_is_404(staff, local, act):
    wrong(staff.post(f"jobs/{uuid.uuid4()}/{act}/", {"target": "another"} if act == "move" else None), 404)


# --- Acting on many -----------------------------------------------------------------------------------------------


def test_filter_is_acted_on_by_a_job(staff, local):
    stored.store(state=JobState.ERROR)
    answer = staff.post("jobs/actions/", {"action": "retry", "filter": {"states": ["ERROR"], "topic": "acme/**"}})
    assert answer.status_code == 202
    order = Job.objects.get(topic=bulk.TOPIC)
    assert answer.headers["Location"] == f"/api/v1/jobs/{order.pk}/"
    assert order.properties == {
        "act": "retry",
        "filter": {"states": ["ERROR"], "topic": "acme/**"},
        "by": "admin",
        "target": "",
    }


@pytest.mark.parametrize(
    ("action", "state", "more"),
    [
        ("stop", "QUEUED", {}),
        ("remove", "QUEUED", {}),
        ("move", "QUEUED", {"target": "another"}),
        ("move", "QUEUED", {}),
    ],
)
def test_every_action_is_taken(staff, local, action, state, more):
    job = stored.store(state=state)
    filter = {"ids": [str(job.pk)], "created_before": "2100-01-01T00:00:00Z"}
    assert staff.post("jobs/actions/", {"action": action, "filter": filter, **more}).status_code == 202
    assert Job.objects.get(topic=bulk.TOPIC).properties["act"] == action


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "retry"}, "filter"),
        ({"action": "retry", "filter": {}}, "filter"),
        ({"action": "retry", "filter": {"states": []}}, "filter"),
        ({"action": "dance", "filter": {"topic": TOPIC}}, "action"),
        ({"action": "retry", "filter": {"topics": TOPIC}}, "filter.topics"),
        ({"action": "retry", "filter": {"states": ["LOST"]}}, "filter.states.0"),
        ({"action": "retry", "filter": {"ids": ["x"]}}, "filter.ids"),
        ({"action": "retry", "filter": {"topic": "a//b"}}, "filter.topic"),
        ({"action": "retry", "filter": {"topic": TOPIC}, "target": "another"}, "target"),
        ({"action": "move", "filter": {"topic": TOPIC}, "target": "nobody"}, "target"),
        ({"action": "retry", "filter": {"topic": "acme/none"}}, ""),
    ],
)
def test_wrong_action_says_field_and_remedy(staff, local, body, field):
    stored.store()
    assert field in wrong(staff.post("jobs/actions/", body))
    assert not Job.objects.filter(topic=bulk.TOPIC).exists()


def test_all_jobs_are_meant_only_if_that_is_said(staff, local):
    stored.store(state=JobState.ERROR)
    assert staff.post("jobs/actions/", {"action": "retry", "filter": {}, "all": True}).status_code == 202
