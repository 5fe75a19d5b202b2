"""Orders to many jobs: what is counted, what is done to which jobs, and that doing it again does nothing twice."""

from datetime import UTC, datetime

import pytest

from offloading import exceptions
from offloading.jobs import bulk, manager, testing
from offloading.jobs.filters import Filter
from offloading.models import Job, JobState
from tests.offloading.stored import store
from tests.offloading.topologies import drop, establish

pytestmark = pytest.mark.django_db
TOPIC = "test/bulk"
ERROR = Filter(states=frozenset({"ERROR"}))
LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Recorder:
    """Somebody who watches an order being carried out, and may stop it after some jobs."""

    def __init__(self, stop_after=None):
        self.lines, self.steps, self.asked, self.stop_after = [], 0, 0, stop_after

    @property
    def is_stopped(self):
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after

    def increment_progress(self, count=1):
        self.steps += count

    def log(self, text, *arguments):
        self.lines.append(text)


@pytest.fixture
def local():
    return establish("other", topics=f"{TOPIC},{bulk.TOPIC}")


def carry_out(order, progress=None):
    read = bulk.Order.from_properties(order.properties)
    return bulk.carry_out(read, job_id=order.pk, given_at=order.created_at, progress=progress or Recorder())


def run(order, local):
    """Have the consumer carry an order out here, wherever it was placed."""
    Job.objects.filter(pk=order.pk).update(target=local)
    testing.run_waiting(limit=1)
    order.refresh_from_db()


def state_of(job):
    return Job.objects.values_list("state", flat=True).filter(pk=job.pk).first()


def test_failed_jobs_are_retried_and_others_are_not(local):
    broken = [store(TOPIC, JobState.ERROR) for _ in range(3)]
    given_up = store(TOPIC, JobState.GIVEN_UP)
    order = bulk.retry_matching(ERROR, by="ann")
    assert (order.topic, order.title) == (bulk.TOPIC, "Retry 3 jobs")
    report = carry_out(order)
    assert (report.done, report.refused) == (3, 0)
    assert [state_of(job) for job in broken] == ["QUEUED"] * 3
    assert state_of(given_up) == "GIVEN_UP"


def test_order_is_a_job_with_progress_and_a_result(local):
    for _ in range(3):
        store(TOPIC, JobState.ERROR)
    order = bulk.remove_matching(ERROR, by="ann")
    run(order, local)
    assert (order.state, order.result_message) == ("SUCCEEDED", "3 jobs removed")
    assert (order.progress_steps, order.progress_step) == (3, 3)
    assert not Job.objects.filter(topic=TOPIC).exists()


def test_waiting_and_running_jobs_are_stopped(local):
    waiting, running = store(TOPIC), store(TOPIC, JobState.ACTIVE, claimed_by="run")
    done = store(TOPIC, JobState.SUCCEEDED)
    order = bulk.stop_matching(Filter(topic=TOPIC), by="ann")
    assert order.title == "Stop 2 jobs"
    carry_out(order)
    assert [state_of(job) for job in (waiting, running, done)] == ["STOPPED", "ACTIVE", "SUCCEEDED"]
    assert manager.get_job(running.pk).stop_requested_by == "ann"


def test_removing_ends_the_unfinished_and_deletes_the_finished_and_not_both(local, monkeypatch):
    waiting, done = store(TOPIC), store(TOPIC, JobState.SUCCEEDED)
    order = bulk.remove_matching(Filter(topic=TOPIC), by="ann")
    carry_out(order)
    assert (state_of(waiting), state_of(done)) == ("DROPPED", None)
    assert carry_out(order).done == 0
    assert state_of(waiting) == "DROPPED"


def test_job_that_failed_again_is_not_retried_twice_by_one_order(local):
    job = store(TOPIC, JobState.ERROR)
    order = bulk.retry_matching(ERROR, by="ann")
    carry_out(order)
    manager.stop_job(job.pk, by="ann")
    Job.objects.filter(pk=job.pk).update(state=JobState.ERROR, finished_at=LATER)
    assert carry_out(order).done == 0
    assert state_of(job) == "ERROR"


def test_jobs_that_came_after_the_order_are_not_meant(local):
    store(TOPIC)
    order = bulk.stop_matching(Filter(topic=TOPIC), by="ann")
    late = store(TOPIC, created_at=LATER)
    assert carry_out(order).done == 1
    assert state_of(late) == "QUEUED"


