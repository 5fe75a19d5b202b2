import uuid
from datetime import UTC, datetime, timedelta

import pytest

from offloading.jobs import distribution, manager, why
from offloading.jobs.why import Kind, Situation
from offloading.models import Job, JobState, Pause, QueueConfiguration
from tests.offloading import topologies
from topology import services as topology

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
QUEUE_PAUSED = Pause(kind="QUEUE", name="post", paused_by="ann", reason="the printer burns", until=LATER)
TOPIC_PAUSED = Pause(kind="TOPIC", name="acme/mail/send", paused_by="bob")
NOBODY = (distribution.Reason("a:4502", "a", "blacklisted"),)
FIRST = Job(pk=uuid.uuid4(), topic="acme/mail/send", title="first", state=JobState.ACTIVE)
RETRIED = Job(pk=uuid.uuid4(), topic="acme/mail/send", title="first", state=JobState.QUEUED, not_before=LATER)


def job(**facts):
    facts = {"target": "a", "queue": "post", "state": JobState.QUEUED} | facts
    return Job(pk=uuid.uuid4(), topic="acme/mail/send", created_at=NOW, **facts)


def here(**facts):
    return Situation(**{"target_label": "a:4502", "places": 2} | facts)


@pytest.mark.parametrize(
    ("waiting", "situation", "kinds", "words"),
    [
        (job(), here(), [Kind.TURN], "place free. It is the next one."),
        (job(), here(ahead=1), [Kind.TURN], "One job is ahead of it."),
        (job(), here(running=2, ahead=37), [Kind.FULL], "on a:4502 is full: all 2 places are taken. 37 jobs are ahead"),
        (job(), here(running=1, places=1), [Kind.FULL], "its one place is taken. It is the next one."),
        (job(), here(running=2, ahead=why.COUNTED_AHEAD + 1), [Kind.FULL], "More than 1,000 jobs are ahead of it."),
        (job(target=""), here(instances=NOBODY), [Kind.UNASSIGNED], "No instance takes topic acme/mail/send."),
        (job(), here(is_target_gone=True), [Kind.GONE], "Its instance a:4502 is gone."),
        (job(not_before=LATER), here(), [Kind.DELAYED], "It was added for later and can start"),
        (job(not_before=LATER, retry_count=1), here(), [Kind.DELAYED], "It is tried again"),
        (job(), here(pauses=(QUEUE_PAUSED,)), [Kind.PAUSED], "Queue post is paused by ann: the printer burns"),
        (job(), here(pauses=(TOPIC_PAUSED,)), [Kind.PAUSED], "Topic acme/mail/send is paused by bob"),
        (job(), here(queue_type="IGNORE"), [Kind.IGNORED], "Queue post keeps its jobs and starts none"),
        (job(), here(queue_type="ORDERED", first=FIRST), [Kind.ORDERED], "ordered, and another job runs:"),
        (job(), here(queue_type="ORDERED", first=RETRIED), [Kind.ORDERED], "another job waits for its delay:"),
        (job(), here(queue_type="ORDERED", first=job()), [Kind.ORDERED], "another job comes first:"),
        (
            job(not_before=LATER, target=""),
            here(pauses=(QUEUE_PAUSED, TOPIC_PAUSED), running=2, instances=NOBODY),
            [Kind.UNASSIGNED, Kind.PAUSED, Kind.PAUSED, Kind.DELAYED],
            "No instance takes topic acme/mail/send.",
        ),
        (job(state=JobState.ACTIVE), here(running=2), [], ""),
        (job(state=JobState.ERROR, target=""), here(instances=NOBODY), [], ""),
    ],
)
def test_every_reason_is_said_in_words(waiting, situation, kinds, words):
    reasons = why.waiting_reasons(waiting, situation)
    assert [reason.kind for reason in reasons] == kinds
    assert words in (reasons[0].text if reasons else "")


