"""What becomes of a job whose consumer does this or that: the real claim, run and outcome, in this process."""

import json
import uuid
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, transaction

from offloading.exceptions import StaleFence
from offloading.jobs import consumers, execution, link, manager, messages, recovery, testing
from offloading.jobs.claims import Claim
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.jobs.outcomes import Kind
from offloading.models import AttemptOutcome, Job, JobState

pytestmark = pytest.mark.django_db


def run_one(process, **options):
    """Add one job whose consumer does `process`, run it once, and return its row and its last attempt."""

    class Consumer(JobConsumer):
        topics = ("test/one",)

        def process(self, job):
            return process(job)

    with consumers.register_temporarily(Consumer):
        job = manager.add_job("test/one", {"a": 1}, **options)
        testing.run_waiting(limit=1)
    job = Job.objects.get(id=job.id)
    return job, job.attempts.order_by("fence").last()


def test_ok_succeeds_and_closes_its_attempt():
    job, attempt = run_one(lambda job: JobResult.OK)
    assert (job.state, job.claimed_by, job.fence) == (JobState.SUCCEEDED, "", 1)
    assert (attempt.outcome, attempt.fence) == (AttemptOutcome.SUCCEEDED, 1)
    assert attempt.ended_at >= attempt.started_at
    assert job.finished_at >= job.started_at >= job.created_at


def test_consumer_sees_what_was_added():
    seen = []
    run_one(
        lambda job: seen.append((job.topic, job.properties, job.get("a"), job.get("b", 2), job.fence, job.initiator)),
    )
    assert seen == [("test/one", {"a": 1}, 1, 2, 1, "")]


def test_failed_job_waits_for_its_next_attempt():
    job, attempt = run_one(lambda job: JobResult.FAILED, retries=1)
    assert (job.state, job.retry_count, job.claimed_by) == (JobState.QUEUED, 1, "")
    assert job.not_before > attempt.ended_at
    assert attempt.outcome == AttemptOutcome.FAILED
    assert testing.run_waiting() == 0


def test_failed_job_without_delay_runs_again_and_is_given_up():
    runs = []

    class Failing(JobConsumer):
        topics = ("test/fail",)

        def process(self, job):
            runs.append(job.retry_count)
            return JobResult.FAILED

    with consumers.register_temporarily(Failing):
        job = manager.add_job("test/fail", retries=2, retry_delay_seconds=0)
        testing.run_waiting()
    job.refresh_from_db()
    assert runs == [0, 1, 2]
    assert (job.state, job.retry_count, job.fence) == (JobState.GIVEN_UP, 2, 3)


def test_consumer_can_choose_message_and_delay():
    def process(job):
        job.message = "the other side is asleep"
        job.retry_delay_seconds = 0
        return JobResult.FAILED

    job, attempt = run_one(process)
    assert (job.not_before, job.result_message) == (None, "the other side is asleep")
    assert attempt.message == "the other side is asleep"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (JobResult.CANCEL, "The consumer cancelled the job."),
        (None, "The consumer returned None, which is no JobResult."),
    ],
)
def test_cancelled_job_is_an_error(result, message):
    job, attempt = run_one(lambda job: result)
    assert (job.state, job.result_message, attempt.outcome) == (JobState.ERROR, message, AttemptOutcome.ERROR)


def test_exception_is_final_and_told_with_its_place(caplog):
    def process(job):
        job.log("before")
        raise ValueError("no such colour")

    job, attempt = run_one(process)
    assert job.state == JobState.ERROR
    assert job.result_message.endswith("ValueError: no such colour")
    assert attempt.log.startswith("before\nTraceback")
    assert "in process" in attempt.log


def test_exception_of_the_database_is_retried(caplog):
    def process(job):
        raise OperationalError("database is locked")

    job, _ = run_one(process)
    assert (job.state, job.retry_count) == (JobState.QUEUED, 1)


def test_apply_writes_changes_and_outcome_together():
    def process(job):
        with job.apply():
            Group.objects.create(name="made by the job")
            job.message = "made"
        return JobResult.FAILED  # not looked at any more

    job, _ = run_one(process)
    assert (job.state, job.result_message, Group.objects.count()) == (JobState.SUCCEEDED, "made", 1)


