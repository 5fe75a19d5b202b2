import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from offloading.jobs import bulk, families
from offloading.jobs.families import Failure
from offloading.models import Job, JobState
from tests.offloading import stored, topologies
from tests.offloading.api import wrong

TOPIC = "acme/mail/send"


@pytest.fixture
def local(db):
    return topologies.establish(topics=f"{TOPIC},{bulk.TOPIC}")


def fail(place="mail:send:1", topic=TOPIC):
    fingerprint = families.note(topic=topic, failure=Failure("OSError", place), message="no route")
    return stored.store(topic=topic, state=JobState.ERROR, family=fingerprint)


def test_families_are_listed(looker, db):
    one, other = fail(), fail("mail:send:2")
    fail()
    found = looker.get("failure-families/").json()["families"]
    assert [(each["fingerprint"], each["jobs"]) for each in found] == [(one.family, 2), (other.family, 1)]
    assert (found[0]["error"], found[0]["place"], found[0]["message"]) == ("OSError", "mail:send:1", "no route")
    assert str(one.pk) in found[0]["latest_jobs"]
    assert len(looker.get("failure-families/", limit=1).json()["families"]) == 1
    assert looker.get("failure-families/", q="send:2").json()["families"][0]["fingerprint"] == other.family
    assert looker.get("failure-families/", order="latest").json()["families"][0]["fingerprint"] == one.family


@pytest.mark.parametrize(("parameters", "field"), [({"order": "x"}, "order"), ({"limit": 0}, "limit"), ({"a": 1}, "a")])
def test_wrong_query_says_field_and_remedy(looker, db, parameters, field):
    assert field in wrong(looker.get("failure-families/", **parameters))


def test_list_costs_the_same_for_many(looker, db):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert looker.get("failure-families/").status_code == 200
        return len(captured)

    fail()
    few = queries()
    for number in range(20):
        fail(f"mail:send:{number}")
    assert queries() == few


def test_family_is_told(looker, db):
    job = fail()
    assert looker.get(f"failure-families/{job.family}/").json()["jobs"] == 1


def test_one_job_of_a_family_is_retried(staff, local):
    job = fail()
    answer = staff.post(f"failure-families/{job.family}/retry-one/")
    assert (answer.status_code, answer.json()["id"], answer.json()["state"]) == (200, str(job.pk), "QUEUED")
    assert "No failed job" in wrong(staff.post(f"failure-families/{job.family}/retry-one/"), 404)[""]


@pytest.mark.parametrize(("path", "act"), [("retry-all", "retry"), ("remove", "remove")])
def test_all_jobs_of_a_family_are_acted_on_by_a_job(staff, local, path, act):
    job = fail()
    answer = staff.post(f"failure-families/{job.family}/{path}/")
    assert answer.status_code == 202
    order = Job.objects.get(topic=bulk.TOPIC)
    assert answer.json()["id"] == str(order.pk)
    assert (order.properties["act"], order.properties["filter"]) == (act, {"family": job.family})


@pytest.mark.parametrize("path", ["retry-all", "remove"])
def test_family_without_jobs_is_left_alone(staff, local, path):
    job = fail()
    Job.objects.filter(pk=job.pk).delete()
    assert "no job that could be" in wrong(staff.post(f"failure-families/{job.family}/{path}/"))[""]


@pytest.mark.parametrize("path", ["retry-one", "retry-all", "remove"])
def test_unknown_family_is_404(staff, db, path):
    wrong(staff.get("failure-families/missing/"), 404)
    wrong(staff.post(f"failure-families/missing/{path}/"), 404)