def test_first_of_an_ordered_queue_waits_for_its_turn_alone():
    first = job()
    reasons = why.waiting_reasons(first, here(queue_type="ORDERED", first=first, places=1))
    assert [reason.kind for reason in reasons] == [Kind.TURN]


def test_reasons_carry_the_time_the_job_and_the_instances_they_speak_of():
    def only(waiting, **facts):
        [reason] = why.waiting_reasons(waiting, here(**facts))
        return reason

    assert only(job(), pauses=(QUEUE_PAUSED,)).at == LATER
    assert only(job(not_before=LATER)).at == LATER
    assert only(job(), first=FIRST).job == FIRST
    assert only(job(target=""), instances=NOBODY).instances == NOBODY


# --- What is read ------------------------------------------------------------------------------------------------


@pytest.fixture
def local(db):
    return topologies.establish(topics="acme/mail/send")


def kinds_of(waiting):
    waiting.refresh_from_db()
    situation = why.situation_of(waiting, topology.current_view())
    return [reason.kind for reason in why.waiting_reasons(waiting, situation)]


def configure(**facts):
    QueueConfiguration.objects.create(**{"name": "post", "topics": ["acme/mail/*"]} | facts)


def add(**facts):
    added = manager.add_job("acme/mail/send")
    Job.objects.filter(pk=added.pk).update(queue="post", **facts)
    added.refresh_from_db()
    return added


def test_pause_of_its_queue_or_topic_is_found_and_no_other(local):
    configure()
    waiting = add()
    Pause.objects.create(kind="TOPIC", name="acme/print", paused_by="ann")
    Pause.objects.create(kind="QUEUE", name="acme/mail/send", paused_by="ann")
    assert kinds_of(waiting) == [Kind.TURN]
    Pause.objects.create(kind="TOPIC", name="acme/mail/send", paused_by="ann")
    Pause.objects.create(kind="QUEUE", name=waiting.queue, paused_by="ann")
    assert kinds_of(waiting) == [Kind.PAUSED, Kind.PAUSED]


def test_job_of_an_ordered_queue_waits_for_the_one_before_it(local):
    configure(type="ORDERED")
    first, second = add(), add()
    assert kinds_of(first) == [Kind.TURN] and kinds_of(second) == [Kind.ORDERED]
    Job.objects.filter(pk=first.pk).update(not_before=LATER, retry_count=1, started_at=NOW)
    assert kinds_of(second) == [Kind.ORDERED]
    Job.objects.filter(pk=first.pk).update(state=JobState.SUCCEEDED)
    assert kinds_of(second) == [Kind.TURN]


def test_queue_is_full_when_as_many_run_there_as_it_has_places(local):
    configure(max_parallel=1)
    running, waiting = add(), add()
    Job.objects.filter(pk=running.pk).update(state=JobState.ACTIVE, target="another")
    assert kinds_of(waiting) == [Kind.TURN]
    Job.objects.filter(pk=running.pk).update(target=local)
    assert kinds_of(waiting) == [Kind.FULL]


def test_job_that_was_added_for_later_does_not_hold_up_an_ordered_queue(local):
    configure(type="ORDERED")
    add(not_before=LATER, started_at=None)
    assert kinds_of(add()) == [Kind.TURN]


def test_jobs_ahead_are_those_of_its_queue_and_target_that_are_ready(local):
    add(), add(target="another"), add(not_before=LATER), add(state=JobState.ACTIVE)
    late = add()
    assert why.situation_of(late, topology.current_view()).ahead == 1
    Job.objects.filter(pk=late.pk).update(topic="acme/mail/print")
    configure(type="TOPIC_ROUND_ROBIN")
    late.refresh_from_db()
    assert why.situation_of(late, topology.current_view()).ahead == 0


def test_job_without_an_instance_says_why_not_for_each(local):
    waiting = manager.add_job("acme/nobody")
    situation = why.situation_of(waiting, topology.current_view())
    assert [reason.text for reason in situation.instances] == [distribution.NO_CONSUMER]
