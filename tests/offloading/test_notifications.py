"""What subscribers are told of, when, and with which facts: through the real manager, claim and outcome."""

import logging
import time
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from offloading.jobs import consumers, ids, manager, notifications, outcomes, recovery, signals, testing
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, AttemptOutcome, Job, JobState
from tests.offloading.held import hold
from tests.offloading.topologies import establish

pytestmark = pytest.mark.django_db

TOPIC = "test/held"


@pytest.fixture
def local():
    return establish(topics="")


@pytest.fixture
def heard(django_capture_on_commit_callbacks):
    """Return a function that does something, commits it, and returns the notifications that came of it."""

    def listen(act, *arguments, topics=notifications.PREFIX + "*", **options):
        told = []
        with (
            notifications.temporarily(lambda topic, payload: told.append((topic, payload)), topics=topics),
            django_capture_on_commit_callbacks(execute=True),
        ):
            act(*arguments, **options)
        return told

    return listen


def words(told):
    return [topic.removeprefix(notifications.PREFIX) for topic, _ in told]


def run_one(result):
    class Consumer(JobConsumer):
        topics = ("test/one",)

        def process(self, job):
            return result

    with consumers.register_temporarily(Consumer):
        testing.run_waiting(limit=1)


# --- What is told -------------------------------------------------------------------------------------------------


def test_a_job_that_succeeds_is_started_and_finished(local, heard):
    def run():
        claim = hold(local)
        outcomes.succeed(job_id=claim.job_id, fence=claim.fence)

    assert words(heard(run)) == ["START", "FINISHED"]


@pytest.mark.parametrize(
    ("previous", "state", "target", "word"),
    [
        ("", "QUEUED", "one", ["ADDED"]),
        ("", "QUEUED", "", []),
        ("QUEUED", "QUEUED", "two", ["ADDED"]),
        ("QUEUED", "QUEUED", "", []),
        ("ERROR", "QUEUED", "one", ["ADDED"]),
        ("QUEUED", "ACTIVE", "one", ["START"]),
        ("ACTIVE", "SUCCEEDED", "one", ["FINISHED"]),
        ("ACTIVE", "ERROR", "one", ["CANCELLED"]),
        ("ACTIVE", "GIVEN_UP", "one", ["CANCELLED"]),
        ("ACTIVE", "STOPPED", "one", ["CANCELLED"]),
        ("QUEUED", "STOPPED", "", ["CANCELLED"]),
        ("QUEUED", "DROPPED", "one", ["CANCELLED"]),
        ("SUCCEEDED", "", "one", ["REMOVED"]),
    ],
)
def test_each_change_has_its_notification(heard, previous, state, target, word):
    change = JobChange(ids.uuid7(), TOPIC, state, previous, "mail", "", target)

    assert words(heard(signals.tell, change)) == word


def test_a_failure_that_is_tried_again_is_failed(local, heard):
    claim = hold(local, retry_delay_seconds=0)

    def fail():
        outcomes.write(outcomes.Ending(claim.job_id, claim.fence, outcomes.Kind.FAILED, "No paper"))

    (told,) = heard(fail)
    assert told[0] == notifications.FAILED
    assert told[1]["slingevent:resultMessage"] == "No paper"
    assert told[1]["event.job.retrycount"] == 1
    assert told[1][":time"] == 0


@pytest.mark.parametrize("take_back", [lambda **key: outcomes.release(**key, message="Drained"), recovery.lost])
def test_what_is_only_taken_back_did_not_fail_but_waits_again(local, heard, take_back):
    """An earlier attempt did fail; it is not this one that is told of."""
    claim = hold(local)
    earlier = {"instance": local, "outcome": AttemptOutcome.FAILED, "ended_at": timezone.now()}
    Attempt.objects.create(job_id=claim.job_id, fence=0, **earlier)

    assert words(heard(take_back, job_id=claim.job_id, fence=claim.fence)) == ["ADDED"]


def test_a_waiting_job_that_is_stopped_is_cancelled(local, heard):
    job = manager.add_job(TOPIC)

    assert words(heard(manager.stop_job, job.id, by="ann")) == ["CANCELLED"]


def test_removing_a_waiting_job_cancels_it_and_removing_it_again_removes_it(local, heard):
    job = manager.add_job(TOPIC)

    assert words(heard(manager.remove_job, job.id, by="ann")) == ["CANCELLED"]
    assert words(heard(manager.remove_job, job.id, by="ann")) == ["REMOVED"]


# --- The payload --------------------------------------------------------------------------------------------------


def test_the_payload_is_the_jobs_properties_and_whose_they_are(local, heard):
    before = time.time_ns() // 1_000_000
    job = manager.add_job("test/one", {"to": "ann@example.org", "pages": [1, 2]}, title="Letter")
    told = heard(run_one, JobResult.OK, topics=notifications.FINISHED)

    ((topic, payload),) = told
    assert topic == notifications.FINISHED
    assert (payload["to"], payload["pages"]) == ("ann@example.org", [1, 2])
    assert payload["event.job.topic"] == "test/one"
    assert payload["slingevent:eventId"] == str(job.id)
    assert payload["event.job.queuename"] == job.queue
    assert payload["slingevent:jobTitle"] == "Letter"
    assert payload["slingevent:finishedState"] == "SUCCEEDED"
    assert before <= payload["timestamp"] <= time.time_ns() // 1_000_000


