"""The dispatcher and slots that are played by the test: real sockets and real claims, turn by turn, in one thread."""

import select
import signal
import subprocess
import threading
import time

import pytest
from django_q.signing import SignedPackage

from offloading.jobs import configuration, consumers, feeder, hand, link, manager, recovery, signals, slots
from offloading.jobs.broker import DispatcherBroker
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.jobs.dispatcher import Dispatcher
from offloading.jobs.manager import JobRequest
from offloading.jobs.queues import QueueSettings
from offloading.models import Job, JobState
from tests.offloading.topologies import establish
from topology import identity

# In transactions of its own: the dispatcher, as every loop, drops connections that it finds inside of one.
pytestmark = pytest.mark.django_db(transaction=True)
TOPIC = "test/dispatcher"


class Consumer(JobConsumer):
    topics = (TOPIC,)

    def process(self, job):
        return JobResult.OK


class Stage:
    """A dispatcher and what plays with it."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher("the run")
        self.dispatcher.open()
        self.lines = []

    def connect(self, role, slot):
        line = link.connect(identity.sling_id(), role=role, slot=slot)
        line.connection.settimeout(10)
        self.lines.append(line)
        return line

    def slot(self, name="1-a"):
        slot = PlayedSlot(self.connect(link.PUSHER, name), self.connect(link.WORKER, name))
        self.turns()
        slot.open()
        self.turns()
        return slot

    def add(self, topic=TOPIC):
        job = manager.add_job(topic)
        self.dispatcher.wake()
        self.turns()
        return job

    def turns(self, count=6):
        for _ in range(count):
            self.dispatcher.turn(0.01)

    def close(self):
        self.dispatcher.close()
        for line in self.lines:
            line.close()


class PlayedSlot:
    """What a slot shows the dispatcher: the lines of its pusher and its worker."""

    def __init__(self, pusher, worker) -> None:
        self.pusher, self.worker = pusher, worker

    def open(self):
        """Take the task that makes the worker wait for jobs, and say that it does."""
        (message,) = self.pusher.receive()
        assert SignedPackage.loads(message["task"])["func"] == slots.SHIFT
        self.worker.send({"ready": True})

    def take(self):
        """Return the jobs that the worker is sent next, and say that it read them."""
        jobs = [job for message in self.worker.receive() for job in message["run"]]
        self.worker.send({"heard": True})
        return jobs

    def end(self, job, kind="ok", **more):
        self.worker.send({"done": job["number"], "kind": kind, "seconds": 0.001, **more})


@pytest.fixture
def local(settings):
    settings.OFFLOADING_STOP_SECONDS = 0
    return establish(topics=TOPIC)


@pytest.fixture
def stage(local):
    with consumers.register_temporarily(Consumer):
        stage = Stage()
        yield stage
        stage.close()


def state(job):
    return Job.objects.values_list("state", "fence", "crash_count").get(id=job.id)


def test_idle_slot_is_given_a_job_and_the_next_when_that_is_done(stage):
    slot = stage.slot()
    first, second = stage.add(), stage.add()
    (job,) = slot.take()
    assert (job["id"], job["fence"], job["topic"]) == (first.id.hex, 1, TOPIC)
    assert (state(first), state(second)) == ((JobState.ACTIVE, 1, 0), (JobState.QUEUED, 0, 0))
    slot.end(job, message="done", log="a line")
    stage.turns()
    assert state(first) == (JobState.SUCCEEDED, 1, 0)
    attempt = Job.objects.get(id=first.id).attempts.get()
    assert (attempt.outcome, attempt.message, attempt.log) == ("SUCCEEDED", "done", "a line")
    assert slot.take()[0]["id"] == second.id.hex


def test_slot_is_given_nothing_before_its_worker_is_ready(stage):
    pusher, worker = stage.connect(link.PUSHER, "1-a"), stage.connect(link.WORKER, "1-a")
    job = stage.add()
    assert state(job) == (JobState.QUEUED, 0, 0)
    slot = PlayedSlot(pusher, worker)
    slot.open()
    stage.turns()
    assert slot.take()[0]["id"] == job.id.hex


def run_short_ones(stage, slot, count=3):
    """Teach the dispatcher that the jobs of the queue are short."""
    for _ in range(count):
        stage.add()
        slot.end(*slot.take())
        stage.turns()


def test_slot_is_given_several_short_jobs_ahead(stage):
    slot = stage.slot()
    run_short_ones(stage, slot)
    jobs = manager.add_jobs([JobRequest(TOPIC)] * 5)
    stage.dispatcher.wake()
    stage.turns()
    assert [job["id"] for job in slot.take()] == [job_id.hex for job_id in jobs]


def test_what_waits_behind_a_long_job_is_called_back_and_put_back(stage):
    slot = stage.slot()
    run_short_ones(stage, slot)
    first, second = (manager.get_job(job_id) for job_id in manager.add_jobs([JobRequest(TOPIC)] * 2))
    stage.dispatcher.wake()
    stage.turns()
    given = slot.take()
    time.sleep(0.15)
    stage.turns()
    assert slot.worker.receive() == [{"recall": True}]
    slot.worker.send({"recalled": [given[1]["number"]]})
    stage.turns()
    assert (state(first), state(second)) == ((JobState.ACTIVE, 1, 0), (JobState.QUEUED, 2, 0))
    assert not Job.objects.get(id=second.id).attempts.exists()


def test_death_before_the_start_puts_the_job_back_uncounted(stage):
    slot = stage.slot()
    job = stage.add()
    slot.pusher.close()
    stage.turns()
    assert state(job) == (JobState.QUEUED, 2, 0)


def test_death_after_the_start_is_a_crash_and_the_rest_of_the_slot_is_told_to_go(stage):
    slot = stage.slot()
    job = stage.add()
    slot.take()
    stage.turns()
    slot.worker.close()
    stage.turns()
    assert state(job) == (JobState.QUEUED, 2, 1)
    assert slot.pusher.receive() is None


def test_death_is_a_crash_of_the_running_job_alone(stage):
    slot = stage.slot()
    run_short_ones(stage, slot)
    first, second = (manager.get_job(job_id) for job_id in manager.add_jobs([JobRequest(TOPIC)] * 2))
    stage.dispatcher.wake()
    stage.turns()
    slot.take()
    stage.turns()
    slot.worker.close()
    stage.turns()
    assert (state(first), state(second)) == ((JobState.QUEUED, 2, 1), (JobState.QUEUED, 2, 0))


def test_job_that_crashed_before_is_not_kept_waiting_by_a_flood_of_others(stage, monkeypatch):
    monkeypatch.setattr(feeder, "_SUSPECTS_SECONDS", 0.05)
    slot = stage.slot()
    run_short_ones(stage, slot)
    manager.add_jobs([JobRequest(TOPIC)] * 5)
    stage.dispatcher.wake()
    stage.turns()
    given = slot.take()
    (suspect,) = manager.add_jobs([JobRequest(TOPIC, priority=5)])
    Job.objects.filter(id=suspect).update(crash_count=1)
    deadline = time.monotonic() + 10
    while Job.objects.get(id=suspect).state == JobState.QUEUED:
        assert time.monotonic() < deadline
        manager.add_jobs([JobRequest(TOPIC)] * 3)
        stage.dispatcher.wake()
        stage.turns(2)
        if select.select([slot.worker.connection], [], [], 0)[0]:
            given += slot.take()
        if given:
            slot.end(given.pop(0))


def test_all_lines_of_many_slots_may_end_at_once(stage):
    slots = [stage.slot(f"{number}-a") for number in range(4)]
    jobs = [stage.add() for _ in slots]
    for slot in slots:
        slot.pusher.close()
        slot.worker.close()
    stage.turns()
    assert {state(job) for job in jobs} == {(JobState.QUEUED, 2, 0)}


def test_job_that_came_back_goes_to_the_next_slot(stage):
    first = stage.slot("1-a")
    job = stage.add()
    first.take()
    stage.turns()
    first.worker.close()
    stage.turns()
    (again,) = stage.slot("1-b").take()
    assert (again["id"], again["fence"]) == (job.id.hex, 3)


def test_queue_never_runs_more_at_once_than_it_may(stage):
    configuration.put(QueueSettings("narrow", (TOPIC,), max_parallel=1), by="ann")
    slots = [stage.slot(f"{number}-a") for number in range(2)]
    jobs = [stage.add() for _ in range(3)]
    assert [state(job)[0] for job in jobs] == ["ACTIVE", "QUEUED", "QUEUED"]
    configuration.put(QueueSettings("narrow", (TOPIC,), max_parallel=2), by="ann")
    stage.dispatcher.wake()
    stage.turns()
    assert [state(job)[0] for job in jobs] == ["ACTIVE", "ACTIVE", "QUEUED"]
    assert [len(slot.take()) for slot in slots] == [1, 1]


def test_worker_whose_job_outlasts_its_time_limit_is_killed(stage):
    with subprocess.Popen(["sleep", "60"]) as process:
        slot = stage.slot()
        slot_of(stage).pid = process.pid
        configuration.put(QueueSettings("limited", (TOPIC,), retries=0, time_limit_seconds=0.01), by="ann")
        job = stage.add()
        assert slot.take()[0]["limit"] == 0.01
        stage.turns()
        hand = slot_of(stage).hand
        hand.given[0].began_at -= 10
        stage.turns()
        assert process.wait(10) == -signal.SIGKILL
    slot.worker.close()
    stage.turns()
    attempt = Job.objects.get(id=job.id).attempts.get()
    assert (state(job), attempt.outcome) == ((JobState.GIVEN_UP, 1, 0), "TIMED_OUT")


def test_worker_is_told_to_stop_and_killed_if_it_does_not(stage, settings):
    settings.OFFLOADING_JOB_STOP_SECONDS = 0.2
    with subprocess.Popen(["sleep", "60"]) as process:
        slot = stage.slot()
        slot_of(stage).pid = process.pid
        job = stage.add()
        (given,) = slot.take()
        manager.stop_job(job.id, by="ann")
        stage.dispatcher._wake_for_stops()
        stage.turns()
        assert slot.worker.receive() == [{"stop": given["number"]}]
        stage.turns(30)
        assert process.wait(10) == -signal.SIGKILL
    slot.worker.close()
    stage.turns()
    assert state(job)[0] == JobState.STOPPED


def test_ending_of_a_job_that_was_taken_away_is_refused_and_shown(stage):
    slot = stage.slot()
    job = stage.add()
    (given,) = slot.take()
    recovery.lost(job_id=job.id, fence=1)
    slot.end(given)
    stage.turns()
    assert list(Job.objects.get(id=job.id).attempts.order_by("fence").values_list("outcome", flat=True))[0] == "FENCED"


def test_ending_that_cannot_be_stored_does_not_keep_others_from_it(stage, caplog):
    slots = [stage.slot(f"{number}-a") for number in range(2)]
    bad, good = stage.add(), stage.add()
    by_id = {given["id"]: (slot, given) for slot in slots for given in slot.take()}
    slot, given = by_id[bad.id.hex]
    slot.end(given, kind="failed", delay=1e30)
    slot, given = by_id[good.id.hex]
    slot.end(given)
    stage.turns()
    assert (state(bad)[0], state(good)[0]) == (JobState.ERROR, JobState.SUCCEEDED)


def test_stop_claims_nothing_more_and_gives_back_what_does_not_end(stage):
    slot = stage.slot()
    running, waiting = stage.add(), stage.add()
    slot.take()
    stage.turns()
    stage.dispatcher.drain()
    assert (state(running), state(waiting)) == ((JobState.QUEUED, 2, 0), (JobState.QUEUED, 0, 0))


def slot_of(stage):
    (slot,) = stage.dispatcher._slots.values()
    return slot


def test_job_that_the_run_holds_without_knowing_is_given_back(stage):
    job = manager.add_job(TOPIC)
    Job.objects.filter(id=job.id).update(state=JobState.ACTIVE, claimed_by="the run", fence=1)
    stage.turns()
    assert state(job) == (JobState.QUEUED, 2, 0)


def test_job_whose_topic_was_switched_off_meanwhile_is_moved_away(stage, local):
    job = manager.add_job("test/nobody")
    Job.objects.filter(id=job.id).update(target=local)
    stage.slot()
    assert Job.objects.get(id=job.id).target == ""
    assert (state(job)[0], Job.objects.get(id=job.id).attempts.count()) == (JobState.QUEUED, 0)


def test_nothing_but_the_dispatcher_fills_django_q2s_queue():
    with pytest.raises(NotImplementedError, match="add_job"):
        DispatcherBroker().enqueue("a task")


def test_job_of_a_worker_that_takes_no_more_counts_in_its_queue(stage, monkeypatch):
    monkeypatch.setattr("offloading.jobs.dispatcher.JOBS_A_WORKER", 1)
    configuration.put(QueueSettings("narrow", (TOPIC,), max_parallel=1), by="ann")
    first = stage.slot("1-a")
    running = stage.add()
    stage.slot("2-a")
    waiting = stage.add()
    assert (state(running)[0], state(waiting)[0]) == (JobState.ACTIVE, JobState.QUEUED)
    first.end(*first.take())
    stage.turns()
    assert (state(running)[0], state(waiting)[0]) == (JobState.SUCCEEDED, JobState.ACTIVE)


def test_worker_killed_for_a_job_that_has_just_ended_gives_back_the_next_at_once(stage, settings):
    settings.OFFLOADING_JOB_STOP_SECONDS = 0
    with subprocess.Popen(["sleep", "60"]) as process:
        slot = stage.slot()
        run_short_ones(stage, slot)
        slot_of(stage).pid = process.pid
        first, second = (manager.get_job(job_id) for job_id in manager.add_jobs([JobRequest(TOPIC)] * 2))
        stage.dispatcher.wake()
        stage.turns()
        given, _next = slot.take()
        stage.turns()
        manager.stop_job(first.id, by="ann")
        stage.dispatcher._wake_for_stops()
        stage.turns()
        assert process.wait(10) == -signal.SIGKILL
    slot.end(given)
    slot.worker.close()
    stage.turns()
    assert (state(first), state(second)) == ((JobState.SUCCEEDED, 1, 0), (JobState.QUEUED, 2, 0))


def test_job_that_was_asked_to_stop_is_not_put_back_among_the_waiting_ones(stage):
    slot = stage.slot()
    run_short_ones(stage, slot)
    first, second = (manager.get_job(job_id) for job_id in manager.add_jobs([JobRequest(TOPIC)] * 2))
    stage.dispatcher.wake()
    stage.turns()
    given = slot.take()
    stage.dispatcher._next_stop_look = time.monotonic() + 60
    manager.stop_job(second.id, by="ann")
    slot.worker.send({"recalled": [given[1]["number"]]})
    stage.turns()
    assert (state(first)[0], state(second)[0]) == (JobState.ACTIVE, JobState.STOPPED)


def test_job_that_waits_in_a_slot_and_starts_after_all_is_told_to_stop(stage):
    slot = stage.slot()
    run_short_ones(stage, slot)
    manager.add_jobs([JobRequest(TOPIC)] * 2)
    stage.dispatcher.wake()
    stage.turns()
    given = slot.take()
    manager.stop_job(given[1]["id"], by="ann")
    stage.dispatcher._wake_for_stops()
    stage.turns()
    assert {"stop": given[1]["number"]} in slot.worker.receive()


@pytest.fixture
def refusing():
    """Have whoever listens to job news fail for the jobs of one topic."""
    refused = set()

    def hear(changes, **_):
        if any((change.topic, change.previous) in refused for change in changes):
            raise RuntimeError("a listener's mistake")

    signals.jobs_changed.connect(hear, weak=False)
    yield refused
    signals.jobs_changed.disconnect(hear)


@pytest.mark.parametrize("death", [False, True])
def test_ending_that_nothing_can_be_written_of_keeps_nobody_from_it(stage, refusing, caplog, death):
    slots = [stage.slot(f"{number}-a") for number in range(2)]
    bad, good = stage.add(), stage.add()
    by_id = {given["id"]: (slot, given) for slot in slots for given in slot.take()}
    Job.objects.filter(id=bad.id).update(topic="test/dispatcher/bad")
    refusing.add(("test/dispatcher/bad", JobState.ACTIVE))
    slot, given = by_id[bad.id.hex]
    if death:
        stage.turns()
        slot.worker.close()
    else:
        slot.end(given)
    stage.turns()
    slot, given = by_id[good.id.hex]
    slot.end(given)
    stage.turns(30)
    assert (state(bad)[0], state(good)[0]) == (JobState.ACTIVE, JobState.SUCCEEDED)
    assert len(caplog.records) < 20
    refusing.clear()
    stage.dispatcher._next_reconciliation = 0
    stage.turns()
    assert state(bad)[0] != JobState.ACTIVE


def test_queue_from_which_nothing_can_be_claimed_keeps_nobody_else(stage, refusing, caplog):
    configuration.put(QueueSettings("a bad one", ("test/bad",)), by="ann")
    bad = manager.add_job("test/bad")
    Job.objects.filter(id=bad.id).update(target=identity.sling_id())
    refusing.add(("test/bad", JobState.QUEUED))
    with consumers.register_temporarily(type("Bad", (Consumer,), {"topics": ("test/bad",)})):
        stage.slot()
        assert [state(stage.add())[0], state(bad)[0]] == [JobState.ACTIVE, JobState.QUEUED]
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1


def test_worker_that_does_not_read_holds_up_no_dispatcher(stage):
    slot = stage.slot()
    run_short_ones(stage, slot)
    # What counts is how long they are on the line, where quotes are escaped twice and other letters six bytes.
    manager.add_jobs([JobRequest(TOPIC, {"text": letter * 7_500}) for letter in '語"' for _ in range(20)])
    rescue = threading.Timer(5, slot.worker.receive)
    rescue.start()
    stage.dispatcher.wake()
    started = time.monotonic()
    stage.turns()
    rescue.cancel()
    assert time.monotonic() - started < 4
    assert Job.objects.filter(state=JobState.ACTIVE).count() > 1


def test_long_jobs_are_not_claimed_only_to_be_put_back(stage, monkeypatch):
    monkeypatch.setattr(hand, "STALLED_SECONDS", 1000)  # or a slow machine would have them called back
    slot = stage.slot()
    manager.add_jobs([JobRequest(TOPIC, {"text": "x" * 20_000})] * 30)
    stage.dispatcher.wake()
    stage.turns()
    for _ in range(8):
        for job in slot.take():
            slot.end(job)
        stage.turns()
    assert set(Job.objects.filter(state=JobState.QUEUED).values_list("fence", flat=True)) == {0}


def is_sent_something(slot):
    return bool(select.select([slot.worker.connection], [], [], 0)[0])


def test_retry_of_a_job_that_failed_at_once_is_not_late(stage):
    slot = stage.slot()
    stage.add()
    for _ in range(3):
        slot.end(*slot.take(), kind="failed", delay=0.1)
        started = time.monotonic()
        while not is_sent_something(slot):
            stage.dispatcher.turn(0.01)
            assert time.monotonic() - started < 0.8


def test_delayed_job_without_a_slot_keeps_nobody_busy(stage):
    manager.add_job(TOPIC, delay_seconds=0.001)
    stage.dispatcher.wake()
    until, turns = time.monotonic() + 0.5, 0
    while time.monotonic() < until:
        stage.dispatcher.turn(0.5)
        turns += 1
    assert turns < 80
