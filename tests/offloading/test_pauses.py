"""Pauses: what they hold, how long they count, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from offloading import exceptions
from offloading.jobs import configuration, ids, pauses
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.models import Job, Pause
from tests.live.test_receivers import hints

pytestmark = pytest.mark.django_db
QUEUE, TOPIC = Pause.Kind.QUEUE, Pause.Kind.TOPIC


def pause(kind=QUEUE, name=MAIN_QUEUE, by="ann", **facts):
    return pauses.pause(kind=kind, name=name, by=by, **facts)


def soon(**span):
    return timezone.now() + timedelta(**span)


def job(topic, queue=MAIN_QUEUE):
    return Job.objects.create(id=ids.uuid7(), topic=topic, queue=queue, application="here")


def test_nothing_is_paused_at_first():
    assert not pauses.active()
    assert pauses.active() == pauses.Pauses()


def test_pause_says_who_why_and_until_when():
    until = soon(hours=1)
    row = pause(reason=" full disk ", until=until)
    assert (row.kind, row.name, row.paused_by, row.reason, row.until) == (QUEUE, MAIN_QUEUE, "ann", "full disk", until)
    assert abs(timezone.now() - row.paused_at) < timedelta(minutes=1)
    assert pauses.active().rows == (row,)
    assert pauses.active().queues == {MAIN_QUEUE}


def test_resumed_queue_goes_on():
    pause()
    assert pauses.resume(kind=QUEUE, name=MAIN_QUEUE, by="bob") is True
    assert pauses.resume(kind=QUEUE, name=MAIN_QUEUE, by="bob") is False
    assert not pauses.active()


def test_second_pause_takes_the_place_of_the_first():
    pause(reason="one", until=soon(hours=1))
    pause(by="bob", reason="two")
    (row,) = pauses.active().rows
    assert (row.paused_by, row.reason, row.until) == ("bob", "two", None)


def test_queue_and_topic_of_one_name_are_two_things():
    configuration.put(QueueSettings("mail", ("x",)), by="ann")
    pause(name="mail")
    pause(TOPIC, "mail")
    pauses.resume(kind=QUEUE, name="mail", by="ann")
    assert (pauses.active().queues, pauses.active().topics) == (set(), {"mail"})


@pytest.mark.parametrize(
    ("kind", "name", "queue", "topic", "is_held"),
    [
        (QUEUE, MAIN_QUEUE, MAIN_QUEUE, "a/b", True),
        (QUEUE, MAIN_QUEUE, "mail", "a/b", False),
        (TOPIC, "a/b", "mail", "a/b", True),
        (TOPIC, "a/b", "mail", "a/b/c", False),
        (TOPIC, "a/b", "mail", "a", False),
        (TOPIC, "a/**", "mail", "a/b", True),
        (TOPIC, "a/**", "mail", "a/b/c", True),
        (TOPIC, "a/**", "mail", "a", False),
        (TOPIC, "a/**", "mail", "ab/c", False),
        (TOPIC, "a_b/**", "mail", "axb/c", False),
        (TOPIC, "a/b", "mail", "A/B", False),
    ],
)
def test_pause_holds_jobs(kind, name, queue, topic, is_held):
    row = job(topic, queue)
    pause(kind, name)
    active = pauses.active()
    assert bool(active.holding(queue, topic)) is is_held
    assert Job.objects.filter(active.jobs(), pk=row.pk).exists() is is_held
    assert Job.objects.exclude(active.jobs()).filter(pk=row.pk).exists() is not is_held


def test_without_pauses_no_job_is_held():
    job("a")
    assert not Job.objects.filter(pauses.active().jobs()).exists()
    assert Job.objects.exclude(pauses.active().jobs()).count() == 1


# --- Ends ---------------------------------------------------------------------------------------------------------


def test_pause_whose_time_is_over_does_not_count_and_is_cleared():
    pause(until=soon(hours=1))
    pause(TOPIC, "a")
    Pause.objects.filter(kind=QUEUE).update(until=soon(seconds=-1))
    pauses.forget()
    assert pauses.active().queues == set()
    assert pauses.expire() == 1
    assert pauses.expire() == 0
    assert [row.name for row in Pause.objects.all()] == ["a"]


def test_end_is_a_moment_in_any_time_zone():
    row = pause(until=datetime.fromisoformat("2100-01-01T10:00+02:00"))
    assert row.until == datetime(2100, 1, 1, 8, tzinfo=UTC)


# --- What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "field", "said"),
    [
        ({"kind": "JOB"}, "kind", "QUEUE, TOPIC"),
        ({"name": "post"}, "name", "no queue 'post'. Configured are: <main queue>"),
        ({"name": ""}, "name", "no queue ''"),
        ({"kind": TOPIC, "name": "a//b"}, "name", "is not a topic"),
        ({"kind": TOPIC, "name": "a/*"}, "name", "a/**"),
        ({"kind": TOPIC, "name": "**"}, "name", "is not a topic"),
        ({"kind": TOPIC, "name": ""}, "name", "is not a topic"),
        ({"by": ""}, "by", "who"),
        ({"reason": "x" * 501}, "reason", "at most 500"),
        ({"until": datetime(2100, 1, 1)}, "until", "time zone"),
        ({"until": datetime(2001, 1, 1, tzinfo=UTC)}, "until", "still to come"),
    ],
)
def test_wrong_pause_is_refused(facts, field, said):
    with pytest.raises(exceptions.PauseInvalid) as caught:
        pause(**facts)
    assert list(caught.value.problems) == [field]
    assert said in caught.value.problems[field]
    assert not Pause.objects.exists()


def test_queue_that_a_placeholder_makes_can_be_paused():
    configuration.put(QueueSettings("q-{0}", ("a/*",)), by="ann")
    assert pause(name="q-b").name == "q-b"


def test_queue_that_only_jobs_know_can_be_paused():
    job("a", queue="left over")
    assert pause(name="left over").name == "left over"


# --- Telling and remembering --------------------------------------------------------------------------------------


def test_pause_and_resume_wake_everybody(monkeypatch, django_capture_on_commit_callbacks):
    said = []
    monkeypatch.setattr("topology.wakeup._send", lambda *message: said.append(message))
    with django_capture_on_commit_callbacks(execute=True):
        pause()
    with django_capture_on_commit_callbacks(execute=True):
        pauses.resume(kind=QUEUE, name=MAIN_QUEUE, by="ann")
        pauses.resume(kind=QUEUE, name=MAIN_QUEUE, by="ann")
    assert said == [("queues", ""), ("jobs", "")] * 2


def test_pause_is_told_to_the_screens():
    pause()
    assert ("queues", "") in hints()


def test_pauses_are_read_once_in_a_moment(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(pauses, "CACHE_SECONDS", 60.0)
    with django_assert_num_queries(1):
        pauses.active()
        pauses.active()
    pause()
    assert pauses.active().queues == {MAIN_QUEUE}


@pytest.mark.django_db(transaction=True)
def test_pause_that_was_rolled_back_is_forgotten_in_time(monkeypatch):
    with pytest.raises(RuntimeError), transaction.atomic():
        pause()
        raise RuntimeError
    assert not pauses.active()
