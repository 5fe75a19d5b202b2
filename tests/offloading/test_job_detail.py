import html
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from offloading.jobs import manager
from offloading.jobs.queues import QueueSettings
from offloading.models import Attempt, AttemptOutcome, Job, JobState, Pause, QueueConfiguration, Transfer
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


def test_story_says_what_it_means_that_a_result_came_too_late():
    late = [attempt(1, 1, 2, AttemptOutcome.FENCED), attempt(2, 3, 4, AttemptOutcome.SUCCEEDED)]
    kept = transfer("BACK", 5, Transfer.State.FENCED)
    events = story.tell(job(state=JobState.SUCCEEDED), late, [kept], "a:4502")
    assert "was not applied" in events[1].meaning and events[1].tone == "warn"
    assert events[2].meaning == "" and "kept aside" in events[3].meaning


@pytest.mark.parametrize("outcome", list(AttemptOutcome))
def test_every_outcome_can_be_told(outcome):
    [_, event] = story.tell(job(state=JobState.QUEUED), [attempt(1, 1, 2, outcome)], [], "a:4502")
    assert event.title == "Ran on b:4502" and event.tone and event.icon


def test_log_is_open_where_somebody_looks_for_it_now():
    def opened(*outcomes):
        runs = [attempt(number, number, number, outcome, log="x") for number, outcome in enumerate(outcomes)]
        return [event.is_log_open for event in story.tell(job(state=JobState.ERROR), runs, [], "a")[1:]]

    assert opened(AttemptOutcome.FAILED, "") == [False, True]
    assert opened(AttemptOutcome.FAILED, AttemptOutcome.ERROR) == [False, True]
    assert opened(AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED) == [False, False]


def test_cause_of_a_failure_is_not_told_twice():
    failed = job(state=JobState.ERROR, finished_at=at(3), result_message="No such printer.")
    events = story.tell(failed, [attempt(1, 1, 2, AttemptOutcome.ERROR, message="No such printer.")], [], "a")
    assert [event.text for event in events] == ["", "No such printer.", ""]


def test_story_of_a_failure_ends_with_its_cause():
    failed = job(state=JobState.ERROR, finished_at=at(3), result_message="No such printer.")
    assert story.tell(failed, [], [], "a")[-1].text == "No such printer."


# --- Progress and limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"progress_steps": 4, "progress_step": 1}, (1, 4, 25, None)),
        ({"progress_steps": 4, "progress_step": 9, "progress_eta": at(9)}, (4, 4, 100, at(9))),
        ({"progress_eta": at(9)}, (0, 0, 0, at(9))),
        ({}, None),
        ({"progress_steps": 4, "state": JobState.SUCCEEDED}, None),
    ],
)
def test_progress_is_what_the_running_attempt_says(facts, told):
    progress = story.progress(job(**{"state": JobState.ACTIVE} | facts))
    assert (progress and (progress.step, progress.steps, progress.percent, progress.eta)) == told


def test_limits_are_those_of_the_queue_unless_the_job_has_its_own():
    queue = QueueSettings("post", ("*",), retries=3, retry_delay_seconds=2.5)
    of_queue = story.limits(job(retry_count=1), queue)
    assert [(limit.value, limit.is_own) for limit in of_queue] == [
        ("1 of 3 used", False),
        ("2.5 s", False),
        ("none", False),
    ]
    own = story.limits(job(retries=-1, retry_delay_seconds=60, time_limit_seconds=5), queue)
    assert [(limit.value, limit.is_own) for limit in own] == [
        ("no end of retries", True),
        ("60 s", True),
        ("5 s", True),
    ]


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
    assert 'id="act-retry"' not in page


def test_page_says_for_each_instance_why_it_does_not_take_the_job(reader_client, staff_client, local):
    staff_client.post("/offloading/switch/", {"instance": local, "topic": TOPIC, "action": "disable"})
    page = text(reader_client, manager.add_job(TOPIC).id)
    assert f"No instance takes topic {TOPIC}" in page and 'data-why="unassigned"' in page
    assert "blacklisted" in page and f"/offloading/instances/{local}/" in page and "Enable the topic" in page


