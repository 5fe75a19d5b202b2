"""Executors, asynchronous results, time limits and stops: the real claim, run and outcome, in this process."""

import threading
import time

import pytest

from offloading import exceptions
from offloading.jobs import configuration, consumers, manager, testing
from offloading.jobs.consumers import JobConsumer, JobExecutor, JobResult, async_handler
from offloading.jobs.queues import QueueSettings
from offloading.models import AttemptOutcome, Job, JobState

pytestmark = pytest.mark.django_db
TOPIC = "test/executor"


def execute(process, base=JobExecutor, **options):
    """Add one job that `process` does, run it once, and return its row and its last attempt."""
    body = {"topics": (TOPIC,), "process": staticmethod(process)}
    with consumers.register_temporarily(type("Consumer", (base,), body)):
        job = manager.add_job(TOPIC, {"a": 1}, **options)
        testing.run_waiting(limit=1)
    row = Job.objects.get(id=job.id)
    return row, row.attempts.order_by("fence").last()


def configured(**options):
    configuration.put(QueueSettings("executors", (TOPIC,), **options), by="ann")


@pytest.mark.parametrize(
    ("make", "state", "message"),
    [
        (lambda result: result.succeeded(), JobState.SUCCEEDED, ""),
        (lambda result: result.message("5 of 5").succeeded(), JobState.SUCCEEDED, "5 of 5"),
        (lambda result: result.message("2 of 5").failed(), JobState.QUEUED, "2 of 5"),
        (lambda result: result.failed(), JobState.QUEUED, "The consumer reported a failure."),
        (lambda result: result.cancelled(), JobState.ERROR, "The consumer cancelled the job."),
    ],
)
def test_results_of_executors(make, state, message):
    job, attempt = execute(lambda job, context: make(context.result()))
    assert (job.state, job.result_message, attempt.message) == (state, message, message)


def test_delay_of_a_result_beats_that_of_the_job():
    job, attempt = execute(lambda job, context: context.result().failed(0), retry_delay_seconds=60)
    assert (job.state, job.not_before) == (JobState.QUEUED, None)


def test_progress_is_seen_while_the_job_runs():
    seen = []

    def process(job, context):
        context.increment_progress()  # before it was announced: nothing
        context.init_progress(4, eta_seconds=60)
        context.init_progress(9)  # only the first call counts
        look(job, seen)
        context.increment_progress(3)
        look(job, seen)
        context.increment_progress(9)
        look(job, seen)
        context.update_progress(-1)
        look(job, seen)
        return context.result().succeeded()

    execute(process)
    assert [(steps, step, eta is not None) for steps, step, eta in seen] == [
        (4, 0, True),
        (4, 3, True),
        (4, 4, True),
        (4, 4, False),
    ]


def look(job, seen):
    seen.append(Job.objects.values_list("progress_steps", "progress_step", "progress_eta").get(id=job.id))


def test_progress_of_the_former_attempt_is_gone_at_the_next():
    def process(job, context):
        if job.retry_count == 0:
            context.init_progress(4)
            context.increment_progress(2)
            return context.result().failed(0)
        seen = []
        look(job, seen)
        return context.result().message(str(seen)).succeeded()

    body = {"topics": (TOPIC,), "process": staticmethod(process)}
    with consumers.register_temporarily(type("Consumer", (JobExecutor,), body)):
        job = manager.add_job(TOPIC)
        testing.run_waiting()
    job.refresh_from_db()
    assert job.result_message == "[(None, 0, None)]"


def test_log_takes_numbered_arguments():
    job, attempt = execute(lambda job, context: context.log("{0} of {1}", 2, 5) or context.result().succeeded())
    assert attempt.log == "2 of 5\n"


def test_property_is_stored_at_once():
    def process(job, context):
        context.set_property("found", ["a", 1])
        assert Job.objects.get(id=job.id).properties == {"a": 1, "found": ["a", 1]} == job.properties
        return context.result().succeeded()

    job, _ = execute(process)
    assert job.properties == {"a": 1, "found": ["a", 1]}


@pytest.mark.parametrize(("name", "value"), [("slingevent:x", 1), (":slingevent:x", 1), ("a", None), ("", 1)])
def test_property_that_cannot_be(name, value):
    def process(job, context):
        with pytest.raises(exceptions.PropertiesInvalid):
            context.set_property(name, value)
        return context.result().succeeded()

    job, _ = execute(process)
    assert job.state == JobState.SUCCEEDED


@pytest.mark.parametrize("base", [JobConsumer, JobExecutor])
def test_asynchronous_result_comes_from_another_thread(base):
    def finish(act):
        thread = threading.Timer(0.05, act)
        thread.start()

    def consume(job):
        handler = async_handler(job)
        finish(lambda: handler.ok("from afar"))
        return JobResult.ASYNC

    def run(job, context):
        result = context.result().message("from afar").succeeded()
        finish(lambda: context.async_processing_finished(result))

    job, attempt = execute(consume if base is JobConsumer else run, base)
    assert (job.state, job.result_message) == (JobState.SUCCEEDED, "from afar")


