"""The dispatcher and slots that are played by the test: real sockets and real claims, turn by turn, in one thread."""

import pytest
from django_q.signing import SignedPackage

from offloading.jobs import consumers, link, manager
from offloading.jobs.broker import DispatcherBroker
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.jobs.dispatcher import Dispatcher
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

    def take(self):
        """Return the job that the slot is given, as its worker would name it."""
        (message,) = self.pusher.receive()
        task = SignedPackage.loads(message["task"])
        return {"job": task["args"][0], "fence": task["args"][1]}


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
    key = slot.take()
    assert key == {"job": str(first.id), "fence": 1}
    assert (state(first), state(second)) == ((JobState.ACTIVE, 1, 0), (JobState.QUEUED, 0, 0))
    slot.worker.send({"started": key})
    slot.worker.send({"done": key})
    stage.turns()
    assert slot.take()["job"] == str(second.id)


def test_slot_without_its_worker_is_given_nothing(stage):
    stage.connect(link.PUSHER, "1-a")
    job = stage.add()
    assert state(job) == (JobState.QUEUED, 0, 0)
    slot = stage.slot("2-a")
    assert slot.take()["job"] == str(job.id)


def test_death_before_the_start_gives_the_job_back_uncounted(stage):
    slot = stage.slot()
    job = stage.add()
    slot.pusher.close()
    stage.turns()
    assert state(job) == (JobState.QUEUED, 2, 0)


def test_death_after_the_start_is_a_crash_and_the_rest_of_the_slot_is_told_to_go(stage):
    slot = stage.slot()
    job = stage.add()
    slot.worker.send({"started": slot.take()})
    stage.turns()
    slot.worker.close()
    stage.turns()
    assert state(job) == (JobState.QUEUED, 2, 1)
    assert slot.pusher.receive() is None


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
    first.worker.send({"started": first.take()})
    stage.turns()
    first.worker.close()
    stage.turns()
    assert stage.slot("1-b").take() == {"job": str(job.id), "fence": 3}


def test_stop_claims_nothing_more_and_gives_back_what_does_not_end(stage):
    slot = stage.slot()
    running, waiting = stage.add(), stage.add()
    slot.worker.send({"started": slot.take()})
    stage.turns()
    stage.dispatcher.drain()
    assert (state(running), state(waiting)) == ((JobState.QUEUED, 2, 0), (JobState.QUEUED, 0, 0))


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
    assert state(job) == (JobState.QUEUED, 0, 0)


def test_nothing_but_the_dispatcher_fills_django_q2s_queue():
    with pytest.raises(NotImplementedError, match="add_job"):
        DispatcherBroker().enqueue("a task")
