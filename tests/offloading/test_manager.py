"""The public interface to jobs: what is refused, what is stored, who gets it, what can be done to it later."""

import datetime
import uuid

import pytest
from django.db import connection, transaction

from offloading import exceptions, services
from offloading.jobs import additions, claims, configuration, manager, outcomes, recovery, testing
from offloading.jobs.manager import JobRequest
from offloading.jobs.outcomes import Ending, Kind
from offloading.jobs.queues import QueueSettings
from offloading.jobs.signals import jobs_changed
from offloading.models import AttemptOutcome, Job, JobState, QueueType
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
    # On PostgreSQL the statement that adds it wakes it too.
    assert woken == ([] if connection.vendor == "postgresql" else [("jobs", local)])
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


def test_waiting_job_is_stopped_at_once(local):
    job = manager.add_job(TOPIC)
    assert manager.stop_job(job.id, by="ann").state == JobState.STOPPED


def test_running_job_is_asked_to_stop_where_it_runs(local, woken):
    job = manager.add_job(TOPIC)
    claim = claim_one(local)
    asked = manager.stop_job(job.id, by="ann")
    assert (asked.state, asked.stop_requested_by) == (JobState.ACTIVE, "ann")
    assert ("stops", local) in woken
    assert claims.going_on(testing.RUN_ID) == set()
    outcomes.write(Ending(claim.job_id, claim.fence, Kind.CANCELLED, "half done"))
    job.refresh_from_db()
    assert (job.state, job.result_message) == (JobState.STOPPED, "Stopped by ann: half done")


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (Kind.OK, JobState.SUCCEEDED),
        (Kind.CANCELLED, JobState.STOPPED),
        (Kind.FAILED, JobState.STOPPED),
        (Kind.RELEASED, JobState.STOPPED),
        (Kind.STOPPED, JobState.STOPPED),
        (Kind.RAISED, JobState.ERROR),
    ],
)
def test_what_becomes_of_a_job_that_was_asked_to_stop(local, kind, state):
    job = manager.add_job(TOPIC)
    claim = claim_one(local)
    manager.stop_job(job.id, by="ann")
    outcomes.write_all([Ending(claim.job_id, claim.fence, kind)])
    job.refresh_from_db()
    assert job.state == state


def test_job_that_was_asked_to_stop_is_not_run_again_after_a_crash(local):
    job = manager.add_job(TOPIC)
    claim = claim_one(local)
    manager.stop_job(job.id, by="ann")
    recovery.crashed(job_id=claim.job_id, fence=claim.fence)
    job.refresh_from_db()
    assert job.state == JobState.STOPPED


def test_job_at_another_installation_is_stopped_here_and_its_result_is_too_late(local):
    job = manager.add_job(TOPIC)
    claim = claim_one(local)
    Job.objects.filter(id=job.id).update(claimed_by=claims.remote_run("far"))
    assert manager.stop_job(job.id, by="ann").state == JobState.STOPPED
    assert job.attempts.get().outcome == AttemptOutcome.STOPPED
    with pytest.raises(exceptions.StaleFence):
        outcomes.succeed(job_id=claim.job_id, fence=claim.fence)


def test_of_unfinished_jobs_with_one_name_there_is_one(local):
    job = manager.add_job(TOPIC, name="nightly")
    assert manager.add_job(TOPIC, name="nightly") is None
    (other,) = manager.add_jobs([JobRequest(TOPIC, name="nightly"), JobRequest(TOPIC)])
    assert Job.objects.get(id=other).name == ""
    manager.stop_job(job.id, by="ann")
    assert manager.add_job(TOPIC, name="nightly") is not None
    with pytest.raises(exceptions.TransitionRefused, match="nightly"):
        manager.retry_job(job.id, by="ann")


def test_many_jobs_are_added_at_once(local, woken, news):
    jobs = manager.add_jobs(JobRequest(TOPIC, {"number": number}) for number in range(2_500))
    assert Job.objects.count() == len(jobs) == 2_500
    assert [job.properties["number"] for job in Job.objects.order_by("rank_at", "id")] == list(range(2_500))
    assert len(news) == 2_500


def test_of_many_jobs_with_a_bad_one_none_is_added(local):
    with pytest.raises(exceptions.TopicInvalid):
        manager.add_jobs([JobRequest(TOPIC), JobRequest("a..b")])
    assert not Job.objects.exists()


def test_queue_that_drops_its_jobs_adds_none(local):
    configuration.put(QueueSettings("drops", (TOPIC,), type=QueueType.DROP), by="ann")
    assert manager.add_job(TOPIC) is None


def test_naive_time_is_refused(local):
    with pytest.raises(exceptions.PropertiesInvalid, match="time zone"):
        manager.add_job(TOPIC, not_before=datetime.datetime(2030, 1, 1))


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
    return testing.claim_next()


@pytest.mark.django_db(transaction=True)
def test_instance_is_not_woken_for_each_of_many_jobs(woken, monkeypatch):
    local = establish(topics=TOPIC)
    sent = []
    monkeypatch.setattr(additions, "_woken_at", {})
    monkeypatch.setattr(wakeup, "MOMENT_SECONDS", 60)  # however busy the machine is
    monkeypatch.setattr(
        additions, "_insert", lambda each, calls=(), insert=additions._insert: sent.extend(calls) or insert(each, calls)
    )
    for _ in range(5):
        manager.add_job(TOPIC)
    assert [*woken, *sent] == [("jobs", local)]
    with transaction.atomic():
        manager.add_job(TOPIC)
    assert [*woken, *sent] == [("jobs", local)] * 2


@pytest.mark.django_db(transaction=True)
def test_addition_that_added_nothing_woke_nobody(local, monkeypatch):
    monkeypatch.setattr(additions, "_woken_at", {})
    with transaction.atomic():
        manager.add_job(TOPIC, name="one")
    assert manager.add_job(TOPIC, name="one") is None
    assert additions._woken_at == {}
    manager.add_job(TOPIC)
    assert list(additions._woken_at) == [("jobs", local)]


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 2**31 - 1},
        {"priority": -(2**31)},
        {"priority": "high"},
        {"delay_seconds": 3e11},
        {"delay_seconds": float("nan")},
        {"retries": 2**31},
        {"retry_delay_seconds": float("inf")},
        {"time_limit_seconds": float("nan")},
        {"not_before": datetime.datetime.max.replace(tzinfo=datetime.UTC)},
        {"not_before": datetime.datetime.min.replace(tzinfo=datetime.UTC)},
    ],
)
def test_number_with_which_a_job_could_not_be_read_or_run_is_refused(options):
    with pytest.raises(exceptions.PropertiesInvalid, match=next(iter(options))):
        manager.add_job("test/numbers", **options)
    assert list(Job.objects.all()) == []
