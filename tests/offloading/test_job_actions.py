import html
import re
import uuid

import pytest

from offloading.jobs import manager
from offloading.models import Job, JobState
from offloading.views import acts
from tests.offloading import topologies

TOPIC = "acme/mail/send"
ACTS = ("retry", "stop", "remove", "move")


@pytest.fixture
def local(db):
    return topologies.establish("another", topics=TOPIC)


def add(state=JobState.QUEUED, **facts):
    job = manager.add_job(TOPIC, title="letter")
    Job.objects.filter(pk=job.pk).update(state=state, **facts)
    job.refresh_from_db()
    return job


def do(client, job, act, **fields):
    return client.post(f"/offloading/jobs/{job.pk}/{act}/", fields)


def page(client, job):
    return html.unescape(client.get(f"/offloading/jobs/{job.pk}/").content.decode()).replace("<wbr>", "")


def state_of(job):
    return Job.objects.get(pk=job.pk).state


# --- What is offered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "offered"),
    [
        ({"state": JobState.QUEUED}, ["Stop", "Move", "Remove"]),
        ({"state": JobState.ACTIVE}, ["Stop", "Remove"]),
        ({"state": JobState.ACTIVE, "stop_requested_by": "ann"}, ["Stopping", "Remove"]),
        ({"state": JobState.ERROR}, ["Retry", "Remove"]),
        ({"state": JobState.SUCCEEDED}, ["Run again", "Remove"]),
        ({"state": JobState.SUCCEEDED, "origin": "elsewhere"}, ["Remove"]),
    ],
)
def test_offer_depends_on_the_state(facts, offered):
    job = Job(pk=uuid.uuid4(), topic=TOPIC, **facts)
    assert [act.label for act in acts.of(job, [("b", "b:4502")])] == offered


def test_every_act_says_what_it_does_and_what_deletes_asks_first():
    for state in JobState:
        found = acts.of(Job(pk=uuid.uuid4(), topic=TOPIC, state=state), [("b", "b:4502")])
        assert all(act.effect for act in found)
        [remove] = [act for act in found if act.name == "remove"]
        assert bool(remove.confirm) == (state != JobState.QUEUED)


def test_move_is_not_offered_where_there_is_nowhere_to_go():
    assert [act.name for act in acts.of(Job(pk=uuid.uuid4(), topic=TOPIC), [])] == ["stop", "remove"]


# --- What is done ------------------------------------------------------------------------------------------------


def test_retry_queues_a_finished_job_again(staff_client, local):
    job = add(JobState.ERROR)
    answer = do(staff_client, job, "retry")
    assert answer.headers["Location"] == f"/offloading/jobs/{job.pk}/"
    assert state_of(job) == JobState.QUEUED


def test_retry_twice_says_that_there_is_nothing_to_retry(staff_client, local):
    job = add()
    do(staff_client, job, "retry")
    assert "cannot be retried" in page(staff_client, job)


def test_stop_ends_a_waiting_job_and_offers_the_way_back(staff_client, local):
    job = add()
    do(staff_client, job, "stop")
    assert state_of(job) == JobState.STOPPED
    said = page(staff_client, job)
    assert "The job is stopped." in said and f'action="/offloading/jobs/{job.pk}/retry/"' in said


def test_remove_drops_an_unfinished_job_and_deletes_a_finished_one(staff_client, local):
    job = add()
    do(staff_client, job, "remove")
    assert state_of(job) == JobState.DROPPED
    answer = do(staff_client, job, "remove")
    assert answer.headers["Location"] == "/offloading/jobs/"
    assert not Job.objects.filter(pk=job.pk).exists()
    assert "“letter” is removed" in staff_client.get("/offloading/jobs/").content.decode()


def test_deletion_leads_to_the_list_where_a_fragment_was_asked_for(staff_client, local):
    job = add(JobState.ERROR)
    address = f"/offloading/jobs/{job.pk}/remove/"
    answer = staff_client.post(address, headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == "/offloading/jobs/"


def test_move_lets_a_job_wait_elsewhere_and_offers_the_way_back(staff_client, local):
    job = add(target=local)
    assert '<option value="another">' in page(staff_client, job)
    do(staff_client, job, "move", target="another")
    assert Job.objects.get(pk=job.pk).target == "another"
    said = page(staff_client, job)
    assert "waits at another:4502 now" in said and f'<input type="hidden" name="target" value="{local}">' in said


@pytest.mark.parametrize("target", ["", "nobody"])
def test_move_to_nowhere_is_refused(staff_client, local, target):
    job = add(target=local)
    do(staff_client, job, "move", target=target)
    assert Job.objects.get(pk=job.pk).target == local
    assert 'data-tone="danger"' in page(staff_client, job)


def test_running_job_does_not_move(staff_client, local):
    job = add(JobState.ACTIVE, target=local)
    do(staff_client, job, "move", target="another")
    assert Job.objects.get(pk=job.pk).target == local


def test_answer_to_htmx_is_the_page_as_it_is_then_with_what_was_done(staff_client, local):
    job = add()
    answer = staff_client.post(f"/offloading/jobs/{job.pk}/stop/", headers={"HX-Request": "true"})
    fragment = answer.content.decode()
    assert answer.status_code == 200 and "<html" not in fragment and 'id="act-retry"' in fragment
    assert "The job is stopped." in answer.headers["HX-Trigger"]
    refused = staff_client.post(f"/offloading/jobs/{job.pk}/stop/", headers={"HX-Request": "true"})
    assert refused.status_code == 422 and "cannot be stopped" in refused.headers["HX-Trigger"]


# --- Who may -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
def test_acts_are_posts_of_staff(staff_client, reader_client, local, act):
    job = add(JobState.ERROR if act == "retry" else JobState.QUEUED)
    before = state_of(job)
    assert staff_client.get(f"/offloading/jobs/{job.pk}/{act}/").status_code == 405
    assert do(reader_client, job, act, target="another").status_code == 403
    assert state_of(job) == before
    assert do(staff_client, Job(pk=uuid.uuid4()), act).status_code == 404


def test_reader_sees_what_could_be_done_and_why_it_is_off(reader_client, local):
    buttons = re.findall(r'<button [^>]*id="act-[^>]*>', page(reader_client, add()))
    assert len(buttons) == 3 and all('disabled title="Changing jobs is for staff"' in button for button in buttons)