def test_asynchronous_failure_keeps_its_message_and_delay():
    def process(job):
        handler = async_handler(job)
        threading.Thread(target=lambda: handler.failed("no answer", delay_seconds=0)).start()
        return JobResult.ASYNC

    job, _ = execute(process, JobConsumer)
    assert (job.state, job.result_message, job.not_before) == (JobState.QUEUED, "no answer", None)


def test_asynchronous_result_inside_of_process_is_refused():
    def process(job):
        with pytest.raises(exceptions.AsyncMisused, match="still in process"):
            async_handler(job).ok()
        return JobResult.OK

    assert execute(process, JobConsumer)[0].state == JobState.SUCCEEDED


def test_asynchronous_result_that_nobody_can_bring_is_an_error():
    job, _ = execute(lambda job: JobResult.ASYNC, JobConsumer)
    assert (job.state, "asked for no handler" in job.result_message) == (JobState.ERROR, True)


def test_asynchronous_result_comes_once():
    errors = []

    def process(job):
        handler = async_handler(job)

        def bring():
            handler.ok()
            try:
                handler.cancel()
            except exceptions.AsyncMisused as error:
                errors.append(str(error))

        thread = threading.Thread(target=bring)
        thread.start()
        threads.append(thread)
        return JobResult.ASYNC

    threads = []
    assert execute(process, JobConsumer)[0].state == JobState.SUCCEEDED
    threads[0].join()
    assert errors == ["The job has its result already."]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("own", [None, 0.05])
def test_job_that_takes_too_long_is_ended_and_tried_again(own):
    configured(time_limit_seconds=0.05 if own is None else 0.0, retries=1)
    job, attempt = execute(lambda job: time.sleep(5), JobConsumer, time_limit_seconds=own)
    assert (job.state, job.retry_count, attempt.outcome) == (JobState.QUEUED, 1, AttemptOutcome.TIMED_OUT)
    assert "time limit of 0.05 s" in attempt.message
    assert "time.sleep" in attempt.log


@pytest.mark.django_db(transaction=True)
def test_asynchronous_job_has_a_time_limit_too():
    def process(job):
        async_handler(job)
        return JobResult.ASYNC

    job, attempt = execute(process, JobConsumer, time_limit_seconds=0.05, retries=0)
    assert (job.state, attempt.outcome) == (JobState.GIVEN_UP, AttemptOutcome.TIMED_OUT)


def test_time_limit_of_the_job_beats_that_of_the_queue():
    configured(time_limit_seconds=0.05)
    job, _ = execute(lambda job: time.sleep(0.1) or JobResult.OK, JobConsumer, time_limit_seconds=0)
    assert job.state == JobState.SUCCEEDED


def test_job_hears_that_it_shall_stop():
    def process(job, context):
        assert not context.is_stopped
        manager.stop_job(job.id, by="ann")
        job._stop_looked_at = 0.0
        assert context.is_stopped
        return context.result().message("2 of 5 done").cancelled()

    job, attempt = execute(process)
    assert (job.state, attempt.outcome) == (JobState.STOPPED, AttemptOutcome.STOPPED)
    assert job.result_message == "Stopped by ann: 2 of 5 done"


@pytest.mark.parametrize(("retries_on_exception", "state"), [(False, JobState.ERROR), (True, JobState.QUEUED)])
def test_exceptions_are_final_unless_the_queue_retries_them(retries_on_exception, state, caplog):
    configured(retry_on_exception=retries_on_exception)

    def process(job):
        raise ValueError("no such colour")

    job, attempt = execute(process, JobConsumer)
    assert (job.state, attempt.outcome) == (state, AttemptOutcome.ERROR)
    assert bool(job.family) is (state == JobState.ERROR)


def test_failed_job_goes_to_the_end_of_its_queue():
    first, _ = execute(lambda job: JobResult.FAILED, JobConsumer, retry_delay_seconds=0)
    second = manager.add_job(TOPIC)
    Job.objects.filter(id=first.id).update(rank_at=first.created_at)
    body = {"topics": (TOPIC,), "process": staticmethod(lambda job: JobResult.FAILED)}
    with consumers.register_temporarily(type("Consumer", (JobConsumer,), body)):
        testing.run_waiting(limit=1)
    ranks = dict(Job.objects.values_list("id", "rank_at"))
    assert ranks[first.id] > ranks[second.id]


def test_module_of_another_package_is_loaded_by_its_name():
    with consumers.register_temporarily():
        consumers.load(["tests.offloading.foreign_consumers"])
        assert "foreign/work" in consumers.registered()


def test_installed_package_brings_its_consumers_by_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "installed_consumers.py").write_text(
        "from offloading.jobs.consumers import JobConsumer, JobResult, job_consumer\n\n\n"
        "@job_consumer\nclass Installed(JobConsumer):\n    topics = ('installed/work',)\n\n"
        "    def process(self, job):\n        return JobResult.OK\n"
    )
    told = tmp_path / "installed-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[offloading.consumers]\nall = installed_consumers\n")
    monkeypatch.syspath_prepend(tmp_path)
    with consumers.register_temporarily():
        consumers.load([])
        assert "installed/work" in consumers.registered()
