import uuid

import pytest

from offloading import exceptions
from offloading.jobs import manager, moves
from offloading.jobs.signals import jobs_changed
from offloading.models import Job, JobState
from tests.offloading import topologies

TOPIC = "acme/mail/send"


@pytest.fixture
def local(db):
    return topologies.establish("b", "c", topics=TOPIC)


def add(target, **facts):
    job = manager.add_job(TOPIC)
    Job.objects.filter(pk=job.pk).update(target=target, **facts)
    job.refresh_from_db()
    return job


def test_job_waits_where_it_was_moved_to_and_the_news_say_so(local):
    job, heard = add(local), []

    def hear(changes, **_):
        heard.extend(changes)

    jobs_changed.connect(hear)
    assert moves.move_job(job.pk, target="b", by="ann").target == "b"
    jobs_changed.disconnect(hear)
    assert Job.objects.get(pk=job.pk).target == "b"
    assert [(each.job_id, each.state, each.target) for each in heard] == [(job.pk, JobState.QUEUED, "b")]


def test_places_are_the_other_instances_that_take_the_topic(local):
    job = add("b")
    assert {each.sling_id for each in moves.places(job)} == {local, "c"}
    topologies.announce("c", topics="acme/print")
    assert {each.sling_id for each in moves.places(job)} == {local}


@pytest.mark.parametrize(
    ("facts", "target", "error"),
    [
        ({"state": JobState.ACTIVE}, "b", exceptions.TransitionRefused),
        ({"state": JobState.ERROR}, "b", exceptions.TransitionRefused),
        ({}, "nobody", exceptions.InstanceUnknown),
        ({}, "", exceptions.InstanceUnknown),
        ({}, "c", exceptions.TransitionRefused),
    ],
)
def test_what_cannot_move_stays(local, facts, target, error):
    topologies.announce("c", topics="acme/print")
    job = add(local, **facts)
    with pytest.raises(error):
        moves.move_job(job.pk, target=target, by="ann")
    assert Job.objects.get(pk=job.pk).target == local


@pytest.mark.django_db
@pytest.mark.parametrize("job_id", [uuid.uuid4(), "nonsense"])
def test_unknown_job_cannot_move(local, job_id):
    with pytest.raises(exceptions.JobMissing):
        moves.move_job(job_id, target="b", by="ann")
