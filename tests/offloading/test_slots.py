"""What a worker does with what the dispatcher sends, over a real pair of sockets."""

import contextlib
import socket
import threading
import time

import pytest

from offloading.jobs import consumers, ids, link, slots
from offloading.jobs.consumers import JobConsumer, JobResult

TOPIC = "test/slots"


class Worker:
    """A shift in a thread, and the dispatcher's end of its line."""

    def __init__(self):
        end, other = socket.socketpair()
        self.line, self._messages = link.Line(end), []
        end.settimeout(5)
        threading.Thread(target=slots.Shift(link.Line(other)).run, daemon=True).start()
        assert self.hear() == {"ready": True}

    def send(self, *numbers):
        common = {"fence": 1, "topic": TOPIC, "properties": "{}", "origin": "", "retries": 0, "limit": 0}
        jobs = [{"number": number, "id": ids.uuid7().hex} | common for number in numbers]
        self.line.send({"run": jobs})
        assert self.hear() == {"heard": True}

    def hear(self):
        while not self._messages:
            self._messages += self.line.receive()
        return self._messages.pop(0)


@contextlib.contextmanager
def worker(process):
    cls = type("Consumer", (JobConsumer,), {"topics": (TOPIC,), "process": lambda self, job: process(job)})
    with consumers.register_temporarily(cls):
        worker = Worker()
        yield worker
        worker.line.close()


@pytest.fixture
def gate():
    """Keep jobs from ending until it is set."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_jobs_that_wait_behind_a_long_one_are_given_back_while_it_runs(gate):
    def process(job):
        gate.wait(5)
        return JobResult.OK

    with worker(process) as played:
        played.send(1, 2, 3)
        played.line.send({"recall": True})
        assert played.hear() == {"recalled": [2, 3]}
        gate.set()
        assert played.hear()["done"] == 1


def test_stop_is_heard_by_every_thread_of_a_consumer_and_no_job_gets_lost(gate):
    def process(job):
        def look():
            while not gate.is_set():
                assert not job.is_stopped

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return JobResult.OK

    with worker(process) as played:
        played.send(1)
        sent = range(2, 200)
        for number in sent:
            played.line.send({"run": [{"number": number}]})
        for _ in sent:
            assert played.hear() == {"heard": True}
        played.line.send({"recall": True})
        assert played.hear() == {"recalled": list(sent)}
        gate.set()
        assert played.hear()["done"] == 1


def test_stop_of_the_running_job_is_heard():
    def process(job):
        while not job.is_stopped:
            time.sleep(0.001)
        return JobResult.CANCEL

    with worker(process) as played:
        played.send(7)
        played.line.send({"stop": 7})
        ending = played.hear()
        assert (ending["done"], ending["kind"]) == (7, "cancelled")