def test_apply_that_raises_writes_neither(caplog):
    def process(job):
        with job.apply():
            Group.objects.create(name="made by the job")
            raise ValueError("no")

    job, _ = run_one(process)
    assert (job.state, Group.objects.count()) == (JobState.ERROR, 0)


def test_exception_after_apply_changes_nothing_any_more(caplog):
    def process(job):
        with job.apply():
            pass
        raise ValueError("too late to matter")

    job, attempt = run_one(process)
    assert (job.state, attempt.outcome) == (JobState.SUCCEEDED, AttemptOutcome.SUCCEEDED)


@pytest.mark.parametrize("way", ["apply", "guard"])
def test_job_that_was_taken_back_writes_nothing(way, caplog):
    def process(job):
        recovery.lost(job_id=job.id, fence=job.fence)
        with pytest.raises(StaleFence), getattr(job, way)():
            Group.objects.create(name="made by the job")
        return JobResult.OK

    job, attempt = run_one(process)
    assert (job.state, job.fence, Group.objects.count()) == (JobState.QUEUED, 2, 0)
    assert attempt.outcome == AttemptOutcome.FENCED
    assert attempt.message.endswith("Its result (ok) came later and was refused.")
    assert "late result refused" in caplog.text


def test_guard_writes_without_an_outcome():
    def process(job):
        with job.guard():
            Group.objects.create(name="made by the job")
        return JobResult.CANCEL

    job, _ = run_one(process)
    assert (job.state, Group.objects.count()) == (JobState.ERROR, 1)


def test_job_that_moved_on_before_it_started_is_left_alone():
    job = manager.add_job("test/one")
    execution.run(Claim(job.id, job.topic, 7, "", properties="{}"))
    job.refresh_from_db()
    assert (job.state, job.attempts.count()) == (JobState.QUEUED, 0)


def test_job_without_a_consumer_is_given_back():
    job = manager.add_job("test/nobody")
    testing.run_waiting(limit=1)
    job.refresh_from_db()
    assert (job.state, job.fence) == (JobState.QUEUED, 2)
    assert "no consumer" in job.result_message


def test_log_is_shown_while_the_job_runs():
    shown = []

    def process(job):
        job.log("one")
        shown.append(Job.objects.get(id=job.id).attempts.get().log)
        return JobResult.OK

    run_one(process)
    assert shown == ["one\n"]


@pytest.mark.parametrize("way", ["returned", "applied", "logged"])
def test_text_that_not_every_database_stores_is_no_failure(way):
    text = "a\0b\ud800c"

    def process(job):
        if way == "logged":
            job.log(text)
        else:
            job.message = text
        if way == "applied":
            with job.apply():
                pass
        return JobResult.OK

    job, attempt = run_one(process)
    assert (job.state, attempt.log if way == "logged" else job.result_message) == (
        JobState.SUCCEEDED,
        "a�b?c\n" if way == "logged" else "a�b?c",
    )


@pytest.mark.parametrize("message", ["é" * 3_000_000, 5, None, b"bytes"])
def test_any_message_of_a_consumer_fits_into_its_ending(message):
    def process(job):
        job.log("\U0001f600" * 100_000)
        job.message = message
        return JobResult.OK

    with consumers.register_temporarily(
        type("Any", (JobConsumer,), {"topics": ("t",), "process": lambda _, j: process(j)})
    ):
        ending = execution.attempt(Claim(uuid.uuid4(), "t", 1, "", properties="{}"))
    assert ending.kind == Kind.OK
    assert len(json.dumps(messages.from_ending(1, ending))) < link._LONGEST_LINE


@pytest.mark.parametrize("delay", ["soon", Decimal(5), float("nan"), 3e11])
def test_delay_that_is_none_leaves_that_of_the_queue(delay):
    def process(job):
        job.retry_delay_seconds = delay
        return JobResult.FAILED

    job, _ = run_one(process, retries=1, retry_delay_seconds=7)
    assert (job.state, job.not_before is not None) == (JobState.QUEUED, True)


@pytest.mark.django_db(transaction=True)
def test_outcome_that_was_undone_with_the_transaction_around_it_is_none(caplog):
    def process(job):
        with transaction.atomic():
            with job.apply():
                Group.objects.create(name="made by the job")
            raise ValueError("undoes it all")

    job, attempt = run_one(process)
    assert (job.state, attempt.outcome, Group.objects.count()) == (JobState.ERROR, AttemptOutcome.ERROR, 0)
