"""The public interface to jobs: what is refused, what is stored, who gets it, what can be done to it later."""

import uuid

import pytest
from django.db import transaction

from offloading import exceptions, services
from offloading.jobs import claims, manager, outcomes, testing
from offloading.jobs.signals import jobs_changed
from offloading.models import AttemptOutcome, Job, JobState
from tests.offloading.topologies import establish
from topology import wakeup

pytestmark = pytest.mark.django_db
TOPIC = "test/manager"


@pytest.fixture
def local():
    return establish(topics=TOPIC)


@pytest.fixture
def woken(monkeypatch):
    """Return the list of wake-ups that were asked for; sending them is another test's affair."""
    found = []
    monkeypatch.setattr(wakeup, "notify", lambda kind, sling_id="": found.append((kind, sling_id)))
    return found


@pytest.fixture
def news():
    found = []

    def receive(changes, **facts):
        found.extend((change.previous, change.state) for change in changes)

    jobs_changed.connect(receive)
    yield found
    jobs_changed.disconnect(receive)


def finished(state=JobState.ERROR):
    job = manager.add_job(TOPIC)
    Job.objects.filter(id=job.id).update(state=state, fence=3, retry_count=2, crash_count=2, result_message="bad")
    return job


def test_added_job_waits_for_its_instance_and_wakes_it(local, woken, news):
    job = manager.add_job(TOPIC, {"a": [1, None, {"b": "ü"}]}, title="A job", priority=3, retries=4)
    stored = manager.get_job(str(job.id))
    assert stored == job
    assert (stored.state, stored.target, stored.application) == (JobState.QUEUED, local, local)
    assert (stored.properties, stored.title) == ({"a": [1, None, {"b": "ü"}]}, "A job")
    assert (stored.priority, stored.retries, stored.queue) == (3, 4, "<main queue>")
    assert job.created_at == stored.created_at
    assert woken == [("jobs", local)]
    assert news == [("", JobState.QUEUED)]


def test_job_is_added_in_the_callers_transaction(local):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        job = manager.add_job(TOPIC)
        raise ZeroDivisionError
    assert manager.get_job(job.id) is None


def test_ids_rise_with_the_order_of_adding(local):
    added = [manager.add_job(TOPIC).id for _ in range(50)]
    assert added == sorted(added)


def test_topic_that_nobody_takes_waits_without_a_target(local, woken):
    job = manager.add_job("test/unknown")
    assert (job.state, job.target, woken) == (JobState.QUEUED, "", [])
    assert [reason.text for reason in manager.explain(job)] == ["has no consumer for the topic"]


@pytest.mark.parametrize("topic", ["", "a b", "/a", None])
def test_illegal_topic_is_refused(topic):
    with pytest.raises(exceptions.TopicInvalid):
        manager.add_job(topic)


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"a": object()}, "'a'"),
        ({"a": {"b": {1, 2}}}, "'a'"),
        ({"a": float("nan")}, "'a'"),
        ({"a": "\0"}, "'a'"),
        ({7: "a"}, "7"),
        ({"": "a"}, "''"),
        ({"a": "x" * 1024 * 1024}, "1048"),
    ],
)
def test_property_that_cannot_be_stored_is_refused_by_its_name(properties, named):
    with pytest.raises(exceptions.PropertiesInvalid, match=named):
        manager.add_job(TOPIC, properties)


def test_names_of_the_engine_are_dropped(local):
    job = manager.add_job(TOPIC, {"event.job.id": 1, "slingevent:created": 2, "event.topics": 3, "mine": 4})
    assert job.properties == {"mine": 4}


@pytest.mark.parametrize("job_id", ["", "nonsense", "00000000-0000-0000-0000-000000000000", uuid.uuid4()])
def test_unknown_id_is_no_job(job_id):
    assert manager.get_job(job_id) is None
    with pytest.raises(exceptions.JobMissing):
        manager.retry_job(job_id, by="ann")
    with pytest.raises(exceptions.JobMissing):
        manager.stop_job(job_id, by="ann")
    manager.remove_job(job_id, by="ann")


@pytest.mark.parametrize("state", [JobState.ERROR, JobState.GIVEN_UP, JobState.STOPPED, JobState.SUCCEEDED])
def test_finished_job_is_retried_as_the_same_job_with_a_new_fence(local, woken, news, state):
    job = finished(state)
    retried = manager.retry_job(job.id, by="ann")
    assert (retried.id, retried.state, retried.fence, retried.target) == (job.id, JobState.QUEUED, 4, local)
    assert (retried.retry_count, retried.crash_count, retried.result_message) == (0, 0, "")
    assert woken[-1] == ("jobs", local)
    assert news[-1] == (state, JobState.QUEUED)


def test_unfinished_job_and_copy_are_not_retried(local):
    job = manager.add_job(TOPIC)
    with pytest.raises(exceptions.TransitionRefused, match="queued"):
        manager.retry_job(job.id, by="ann")
    Job.objects.update(state=JobState.ERROR, origin="elsewhere")
    with pytest.raises(exceptions.TransitionRefused, match="another installation"):
        manager.retry_job(job.id, by="ann")


def test_waiting_job_is_stopped(local):
    job = manager.stop_job(manager.add_job(TOPIC).id, by="ann")
    assert (job.state, job.result_message) == (JobState.STOPPED, "Stopped by ann")


def test_running_job_is_stopped_and_its_result_is_too_late(local):
    job = manager.add_job(TOPIC)
    claim = claim_one(local)
    assert manager.stop_job(job.id, by="ann").state == JobState.STOPPED
    assert job.attempts.get().outcome == AttemptOutcome.STOPPED
    with pytest.raises(exceptions.StaleFence):
        outcomes.succeed(job_id=claim.job_id, fence=claim.fence)


def test_unfinished_job_is_dropped_and_a_finished_one_deleted(local):
    job = manager.add_job(TOPIC)
    manager.remove_job(job.id, by="ann")
    assert manager.get_job(job.id).state == JobState.DROPPED
    manager.remove_job(job.id, by="ann")
    assert manager.get_job(job.id) is None


def test_explain_names_each_instance_and_why():
    local = establish("second", topics=TOPIC)
    for sling_id in (local, "second"):
        services.configure_instance(sling_id=sling_id, actions={TOPIC: "disable"}, by="ann")
    job = manager.add_job(TOPIC)
    assert job.target == ""
    assert {(each.sling_id, each.text) for each in manager.explain(job)} == {
        (local, "blacklisted"),
        ("second", "blacklisted"),
    }


def claim_one(local):
    (claim,) = claims.claim(
        claims.due(targets=[local], limit=1), run_id=testing.RUN_ID, instance=local, label="local:4502"
    )
    return claim
