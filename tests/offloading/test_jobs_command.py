"""`manage.py jobs`: finding jobs, looking at one, adding one, and changing those named or all that match."""

import io
import json
import uuid

import pytest
from django.core.management import CommandError, call_command

from offloading.jobs import bulk
from offloading.models import Attempt, Job, JobState
from tests.offloading.stored import store
from tests.offloading.topologies import establish

pytestmark = pytest.mark.django_db
TOPIC = "acme/mail/send"


@pytest.fixture(autouse=True)
def local():
    return establish("other", topics=f"{TOPIC},{bulk.TOPIC}")


def run(*arguments):
    out = io.StringIO()
    call_command("jobs", *map(str, arguments), stdout=out)
    return out.getvalue()


def found(*arguments):
    return [job["title"] for job in json.loads(run("find", "--json", *arguments))["jobs"]]


def test_jobs_are_found_by_words_and_options():
    store(TOPIC, title="a", properties={"to": "ann"})
    store(TOPIC, JobState.ERROR, title="b", queue="letters")
    store("acme/print", title="c", target="")
    assert found() == ["c", "b", "a"]
    assert found("ann") == ["a"]
    assert found("--state", "error") == found("state:error") == ["b"]
    assert found("--state", "unassigned", "--state", "ERROR") == ["c", "b"]
    assert found("--topic", "acme/mail/**", "--queue", "letters") == ["b"]
    assert found("--created-before", "2020-01-01") == []
    text = run("find", "--topic", "acme/print")
    assert "acme/print" in text and TOPIC not in text
    assert run("find", "nothing") == "No job matches.\n"


def test_answer_goes_on_where_it_ended():
    for title in "abc":
        store(title=title)
    first = json.loads(run("find", "--json", "--limit", 2))
    assert [job["title"] for job in first["jobs"]] == ["c", "b"]
    assert found("--before", first["older"]) == ["a"]
    assert f"--before {first['older']}" in run("find", "--limit", 2)


def test_search_without_time_tells_how_far_it_looked(monkeypatch):
    monkeypatch.setattr("offloading.jobs.lanes.FEW", 1)
    monkeypatch.setattr("offloading.jobs.search._WINDOW", 2)
    for _ in range(5):
        store()
    assert "Looked through the jobs down to" in run("find", "needle", "--seconds", 0)


def test_jobs_are_counted_by_state():
    store()
    store(state=JobState.ERROR)
    assert json.loads(run("find", "--counts", "--json"))["by_state"] == {"QUEUED": 1, "ERROR": 1}
    assert "ERROR" in run("find", "--counts")


def test_job_is_told_with_its_properties_and_attempts_and_why_it_waits():
    job = store(TOPIC, target="", properties={"to": "ann"}, result_message="bad")
    Attempt.objects.create(job=job, fence=1, instance="x", instance_label="x:4502", outcome="FAILED", message="bad")
    told = json.loads(run("show", job.pk, "--json"))
    assert (told["properties"], told["state"]) == ({"to": "ann"}, "QUEUED")
    assert [each["outcome"] for each in told["attempts"]] == ["FAILED"]
    assert told["reasons"]
    text = run("show", job.pk)
    assert "ann" in text and "x:4502" in text


@pytest.mark.parametrize("job_id", ["nonsense", uuid.UUID(int=5)])
def test_job_that_is_not_there_is_no_answer(job_id):
    with pytest.raises(CommandError, match="There is no job"):
        run("show", job_id)


def test_job_is_added_with_all_that_can_be_said():
    job_id = run(
        *("add", TOPIC, "--property", "to=ann=x", "--json-properties", '{"size": 5}', "--title", "Hello"),
        *("--priority", 3, "--retries", 4, "--delay-seconds", 60, "--name", "once"),
    ).strip()
    job = Job.objects.get(pk=job_id)
    assert (job.topic, job.properties, job.title) == (TOPIC, {"to": "ann=x", "size": 5}, "Hello")
    assert (job.priority, job.retries, job.name) == (3, 4, "once") and job.not_before
    with pytest.raises(CommandError, match="unfinished job has that name"):
        run("add", TOPIC, "--name", "once")
    assert json.loads(run("add", TOPIC, "--json"))["topic"] == TOPIC


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "no topic"), "is not a topic"),
        (("add", TOPIC, "--property", "to"), "--property: 'to' has no value"),
        (("add", TOPIC, "--json-properties", "{"), "--json-properties: this is no JSON"),
        (("add", TOPIC, "--json-properties", "5"), "--json-properties: give an object"),
        (("find", "--state", "broken"), "states: there is no state 'BROKEN'"),
        (("find", "--before", "nonsense"), "cursor"),
        (("find", "--created-before", "yesterday"), "give a date"),
        (("retry",), "Say which jobs to retry"),
        (("retry", "nonsense"), "'nonsense' is no id"),
        (("retry", str(uuid.UUID(int=1)), "--state", "ERROR"), "Not both"),
        (("retry", str(uuid.UUID(int=1))), "There is no job"),
        (("retry", "--all"), "no job that could be retried"),
        (("move", str(uuid.UUID(int=1))), "--to: say to which instance"),
        (("move", "--all", "--to", "nobody"), "no instance 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(arguments, message):
    with pytest.raises(CommandError, match=message):
        run(*arguments)


def test_named_jobs_are_changed_at_once(local):
    broken, waiting = store(TOPIC, JobState.ERROR), store(TOPIC)
    assert run("retry", broken.pk, "--by", "ann") == "1 of 1 job: retry done.\n"
    run("stop", waiting.pk)
    Job.objects.filter(pk=broken.pk).update(target=local)
    run("move", broken.pk, "--to", "other")
    broken.refresh_from_db()
    waiting.refresh_from_db()
    assert (broken.state, broken.target, waiting.state) == ("QUEUED", "other", "STOPPED")
    assert json.loads(run("remove", waiting.pk, "--json")) == {str(waiting.pk): ""}
    assert not Job.objects.filter(pk=waiting.pk).exists()


def test_refused_jobs_are_told_and_the_others_changed():
    broken, waiting = store(TOPIC, JobState.ERROR), store(TOPIC)
    with pytest.raises(CommandError, match=f"{waiting.pk}: The job is queued"):
        run("retry", broken.pk, waiting.pk)
    broken.refresh_from_db()
    assert broken.state == "QUEUED"


def test_jobs_that_options_name_are_changed_by_a_job():
    for _ in range(3):
        store(TOPIC, JobState.ERROR)
    text = run("retry", "--state", "error", "--words", "mail", "--by", "ann")
    order = Job.objects.get(topic=bulk.TOPIC)
    assert text.startswith(f"Retry 3 jobs: job {order.pk}")
    assert order.properties["filter"] == {"states": ["ERROR"], "words": "mail"}
    assert order.properties["by"] == "ann"
    assert json.loads(run("remove", "--all", "--json"))["topic"] == bulk.TOPIC