def test_orders_do_not_end_each_other_nor_themselves(local):
    store(TOPIC)
    first = bulk.stop_matching(Filter(), by="ann")
    second = bulk.remove_matching(Filter(), by="ann")
    carry_out(second)
    assert state_of(first) == state_of(second) == "QUEUED"


def test_waiting_jobs_move_to_an_instance_and_are_placed_anew(local):
    jobs = [store(TOPIC, target="gone"), store(TOPIC, target="", not_before=LATER)]
    order = bulk.move_matching(Filter(topic=TOPIC), target="other", by="ann")
    assert order.title == "Move 2 jobs"
    assert carry_out(order).done == 2
    assert set(Job.objects.filter(topic=TOPIC).values_list("target", flat=True)) == {"other"}
    assert carry_out(order).done == 0
    drop("other", local)
    carry_out(bulk.move_matching(Filter(topic=TOPIC), target="", by="ann"))
    assert {manager.get_job(job.pk).target for job in jobs} == {local}


def test_instance_that_does_not_take_the_topic_gets_nothing(local):
    store("test/unknown", target=local)
    report = carry_out(bulk.move_matching(Filter(topic="test/unknown"), target="other", by="ann"))
    assert (report.done, report.refused, report.has_failed) == (0, 1, True)
    assert "does not take topic 'test/unknown'" in str(report)


def test_copies_of_other_installations_are_refused_and_logged(local, monkeypatch):
    monkeypatch.setattr(bulk, "_MAX_LOGGED", 2)
    for _ in range(4):
        store(TOPIC, JobState.ERROR, origin="elsewhere")
    own = store(TOPIC, JobState.ERROR)
    seen = Recorder()
    report = carry_out(bulk.retry_matching(ERROR, by="ann"), seen)
    assert (report.done, report.refused, state_of(own)) == (1, 4, "QUEUED")
    assert len(seen.lines) == 3 and seen.lines[-1] == "2 more were refused."
    assert str(report).startswith("1 job retried, 4 refused. The first: This is the copy")


def test_order_whose_jobs_were_all_refused_ends_as_an_error(local):
    store(TOPIC, JobState.ERROR, origin="elsewhere")
    order = bulk.retry_matching(ERROR, by="ann")
    run(order, local)
    assert order.state == "ERROR" and "refused" in order.result_message


def test_order_ends_soon_when_it_is_stopped(local):
    for _ in range(5):
        store(TOPIC, JobState.ERROR)
    report = carry_out(bulk.retry_matching(ERROR, by="ann"), Recorder(stop_after=2))
    assert (report.done, report.is_stopped) == (2, True)
    assert Job.objects.filter(topic=TOPIC, state=JobState.ERROR).count() == 3


def test_more_jobs_than_are_read_at_once(local, monkeypatch):
    monkeypatch.setattr(bulk, "_READ_AHEAD", 4)
    monkeypatch.setattr(bulk, "BATCH", 3)
    for _ in range(10):
        store(TOPIC, JobState.ERROR)
    seen = Recorder()
    assert carry_out(bulk.remove_matching(ERROR, by="ann"), seen).done == 10
    assert seen.steps == 10


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda: bulk.retry_matching(Filter(states=frozenset({"QUEUED"})), by="ann"), "no job that could be retried"),
        (lambda: bulk.retry_matching(ERROR, by="ann"), "no job that could be retried"),
        (lambda: bulk.stop_matching(Filter(topic=TOPIC), by=""), "by: say who"),
        (lambda: bulk.move_matching(Filter(topic=TOPIC), target="nobody", by="ann"), "no instance 'nobody'"),
    ],
)
def test_orders_that_make_no_sense_are_refused(local, give, message):
    store(TOPIC)
    with pytest.raises(exceptions.JobError, match=message):
        give()
    assert not Job.objects.filter(topic=bulk.TOPIC).exists()


def test_unassigned_jobs_are_counted_when_they_alone_are_meant(local):
    store(TOPIC, target="")
    store(TOPIC)
    assert bulk.stop_matching(Filter(states=frozenset({"UNASSIGNED"})), by="ann").title == "Stop 1 job"


@pytest.mark.parametrize(
    "properties",
    [{}, {"act": "burn", "by": "ann"}, {"act": "stop"}, {"act": "stop", "by": "ann", "filter": {"colour": "red"}}],
)
def test_order_that_cannot_be_read_ends_as_an_error(local, properties):
    job = manager.add_job(bulk.TOPIC, properties)
    run(job, local)
    assert job.state == "ERROR" and ":" in job.result_message