def test_of_an_added_or_removed_job_only_its_name_is_told(local, heard):
    told = heard(manager.add_job, TOPIC, {"to": "ann@example.org"})

    told += heard(signals.tell, JobChange(ids.uuid7(), TOPIC, "", "SUCCEEDED", "mail"))
    assert words(told)[-1] == "REMOVED"
    assert all(
        set(payload) == {"event.job.topic", "slingevent:eventId", "event.job.queuename", "timestamp", ":time"}
        for _, payload in told
    )


def test_an_unfinished_job_has_no_state_of_an_end(local, heard):
    told = heard(hold, local, topics=notifications.START)

    assert "slingevent:finishedState" not in told[0][1]
    assert told[0][1]["event.job.application"] == local


def test_start_tells_how_long_the_job_waited_and_finished_how_long_it_took(local, heard):
    started_at = timezone.now()
    job = Job.objects.create(
        id=ids.uuid7(),
        topic=TOPIC,
        queue="mail",
        application=local,
        queued_at=started_at - timedelta(milliseconds=2500),
        started_at=started_at,
    )
    ended = {"outcome": "SUCCEEDED", "started_at": started_at, "ended_at": started_at + timedelta(milliseconds=700)}
    Attempt.objects.create(job=job, fence=0, instance=local, **ended)

    def time_of(state, previous):
        ((_, payload),) = heard(signals.tell, JobChange(job.id, TOPIC, state, previous, "mail", "", local))
        return payload[":time"]

    assert time_of(JobState.ACTIVE, JobState.QUEUED) == 2500
    assert time_of(JobState.SUCCEEDED, JobState.ACTIVE) == 700
    assert time_of(JobState.ERROR, JobState.ACTIVE) == 0


# --- Subscribing --------------------------------------------------------------------------------------------------


def test_nobody_is_told_of_what_was_rolled_back(heard):
    def add_and_fail():
        with pytest.raises(RuntimeError), transaction.atomic():
            signals.tell(JobChange(ids.uuid7(), TOPIC, "", "SUCCEEDED"))
            raise RuntimeError

    assert heard(add_and_fail) == []


def test_nothing_is_read_while_nobody_subscribed(django_assert_num_queries, django_capture_on_commit_callbacks):
    change = JobChange(ids.uuid7(), TOPIC, JobState.SUCCEEDED, JobState.ACTIVE)
    with django_assert_num_queries(0), django_capture_on_commit_callbacks() as callbacks:
        notifications.on_jobs_changed((change,))

    assert callbacks == []


@pytest.mark.parametrize("state", ["QUEUED", ""])
def test_nothing_is_read_of_jobs_that_are_added_or_removed(django_assert_num_queries, state):
    changes = tuple(JobChange(ids.uuid7(), TOPIC, state, "", "mail", "", "one") for _ in range(3))
    with notifications.temporarily(lambda topic, payload: None), django_assert_num_queries(0):
        notifications.on_jobs_changed(changes)


def test_many_changes_are_read_at_once(django_assert_num_queries):
    changes = tuple(JobChange(ids.uuid7(), TOPIC, JobState.ACTIVE, JobState.QUEUED) for _ in range(30))
    with notifications.temporarily(lambda topic, payload: None), django_assert_num_queries(2):
        notifications.on_jobs_changed(changes)


def test_a_subscriber_hears_what_it_asked_for(heard):
    changes = [JobChange(ids.uuid7(), TOPIC, state, "ACTIVE") for state in ("SUCCEEDED", "ERROR", "")]

    assert words(heard(signals.tell, *changes, topics=notifications.REMOVED)) == ["REMOVED"]
    wanted = [notifications.FINISHED, notifications.CANCELLED]
    assert words(heard(signals.tell, *changes, topics=wanted)) == ["FINISHED", "CANCELLED"]
    assert len(heard(signals.tell, *changes, topics="org/apache/sling/**")) == 3


@pytest.mark.parametrize("topics", ["acme/mail/send", "org/apache/sling/event/notification/job/DONE", ["", "x"]])
def test_a_subscription_for_nothing_is_refused(topics):
    with pytest.raises(ValueError, match="none of the notifications, which are"):
        notifications.register("me", print, topics=topics)

    assert "me" not in notifications.names()


def test_the_same_name_replaces_and_can_be_taken_back(heard):
    told = []
    notifications.register("me", lambda topic, payload: told.append("old"))
    notifications.register("me", lambda topic, payload: told.append("new"))
    heard(signals.tell, JobChange(ids.uuid7(), TOPIC, "", "ERROR"))
    notifications.unregister("me")
    notifications.unregister("me")
    heard(signals.tell, JobChange(ids.uuid7(), TOPIC, "", "ERROR"))

    assert told == ["new"]


def test_a_subscriber_that_fails_harms_nobody(local, heard, caplog):
    def explode(topic, payload):
        payload.clear()
        raise RuntimeError("no paper")

    with notifications.temporarily(explode), caplog.at_level(logging.ERROR):
        told = heard(manager.add_job, TOPIC)
        told += heard(signals.tell, JobChange(ids.uuid7(), TOPIC, "", "ERROR"))

    assert told[-1][1]["event.job.topic"] == TOPIC
    assert Job.objects.count() == 1
    assert "subscriber failed" in caplog.messages
