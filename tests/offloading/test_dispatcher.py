"""The dispatcher and slots that are played by the test: real sockets, real claims, no processes."""

import threading
from collections.abc import Callable

import pytest
from django_q.signing import SignedPackage

from offloading.jobs import consumers, link, manager
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.jobs.dispatcher import Dispatcher
from offloading.models import Job, JobState
from tests.journeys.world import eventually
from tests.offloading.topologies import establish
from topology import identity

pytestmark = pytest.mark.django_db(transaction=True)
TOPIC = "test/dispatcher"


class Consumer(JobConsumer):
    topics = (TOPIC,)

    def process(self, job):
        return JobResult.OK


class PlayedSlot:
    """What a slot shows the dispatcher: the lines of its pusher and its worker."""

    def __init__(self, name: str = "1-a") -> None:
        self.pusher = link.connect(identity.sling_id(), role=link.PUSHER, slot=name)
        self.worker = link.connect(identity.sling_id(), role=link.WORKER, slot=name)
        self.pusher.connection.settimeout(10)

    def take(self) -> dict[str, object]:
        """Return the job that the slot is given, as its worker would name it."""
        (message,) = self.pusher.receive()
        task = SignedPackage.loads(message["task"])
        return {"job": task["args"][0], "fence": task["args"][1]}

    def die(self) -> None:
        self.pusher.close()
        self.worker.close()


@pytest.fixture
def local(settings):
    settings.OFFLOADING_STOP_SECONDS = 1
    return establish(topics=TOPIC)


@pytest.fixture
def dispatcher(local):
    stop = threading.Event()
    dispatcher = Dispatcher("the run")
    thread = threading.Thread(target=dispatcher.run, args=(stop,))

    def end() -> None:
        stop.set()
        dispatcher.wake()
        thread.join(10)

    with consumers.register_temporarily(Consumer):
        thread.start()
        dispatcher.end = end
        yield dispatcher
        end()
        dispatcher.close()


def add(dispatcher) -> Job:
    job = manager.add_job(TOPIC)
    dispatcher.wake()
    return job


def state(job: Job) -> Callable[[], tuple[str, int, int]]:
    return lambda: Job.objects.values_list("state", "fence", "crash_count").get(id=job.id)


def becomes(job: Job, *wanted: object) -> None:
    eventually(lambda: state(job)() == wanted, f"{state(job)()} becomes {wanted}", seconds=5)


def test_idle_slot_is_given_a_job_and_the_next_when_that_is_done(dispatcher):
    slot = PlayedSlot()
    first, second = add(dispatcher), add(dispatcher)
    key = slot.take()
    assert key == {"job": str(first.id), "fence": 1}
    assert state(first)() == (JobState.ACTIVE, 1, 0)
    assert state(second)()[0] == JobState.QUEUED
    slot.worker.send({"started": key})
    slot.worker.send({"done": key})
    assert slot.take()["job"] == str(second.id)
    slot.die()


def test_slot_without_its_worker_is_given_nothing(dispatcher):
    line = link.connect(identity.sling_id(), role=link.PUSHER, slot="1-a")
    job = add(dispatcher)
    slot = PlayedSlot("2-a")
    assert slot.take()["job"] == str(job.id)
    line.close()
    slot.die()


def test_death_before_the_start_gives_the_job_back_uncounted(dispatcher):
    slot = PlayedSlot()
    job = add(dispatcher)
    slot.take()
    slot.pusher.close()
    becomes(job, JobState.QUEUED, 2, 0)
    slot.die()


def test_death_after_the_start_is_a_crash(dispatcher):
    slot = PlayedSlot()
    job = add(dispatcher)
    slot.worker.send({"started": slot.take()})
    slot.worker.close()
    becomes(job, JobState.QUEUED, 2, 1)
    # The rest of the slot is told to go.
    assert slot.pusher.receive() is None
    slot.die()


def test_job_that_came_back_goes_to_the_next_slot(dispatcher):
    first = PlayedSlot("1-a")
    job = add(dispatcher)
    first.worker.send({"started": first.take()})
    first.die()
    second = PlayedSlot("1-b")
    assert second.take() == {"job": str(job.id), "fence": 3}
    second.die()


def test_stop_claims_nothing_more_and_gives_back_what_does_not_end(dispatcher):
    slot = PlayedSlot()
    job = add(dispatcher)
    slot.worker.send({"started": slot.take()})
    waiting = add(dispatcher)
    dispatcher.end()
    assert state(job)() == (JobState.QUEUED, 2, 0)
    assert state(waiting)() == (JobState.QUEUED, 0, 0)
    slot.die()


def test_job_that_the_run_holds_without_knowing_is_given_back(local):
    job = manager.add_job(TOPIC)
    Job.objects.filter(id=job.id).update(state=JobState.ACTIVE, claimed_by="the run", fence=1)
    stop, dispatcher = threading.Event(), Dispatcher("the run")
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    dispatcher.wake()
    becomes(job, JobState.QUEUED, 2, 0)
    stop.set()
    dispatcher.wake()
    thread.join(10)
    dispatcher.close()


def test_job_whose_topic_was_switched_off_meanwhile_is_moved_away(dispatcher, local):
    job = manager.add_job("test/nobody")
    Job.objects.filter(id=job.id).update(target=local)
    slot = PlayedSlot()
    dispatcher.wake()
    eventually(lambda: Job.objects.get(id=job.id).target == "", "the job lost its target", seconds=5)
    assert state(job)() == (JobState.QUEUED, 0, 0)
    slot.die()
