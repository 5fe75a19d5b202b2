import html
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from offloading.jobs import manager
from offloading.models import Attempt, AttemptOutcome, Job, JobState, Transfer
from offloading.views import story
from tests.offloading import topologies

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TOPIC = "acme/mail/send"


def at(seconds):
    return START + timedelta(seconds=seconds)


def job(**facts):
    return Job(pk=uuid.uuid4(), topic=TOPIC, created_at=START, **facts)


def attempt(fence, start, end=None, outcome="", **facts):
    ended_at = None if end is None else at(end)
    label = facts.pop("label", "b:4502")
    return Attempt(
        fence=fence,
        started_at=at(start),
        ended_at=ended_at,
        outcome=outcome,
        instance_label=label,
        instance="b",
        **facts,
    )


def transfer(direction, start, state=Transfer.State.DONE, **facts):
    sizes = {"bytes_total": 2048, "bytes_moved": 2048} | facts
    is_sender = direction == "OUT"
    return Transfer(
        direction=direction, is_sender=is_sender, state=state, started_at=at(start), peer_label="w:4512", **sizes
    )


def titles(events):
    return [event.title for event in events]


# --- The story ---------------------------------------------------------------------------------------------------


def test_story_of_an_offloaded_job_goes_out_runs_and_comes_back():
    done = job(state=JobState.SUCCEEDED, finished_at=at(9))
    ways = [transfer("BACK", 6), transfer("OUT", 1)]
    events = story.tell(done, [attempt(2, 3, 5, AttemptOutcome.SUCCEEDED, label="w:4512")], ways, "a:4502")
    assert titles(events) == ["Added on a:4502", "Sent to w:4512", "Ran on w:4512", "Received from w:4512", "Succeeded"]
    assert "2.0" in events[1].note and "payload" in events[1].note and "result" in events[3].note


def test_story_counts_attempts_and_says_how_each_ended():
    runs = [attempt(1, 1, 2, AttemptOutcome.CRASHED, message="Killed"), attempt(3, 4)]
    events = story.tell(job(state=JobState.ACTIVE), runs, [], "a:4502")
    assert titles(events) == ["Added on a:4502", "Ran on b:4502", "Runs on b:4502"]
    assert events[1].note == "attempt 1, worker died" and events[1].text == "Killed"
    assert events[2].note == "attempt 2" and events[2].is_running


def test_story_of_a_copy_says_where_it_came_from():
    assert titles(story.tell(job(origin="a", state=JobState.QUEUED), [], [], "a:4502")) == ["Arrived from a:4502"]


def test_story_of_a_parked_transfer_says_why():
    parked = transfer("OUT", 1, Transfer.State.PARKED, bytes_moved=0, tries=4, error="Refused: unknown key.")
    event = story.tell(job(state=JobState.ACTIVE), [], [parked], "a:4502")[1]
    assert event.tone == "danger" and event.text == "Refused: unknown key."
    assert "parked" in event.note and "4 tries" in event.note


def test_story_of_a_failure_ends_with_its_cause():
    failed = job(state=JobState.ERROR, finished_at=at(3), result_message="No such printer.")
    assert story.tell(failed, [], [], "a")[-1].text == "No such printer."


# --- The page ----------------------------------------------------------------------------------------------------


@pytest.fixture
def local(db):
    return topologies.establish(topics=TOPIC)


def text(client, job_id, **headers):
    response = client.get(f"/offloading/jobs/{job_id}/", headers=headers)
    assert response.status_code == 200
    return html.unescape(response.content.decode()).replace("<wbr>", "")


def test_page_tells_topic_properties_and_instance(reader_client, local):
    added = manager.add_job(TOPIC, {"to": "ann@example.org", "cc": ["bob", "cy"]}, title="Mail to Ann")
    page = text(reader_client, added.id)
    assert "Mail to Ann" in page and "ann@example.org" in page and f"{local[:8]}:4502" in page
    assert "Retry" not in page


def test_page_says_for_each_instance_why_it_does_not_take_the_job(reader_client, staff_client, local):
    staff_client.post("/offloading/switch/", {"instance": local, "topic": TOPIC, "action": "disable"})
    page = text(reader_client, manager.add_job(TOPIC).id)
    assert f"No instance takes topic {TOPIC}" in page
    assert "blacklisted" in page and f"/offloading/instances/{local}/" in page and "Enable the topic" in page


def test_page_does_not_offer_to_enable_what_nobody_has(reader_client, local):
    page = text(reader_client, manager.add_job("acme/nobody/does").id)
    assert "has no consumer for the topic" in page and "Enable the topic" not in page


def test_markup_in_a_log_stays_text(reader_client, local):
    added = manager.add_job(TOPIC, {"x": "<b>bold</b>"})
    Attempt.objects.create(job=added, fence=1, instance=local, instance_label="a", log="<script>alert(1)</script>")
    answer = reader_client.get(f"/offloading/jobs/{added.id}/").content.decode()
    assert "<script>alert" not in answer and "<b>bold" not in answer


def test_unknown_job_is_not_found(reader_client, db):
    assert reader_client.get(f"/offloading/jobs/{uuid.uuid4()}/").status_code == 404


def test_fragment_is_part_of_the_page(reader_client, local):
    added = manager.add_job(TOPIC)
    fragment = text(reader_client, added.id, **{"HX-Request": "true"})
    assert "<html" not in fragment and "What happened" in fragment


# --- Retry -------------------------------------------------------------------------------------------------------


def test_retry_queues_a_finished_job_again(staff_client, local):
    added = manager.add_job(TOPIC)
    Job.objects.filter(pk=added.pk).update(state=JobState.ERROR, result_message="No such printer.")
    assert "Retry" in text(staff_client, added.id) and "No such printer." in text(staff_client, added.id)
    answer = staff_client.post(f"/offloading/jobs/{added.id}/retry/")
    assert answer.headers["Location"] == f"/offloading/jobs/{added.id}/"
    assert Job.objects.get(pk=added.pk).state == JobState.QUEUED


def test_retry_twice_says_that_there_is_nothing_to_retry(staff_client, local):
    added = manager.add_job(TOPIC)
    staff_client.post(f"/offloading/jobs/{added.id}/retry/")
    assert "cannot be retried" in text(staff_client, added.id)


def test_retry_is_a_post_of_staff(staff_client, reader_client, local):
    added = manager.add_job(TOPIC)
    Job.objects.filter(pk=added.pk).update(state=JobState.ERROR)
    assert staff_client.get(f"/offloading/jobs/{added.id}/retry/").status_code == 405
    assert reader_client.post(f"/offloading/jobs/{added.id}/retry/").status_code == 403
    assert Job.objects.get(pk=added.pk).state == JobState.ERROR
    assert staff_client.post(f"/offloading/jobs/{uuid.uuid4()}/retry/").status_code == 404
