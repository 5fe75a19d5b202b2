"""How long finished jobs stay, and what is deleted with them and what is not."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from offloading.exceptions import PropertiesInvalid
from offloading.jobs import configuration, families, history, ids, manager, testing
from offloading.jobs.history import Deleted, Pace
from offloading.jobs.signals import jobs_changed
from offloading.models import (
    Attempt,
    FailureFamily,
    Job,
    JobState,
    QueueConfiguration,
    Tally,
    Transfer,
)
from tests.offloading.topologies import establish

TASK = "org/apache/sling/event/impl/jobs/tasks/HistoryCleanUpTask"
NOW = timezone.now()
FINAL = ("SUCCEEDED", "STOPPED", "GIVEN_UP", "ERROR", "DROPPED")


def ended(state="SUCCEEDED", *, days: float = 400, **columns) -> Job:
    """Add a job that ended so many days ago."""
    values = {"topic": "a/b", "queue": "q", "application": "here", "target": "here"} | columns
    return Job.objects.create(id=ids.uuid7(), state=state, finished_at=timezone.now() - timedelta(days=days), **values)


def clean_up(**options) -> int:
    return history.clean_up(rest=lambda seconds: None, **options)


def left() -> set:
    return set(Job.objects.values_list("id", flat=True))


@pytest.fixture(autouse=True)
def read_queues_anew():
    configuration.forget()
    yield
    configuration.forget()


# --- Retention ----------------------------------------------------------------------------------------------------


def test_each_state_has_its_own_time(settings):
    for days, state in enumerate(FINAL, start=1):
        setattr(settings, f"OFFLOADING_HISTORY_DAYS_{state}", days)
    expected = {JobState(state): NOW - timedelta(days=days) for days, state in enumerate(FINAL, start=1)}
    assert history.cutoffs(NOW) == expected


@pytest.mark.parametrize("kept", [0, 0.0, -1])
def test_zero_keeps_for_ever(settings, kept):
    settings.OFFLOADING_HISTORY_DAYS_ERROR = kept
    assert JobState.ERROR not in history.cutoffs(NOW)


def test_parts_of_a_day_and_absurd_numbers_are_understood(settings):
    settings.OFFLOADING_HISTORY_DAYS_DROPPED = 0.5
    settings.OFFLOADING_HISTORY_DAYS_ERROR = 1e12
    found = history.cutoffs(NOW)
    assert found[JobState.DROPPED] == NOW - timedelta(hours=12)
    assert found[JobState.ERROR] < NOW - timedelta(days=36_000)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "days"), [("SUCCEEDED", 7), ("STOPPED", 30), ("GIVEN_UP", 90), ("ERROR", 90), ("DROPPED", 2)]
)
def test_job_is_deleted_when_its_time_is_over(state, days):
    kept = ended(state, days=days - 0.1)
    ended(state, days=days + 0.1)
    assert clean_up() == 1
    assert left() == {kept.id}


@pytest.mark.django_db
def test_unfinished_jobs_stay_however_old_they_are():
    waiting = Job.objects.create(id=ids.uuid7(), topic="a/b", queue="q", application="here")
    Job.objects.update(created_at=timezone.now() - timedelta(days=4000))
    assert clean_up() == 0
    assert left() == {waiting.id}


@pytest.mark.django_db
def test_attempts_and_settled_transfers_go_with_the_job():
    job = ended(origin="there")
    Attempt.objects.create(job=job, fence=1, instance="here", instance_label="here:1")
    transfer(job, Transfer.Direction.OUT, is_sender=False, state=Transfer.State.DONE)
    transfer(job, Transfer.Direction.BACK, is_sender=True, state=Transfer.State.FENCED)
    assert clean_up() == 1
    assert not Attempt.objects.exists() and not Transfer.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["WAITING", "SENDING", "PARKED"])
def test_copy_whose_result_is_not_home_stays(state):
    job = ended(origin="there")
    back = transfer(job, Transfer.Direction.BACK, is_sender=True, state=state)
    assert clean_up() == 0
    Transfer.objects.filter(pk=back.pk).update(state=Transfer.State.DONE)
    assert clean_up() == 1


def transfer(job, direction, *, is_sender, state) -> Transfer:
    return Transfer.objects.create(
        job=job, fence=1, peer="there", direction=direction, is_sender=is_sender, state=state
    )


@pytest.mark.django_db
def test_succeeded_jobs_stay_where_their_queue_keeps_them():
    QueueConfiguration.objects.create(name="kept", topics=["a/b"], keep_jobs=True)
    configuration.forget()
    kept = ended(queue="kept")
    ended("ERROR", queue="kept")
    ended(queue="other")
    assert clean_up() == 2
    assert left() == {kept.id}


# --- Batches ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_everything_goes_in_batches_kept_jobs_in_between():
    QueueConfiguration.objects.create(name="kept", topics=["a/b"], keep_jobs=True)
    configuration.forget()
    kept = {ended(queue="kept", days=100 + n).id for n in range(0, 60, 2)}
    for number in range(1, 60, 2):
        ended(days=100 + number)
    assert clean_up(batch=10) == 30
    assert left() == kept


@pytest.mark.django_db
def test_jobs_that_ended_at_the_same_moment_all_go():
    at = timezone.now() - timedelta(days=100)
    for _ in range(25):
        ended()
    Job.objects.update(finished_at=at)
    assert clean_up(batch=10) == 25


@pytest.mark.django_db
def test_kept_jobs_are_not_looked_at_again_with_each_run(django_assert_max_num_queries):
    QueueConfiguration.objects.create(name="kept", topics=["a/b"], keep_jobs=True)
    configuration.forget()
    for number in range(100):
        ended(queue="kept", days=100 + number)
    regular = history.CleanUp(batch=10)
    assert regular.run(limit_seconds=10, rest=lambda seconds: None) == 0
    ended(days=99)
    with django_assert_max_num_queries(20):
        assert regular.run(limit_seconds=10, rest=lambda seconds: None) == 1


@pytest.mark.django_db
def test_run_ends_when_its_time_is_over_and_goes_on_with_the_next():
    for _ in range(30):
        ended()
    regular = history.CleanUp(batch=10)
    assert regular.run(limit_seconds=0) == 0
    assert regular.run(limit_seconds=10, rest=lambda seconds: True) == 10
    assert regular.run(limit_seconds=10, rest=lambda seconds: None) == 20


@pytest.mark.django_db
def test_job_that_was_retried_in_the_meantime_stays():
    job = ended()
    row = Job.objects.get()
    Job.objects.update(state=JobState.QUEUED, finished_at=None)
    assert history._delete([row.id], JobState.SUCCEEDED, timezone.now()).rows == 0
    assert left() == {job.id}


@pytest.mark.django_db
def test_deletion_is_told_once_a_batch():
    heard = []

    def hear(changes, **_):
        heard.append([(change.topic, change.previous, change.state) for change in changes])

    jobs_changed.connect(hear)
    try:
        for _ in range(3):
            ended("ERROR")
        clean_up(batch=10)
    finally:
        jobs_changed.disconnect(hear)
    assert heard == [[("a/b", "ERROR", "")] * 3]


@pytest.mark.parametrize(("seconds", "batch"), [(0.0, 200), (0.01, 200), (0.02, 100), (0.04, 50), (3.0, 10)])
def test_batches_are_as_large_as_others_can_bear(seconds, batch):
    pace = Pace(500, aim_seconds=0.02)
    assert pace.batch == 100
    assert pace.rest_after(Deleted(100, seconds)) >= max(seconds, 0.005)
    assert pace.batch == batch


def test_batches_never_grow_beyond_what_is_asked_for():
    pace = Pace(120)
    for _ in range(10):
        pace.rest_after(Deleted(1, 0.0))
    assert pace.batch == 120


# --- What else is pruned ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_old_counts_are_put_together_and_none_is_lost():
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=3)
    for minute in range(60):
        Tally.objects.create(
            minute=hour + timedelta(minutes=minute), instance="i", queue="q", topic="t", finished=minute
        )
    clean_up(batch=20)
    assert Tally.objects.get().finished == sum(range(60))


@pytest.mark.django_db
def test_families_without_jobs_are_pruned_unless_they_were_seen_lately():
    with transaction.atomic():
        used, unused, recent = (families.note(topic="a", failure=None, message=text) for text in "abc")
    long_ago = timezone.now() - timedelta(days=8)
    FailureFamily.objects.exclude(fingerprint=recent).update(last_seen_at=long_ago)
    ended("ERROR", days=8, family=used)
    clean_up()
    assert set(FailureFamily.objects.values_list("fingerprint", flat=True)) == {used, recent}


# --- On request ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "minutes"),
    [
        ({}, 2880),
        ({"age": 60}, 60),
        ({"age": "90"}, 90),
        ({"age": 1.5}, 1.5),
        ({"age": 0}, 2880),
        ({"age": -5}, 2880),
        ({"age": None}, None),
        ({"age": "soon"}, None),
        ({"age": [1]}, None),
        ({"age": 1e300}, 36_500 * 24 * 60),
    ],
)
def test_age_is_minutes(properties, minutes):
    if minutes is None:
        with pytest.raises(PropertiesInvalid, match="'age'"):
            history.read_request(properties, NOW)
    else:
        assert history.read_request(properties, NOW).before == NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("topic", "read"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("a/b", ("a/b",)),
        ("a.b.c", ("a/b/c",)),
        (["a/b", "c.d"], ("a/b", "c/d")),
        ("a//b", None),
        ("a b", None),
        (5, None),
        (["a", 5], None),
    ],
)
def test_topics_are_written_with_slashes_or_dots(topic, read):
    if read is None:
        with pytest.raises(PropertiesInvalid, match="'topic'"):
            history.read_request({"topic": topic}, NOW)
    else:
        assert history.read_request({"topic": topic}, NOW).topics == read


@pytest.mark.parametrize(
    ("state", "read"),
    [
        (None, set(FINAL)),
        ([], set(FINAL)),
        ("ERROR", {"ERROR"}),
        (["ERROR", "DROPPED"], {"ERROR", "DROPPED"}),
        ("ACTIVE", None),
        ("error", None),
        ({"a": 1}, None),
    ],
)
def test_states_are_final_ones(state, read):
    if read is None:
        with pytest.raises(PropertiesInvalid, match="'state'"):
            history.read_request({"state": state}, NOW)
    else:
        assert set(history.read_request({"state": state}, NOW).states) == read


def run(properties) -> int:
    request = history.read_request(properties, timezone.now())
    expected = history.count(request)
    steps = list(history.delete(request, batch=10, rest=lambda seconds: None))
    assert sum(seen for seen, _ in steps) == expected
    return sum(rows for _, rows in steps)


@pytest.mark.django_db
def test_request_deletes_by_age_topic_and_state():
    young = ended(days=1 / 24)
    other_topic = ended(topic="a/c")
    other_state = ended("STOPPED")
    ended("ERROR")
    ended("DROPPED")
    assert run({"age": 120, "topic": ["a.b"], "state": ["ERROR", "DROPPED", "SUCCEEDED"]}) == 2
    assert left() == {young.id, other_topic.id, other_state.id}


@pytest.mark.django_db
def test_request_deletes_also_what_a_queue_keeps_and_not_what_is_on_its_way_home():
    QueueConfiguration.objects.create(name="kept", topics=["a/b"], keep_jobs=True)
    configuration.forget()
    ended(queue="kept")
    copy = ended(origin="there")
    transfer(copy, Transfer.Direction.BACK, is_sender=True, state=Transfer.State.WAITING)
    assert run({}) == 1
    assert left() == {copy.id}


@pytest.mark.django_db
def test_request_goes_by_the_end_of_a_job_and_not_by_its_beginning():
    job = ended(days=0.01)
    Job.objects.update(created_at=timezone.now() - timedelta(days=100))
    assert run({}) == 0
    assert left() == {job.id}


def run_task(properties) -> Job:
    """Have a HistoryCleanUpTask done as the engine does it."""
    establish(topics=TASK)
    job = manager.add_job(TASK, properties)
    testing.run_waiting()
    return Job.objects.get(id=job.id)


@pytest.mark.django_db
def test_task_deletes_and_says_how_many():
    for number in range(3):
        ended("ERROR", days=100 + number)
    kept = ended("STOPPED")
    done = run_task({"state": "ERROR"})
    assert (done.state, done.result_message) == (JobState.SUCCEEDED, "3 finished jobs deleted.")
    assert (done.progress_step, done.progress_steps) == (3, 3)
    assert left() == {kept.id, done.id}


@pytest.mark.django_db
def test_task_that_nobody_understands_deletes_nothing():
    kept = ended("ERROR")
    done = run_task({"state": "FINISHED"})
    assert done.state == JobState.ERROR
    assert "'FINISHED'" in done.result_message
    assert left() == {kept.id, done.id}


@pytest.mark.django_db
def test_task_stops_after_a_batch_when_asked_to():
    for _ in range(300):
        ended("ERROR")
    establish(topics=TASK)
    job = manager.add_job(TASK)

    def ask_to_stop(changes, **_):
        if any(change.state == "" for change in changes):
            Job.objects.filter(id=job.id).update(stop_requested_by="somebody")

    jobs_changed.connect(ask_to_stop)
    try:
        testing.run_waiting()
    finally:
        jobs_changed.disconnect(ask_to_stop)
    job = Job.objects.get(id=job.id)
    assert job.state == JobState.STOPPED
    assert "Stopped after 100 finished jobs." in job.result_message
    assert Job.objects.count() == 201
