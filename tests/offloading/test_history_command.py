"""`manage.py jobs families`, `retry-family` and `clean-up`."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from offloading.jobs import families, ids
from offloading.jobs.families import Failure
from offloading.models import Attempt, Job, JobState
from tests.offloading.topologies import establish

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def local():
    return establish(topics="a/b,offloading/jobs/bulk")


def jobs(*arguments) -> str:
    out = StringIO()
    call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def failed(count=1, *, error="ValueError", message="  raise\nValueError: no", days=0) -> str:
    key = families.note(topic="a/b", failure=Failure(error, "acme:f:1") if error else None, message=message)
    for number in range(count):
        at = timezone.now() - timedelta(days=days, seconds=number)
        columns = {"topic": "a/b", "queue": "q", "application": "here", "family": key, "finished_at": at}
        job = Job.objects.create(id=ids.uuid7(), state="ERROR", **columns)
        Attempt.objects.create(job=job, fence=1, instance="here", instance_label="here:4502")
    return key


def test_families_are_listed_with_what_they_say():
    many = failed(3)
    one = failed(1, error="", message="Disk full\nmore")
    heading, first, second = jobs("families").splitlines()
    assert heading.split()[:2] == ["fingerprint", "jobs"]
    assert first.split()[:2] == [many, "3"]
    assert "ValueError: no" in first and "acme:f:1" in first and "here:4502" in first
    assert second.split()[:2] == [one, "1"]
    assert "Disk full" in second and "more" not in second


def test_families_can_be_searched_and_limited_and_printed_as_json():
    failed(3)
    one = failed(1, error="", message="Disk full")
    (found,) = json.loads(jobs("families", "disk", "a/b", "--json"))
    assert (found["fingerprint"], found["jobs"], found["message"]) == (one, 1, "Disk full")
    assert (found["instances"], len(found["latest_jobs"])) == (["here:4502"], 1)
    assert len(json.loads(jobs("families", "--limit", "1", "--json"))) == 1


def test_one_job_of_a_family_is_retried():
    key = failed(3)
    latest = families.failed_jobs(key).first()
    assert str(latest.id) in jobs("retry-family", key[:8], "--one")
    assert Job.objects.get(state=JobState.QUEUED).id == latest.id


def test_all_jobs_of_a_family_are_retried_by_a_job():
    key = failed(3)
    told = json.loads(jobs("retry-family", key, "--json", "--by", "ann"))
    order = Job.objects.get(id=told["job"])
    assert told["fingerprint"] == key
    assert order.properties["filter"] == {"family": key}
    assert order.properties["by"] == "ann"


@pytest.mark.parametrize("digits", ["f" * 32, "", "%"])
def test_unknown_family_is_refused(digits):
    failed()
    with pytest.raises(CommandError, match="no failure family"):
        jobs("retry-family", digits)


def test_family_with_several_meanings_is_refused():
    for number in range(20):
        failed(error=f"Error{number}")
    for digit in "0123456789abcdef":
        if len(families.beginning_with(digit)) == 2:
            with pytest.raises(CommandError, match="several"):
                jobs("retry-family", digit)
            return
    raise AssertionError("of 20 fingerprints two begin alike")


def test_family_without_failed_jobs_is_refused():
    key = failed()
    Job.objects.all().delete()
    for options in (["--one"], []):
        with pytest.raises(CommandError, match="no|No"):
            jobs("retry-family", key, *options)


def test_clean_up_deletes_what_is_due_and_says_how_much():
    failed(2, days=100)
    failed(1)
    assert jobs("clean-up") == "2 finished jobs deleted.\n"
    assert json.loads(jobs("clean-up", "--json")) == {"jobs": 0}
    assert Job.objects.count() == 1
