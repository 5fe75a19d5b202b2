import html
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from offloading.jobs import bulk, manager, testing
from offloading.models import Job, JobState
from tests.offloading import topologies

PAGE = "/offloading/jobs/"
TOPIC = "acme/mail/send"


@pytest.fixture
def local(db):
    return topologies.establish("another", topics=f"{TOPIC},{bulk.TOPIC}")


def add(title, state=JobState.ERROR, **facts):
    job = manager.add_job(TOPIC, title=title)
    ended = {"finished_at": timezone.now()} if state in (JobState.ERROR, JobState.SUCCEEDED) else {}
    Job.objects.filter(pk=job.pk).update(**{"state": state, "target": "another"} | ended | facts)
    return job


def do(client, act, *jobs, query="", **fields):
    ticked = {"ids": [str(job.pk) for job in jobs]} if jobs else {}
    return client.post(f"{PAGE}bulk/{query}", {"act": act} | ticked | fields, headers={"HX-Request": "true"})


def everything(seen_at=None):
    return {"all": "1", "seen_at": (seen_at or timezone.now()).isoformat()}


def work():
    """Let the job that does it run."""
    Job.objects.filter(topic=bulk.TOPIC).update(target=topologies.identity.sling_id())
    testing.run_waiting()
    [job] = Job.objects.filter(topic=bulk.TOPIC)
    return job


def states(*jobs):
    return [Job.objects.get(pk=job.pk).state for job in jobs]


def test_ticked_jobs_are_retried_and_no_others(staff_client, local):
    first, second, third = add("1"), add("2"), add("3")
    answer = do(staff_client, "retry", first, third)
    assert answer.status_code == 200 and "Retry 2 jobs" in answer.headers["HX-Trigger"]
    done = work()
    assert done.state == JobState.SUCCEEDED and "2 jobs retried" in done.result_message
    assert states(first, second, third) == [JobState.QUEUED, JobState.ERROR, JobState.QUEUED]


def test_all_that_match_are_meant_whatever_page_is_shown(staff_client, local, monkeypatch):
    monkeypatch.setattr("offloading.views.listing.PAGE_SIZE", 1)
    failed = [add(str(number)) for number in range(3)]
    done = add("done", JobState.SUCCEEDED)
    do(staff_client, "retry", query="?state=ERROR", **everything())
    work()
    assert states(*failed, done) == [JobState.QUEUED] * 3 + [JobState.SUCCEEDED]


def test_jobs_that_came_after_somebody_looked_are_left_alone(staff_client, local):
    old = add("old", created_at=timezone.now() - timedelta(minutes=5))
    new = add("new")
    do(staff_client, "retry", query="?state=ERROR", **everything(timezone.now() - timedelta(minutes=1)))
    work()
    assert states(old, new) == [JobState.QUEUED, JobState.ERROR]


def test_words_and_qualifiers_bound_what_is_done(staff_client, local):
    ski, swim = add("ski"), add("swim")
    do(staff_client, "retry", query="?q=ski+state:error", **everything())
    work()
    assert states(ski, swim) == [JobState.QUEUED, JobState.ERROR]


def test_waiting_jobs_are_stopped_moved_and_removed(staff_client, local):
    for act, seen in (("stop", JobState.STOPPED), ("remove", JobState.DROPPED)):
        job = add(act, JobState.QUEUED)
        do(staff_client, act, job)
        work()
        assert states(job) == [seen]
        Job.objects.all().delete()
    job = add("move", JobState.QUEUED)
    do(staff_client, "move", job, target=local)
    Job.objects.filter(pk=job.pk).update(not_before=timezone.now() + timedelta(hours=1))
    work()
    assert Job.objects.get(pk=job.pk).target == local


def test_answer_is_the_list_with_what_is_under_way(staff_client, local):
    job = add("failed")
    fragment = html.unescape(do(staff_client, "retry", job, query="?state=ERROR").content.decode())
    order = Job.objects.get(topic=bulk.TOPIC)
    assert f'id="bulk-{order.pk}"' in fragment and "Retry 1 job" in fragment and "<html" not in fragment
    assert 'hx-get="/offloading/jobs/?state=ERROR"' in fragment
    Job.objects.filter(pk=order.pk).update(state=JobState.ACTIVE, progress_steps=1200, progress_step=340)
    page = staff_client.get(PAGE).content.decode()
    assert '<progress value="340" max="1200"' in page and "340 of 1,200" in page
    Job.objects.filter(pk=order.pk).update(state=JobState.SUCCEEDED)
    assert f'id="bulk-{order.pk}"' not in staff_client.get(PAGE).content.decode()


def test_form_works_without_scripting_and_leads_back_to_the_same_list(staff_client, local):
    job = add("failed")
    answer = staff_client.post(f"{PAGE}bulk/?state=ERROR&q=failed", {"act": "retry", "ids": [str(job.pk)]})
    assert answer.headers["Location"] == f"{PAGE}?state=ERROR&q=failed"
    assert "is under way" in staff_client.get(PAGE).content.decode()


@pytest.mark.parametrize(("act", "before"), [("remove", JobState.ERROR), ("stop", JobState.QUEUED)])
def test_what_ends_jobs_asks_first_without_scripting_too(staff_client, local, act, before):
    job = add("a job", before)
    address = f"{PAGE}bulk/?state={before}"
    asked = staff_client.post(address, {"act": act, "ids": [str(job.pk)]})
    page = html.unescape(asked.content.decode())
    assert asked.status_code == 200 and f"{act.capitalize()} 1 job?" in page
    assert not Job.objects.filter(topic=bulk.TOPIC).exists()
    fields = dict(re.findall(r'<input type="hidden" name="(act|yes|ids)" value="([^"]*)"', page))
    staff_client.post(address, fields)
    work()
    assert not Job.objects.filter(pk=job.pk, state=before).exists()


@pytest.mark.parametrize(
    ("act", "fields", "said"),
    [
        ("retry", {}, "No job is selected"),
        ("explode", {"ids": ["x"]}, "is none of"),
        ("retry", {"ids": ["nonsense"]}, "is no id of a job"),
        ("retry", {"all": "1", "seen_at": "yesterday"}, "seen_at"),
        ("retry", {"all": "1", "seen_at": "2026-11-24T08:00"}, "seen_at"),
        ("move", {"target": "nobody", "all": "1", "seen_at": "2100-01-01T00:00Z"}, "no instance"),
        ("stop", {"all": "1", "seen_at": "2100-01-01T00:00Z"}, "no job that could be stopped"),
    ],
)
def test_what_cannot_be_done_is_said(staff_client, local, act, fields, said):
    add("failed")
    answer = do(staff_client, act, **fields)
    assert answer.status_code == 422 and said in answer.headers["HX-Trigger"]
    assert not Job.objects.filter(topic=bulk.TOPIC).exists()


def test_bulk_is_a_post_of_staff(staff_client, reader_client, local):
    job = add("failed")
    assert staff_client.get(f"{PAGE}bulk/").status_code == 405
    assert do(reader_client, "retry", job).status_code == 403
    assert not Job.objects.filter(topic=bulk.TOPIC).exists()


def test_reader_has_nothing_to_tick(reader_client, staff_client, local):
    add("failed")
    assert 'name="ids"' in staff_client.get(PAGE).content.decode()
    page = reader_client.get(PAGE).content.decode()
    assert 'name="ids"' not in page and 'id="bulk"' not in page