def test_page_does_not_offer_to_enable_what_nobody_has(reader_client, local):
    page = text(reader_client, manager.add_job("acme/nobody/does").id)
    assert "has no consumer for the topic" in page and "Enable the topic" not in page


def test_markup_in_a_log_stays_text(reader_client, local):
    added = manager.add_job(TOPIC, {"x": "<b>bold</b>"})
    Attempt.objects.create(job=added, fence=1, instance=local, instance_label="a", log="<script>alert(1)</script>")
    answer = reader_client.get(f"/offloading/jobs/{added.id}/").content.decode()
    assert "<script>alert" not in answer and "<b>bold" not in answer


def test_page_of_a_running_job_shows_its_progress_and_looks_by_itself(reader_client, local):
    added = manager.add_job(TOPIC)
    Job.objects.filter(pk=added.pk).update(
        state=JobState.ACTIVE, progress_steps=8, progress_step=2, progress_eta=timezone.now() + timedelta(minutes=5)
    )
    page = text(reader_client, added.id)
    assert '<progress value="2" max="8"' in page and "2 of 8 steps, 25 %" in page and "in 5 min" in page
    assert "every 2s" in page
    Job.objects.filter(pk=added.pk).update(state=JobState.SUCCEEDED)
    assert "every 2s" not in text(reader_client, added.id)


def test_page_says_who_asked_a_running_job_to_stop(staff_client, local):
    added = manager.add_job(TOPIC)
    Job.objects.filter(pk=added.pk).update(state=JobState.ACTIVE, stop_requested_by="ann")
    page = text(staff_client, added.id)
    assert "Asked to stop by ann" in page and "Stopping" in page


def test_page_of_a_waiting_job_says_why_it_waits(reader_client, local):
    added = manager.add_job(TOPIC)
    Pause.objects.create(kind="TOPIC", name=TOPIC, paused_by="ann", reason="no stamps")
    page = text(reader_client, added.id)
    assert f"Topic {TOPIC} is paused by ann: no stamps" in page
    Job.objects.filter(pk=added.pk).update(state=JobState.ACTIVE)
    assert "Why it does not run yet" not in text(reader_client, added.id)


def test_page_leads_to_the_queue_and_the_failure_family_as_far_as_they_are_there(reader_client, local):
    added = manager.add_job(TOPIC)
    QueueConfiguration.objects.create(name="post-{0}", topics=["acme/*"])
    Job.objects.filter(pk=added.pk).update(queue="post-mail_send", family="abc", state=JobState.ERROR)
    page = text(reader_client, added.id)
    assert 'href="/offloading/queues/post-mail_send/"' in page and 'href="/offloading/failures/abc/"' in page
    Job.objects.filter(pk=added.pk).update(queue="long gone", family="")
    page = text(reader_client, added.id)
    assert "long gone" in page and "/offloading/queues/long" not in page and "/failures/abc" not in page


def test_delayed_job_counts_down(reader_client, local):
    added = manager.add_job(TOPIC)
    Job.objects.filter(pk=added.pk).update(not_before=timezone.now() + timedelta(minutes=5), retry_count=1)
    assert re.search(r"It is tried again <time [^>]*data-until>in (5|4) min</time>", text(reader_client, added.id))


def test_number_of_queries_does_not_depend_on_the_attempts(reader_client, local, django_assert_max_num_queries):
    added = manager.add_job(TOPIC)
    for fence in range(20):
        Attempt.objects.create(job=added, fence=fence, instance=local, instance_label="a", outcome="FAILED")
    with django_assert_max_num_queries(25):
        text(reader_client, added.id)


def test_unknown_job_is_not_found(reader_client, db):
    assert reader_client.get(f"/offloading/jobs/{uuid.uuid4()}/").status_code == 404


def test_fragment_is_part_of_the_page(reader_client, local):
    added = manager.add_job(TOPIC)
    fragment = text(reader_client, added.id, **{"HX-Request": "true"})
    assert "<html" not in fragment and "What happened" in fragment
