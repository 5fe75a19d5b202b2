"""The worker slots of an instance: each one a django-q2 cluster with one worker, all forked from one parent.

django-q2 replaces its processes one by one, but an idle worker that dies may hold the lock of a queue that the others
share, and then nothing runs ever again. So a slot lives and dies as a whole: the first of its processes that ends takes
the others with it, and the parent makes a new slot, with new queues. Other slots do not notice.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import deque
from multiprocessing import connection
from typing import Any, NoReturn

from django import db
from django_q import cluster
from django_q import signals as q2_signals
from django_q.monitor import monitor
from django_q.pusher import pusher

from offloading.jobs import execution, link, messages, processes
from offloading.jobs.backoff import Backoff
from offloading.jobs.broker import DispatcherBroker
from topology import identity

logger = logging.getLogger(__name__)

# What the dispatcher gives to django-q2 as the function to call.
SHIFT = "offloading.jobs.slots.shift"
# How long a worker in the middle of a job may not have listened.
_LISTEN_SECONDS = 0.05

# A slot's processes share the loaded project, and what `_worker_started` is told: neither works with another method.
_fork = multiprocessing.get_context("fork")
_line: link.Line | None = None


class Slot(cluster.Sentinel):  # type: ignore[misc]  # django-q2 has no types
    """django-q2's sentinel of one worker, which ends with the first of its processes."""

    def __init__(self, number: int, slot: str) -> None:
        self.number = number
        broker = DispatcherBroker()
        broker.slot = slot
        q2_signals.post_spawn.connect(self._worker_started, weak=False)
        super().__init__(_fork.Event(), _fork.Event(), uuid.uuid4(), broker)

    def guard(self) -> None:
        """Wait for a death, without looking at a clock: time limits are not django-q2's affair here."""
        connection.wait([process.sentinel for process in (*self.pool, self.monitor, self.pusher)])

    def spawn_pusher(self) -> multiprocessing.Process:
        return self.spawn_process(_named, f"pusher {self.number}", pusher, self.task_queue, self.event_out, self.broker)  # type: ignore[no-any-return]

    def spawn_monitor(self) -> multiprocessing.Process:
        return self.spawn_process(_named, f"monitor {self.number}", monitor, self.result_queue, self.broker)  # type: ignore[no-any-return]

    def _worker_started(self, **kwargs: object) -> None:
        """In the worker's process: open its line before the task, so that its death is known at once."""
        global _line
        processes.name(f"worker {self.number}")
        _line = link.connect(identity.sling_id(), role=link.WORKER, slot=self.broker.slot)


def shift() -> None:
    """Work off what the dispatcher sends, in the worker's process, until the process is ended: django-q2's one task.

    If something goes wrong that no ending can tell, the process ends: for the dispatcher that is a crash, which is
    counted and shown, where silence would leave the job running for ever.
    """
    if _line is None:
        raise RuntimeError("Jobs run in the worker of a slot. In a test, use offloading.jobs.testing.")
    try:
        Shift(_line).run()
    except Exception:
        logger.exception("worker cannot go on")
    logging.shutdown()
    os._exit(1)


class Shift:
    """What a worker has in hand: the jobs that it was sent and has not begun, and the one that it runs.

    Between two jobs it listens itself. While one runs that takes long, a second thread listens for it: whoever calls
    jobs back, or stops one, need not wait for its end.
    """

    def __init__(self, line: link.Line) -> None:
        self._line = line
        self._waiting: deque[link.Message] = deque()
        # 0 between two jobs; then the main thread listens.
        self._current = 0
        self._stops: set[int] = set()
        # Held by the other thread while it listens, and never begins to while nothing runs.
        self._ear = threading.Lock()
        self._is_at_work = threading.Event()

    def run(self) -> None:
        """Run one job after the other; return when the dispatcher is gone."""
        threading.Thread(target=self._listen_meanwhile, name="ear", daemon=True).start()
        self._line.send({"ready": True})
        while self._hear(waits=not self._waiting):
            if self._waiting:
                self._line.send(self._work(self._waiting.popleft()))

    def _work(self, message: link.Message) -> link.Message:
        number = message["number"]
        with self._ear:
            self._current = number
        if not self._is_at_work.is_set():
            self._is_at_work.set()
        ending = execution.attempt(
            messages.claim(message), time_limit_seconds=message["limit"], hears_stop=lambda: number in self._stops
        )
        with self._ear:
            self._current = 0
            self._stops.discard(number)
        return messages.from_ending(number, ending)

    def _hear(self, *, waits: bool) -> bool:
        """Take in what the dispatcher says; False when it is gone."""
        if waits:
            self._is_at_work.clear()
        heard = self._line.receive(waits=waits)
        for message in heard or ():
            if "run" in message:
                # Before the first is begun: if this process ends now, it is that one that ended it.
                self._line.send({"heard": True})
                self._waiting.extend(message["run"])
            elif "recall" in message:
                self._give_back()
            elif "stop" in message:
                self._stops.add(message["stop"])
        return heard is not None

    def _give_back(self) -> None:
        """Tell which jobs were not begun, and forget them."""
        numbers = [message["number"] for message in self._waiting]
        self._waiting.clear()
        self._stops.difference_update(numbers)
        self._line.send({"recalled": numbers})

    def _listen_meanwhile(self) -> None:
        with contextlib.suppress(OSError):  # the dispatcher is gone, which the main thread notices
            while True:
                self._is_at_work.wait()
                time.sleep(_LISTEN_SECONDS)
                with self._ear:
                    if self._current:
                        self._hear(waits=False)


class Slots:
    """The parent's picture of its slots: starts each anew when it has ended, after a pause if that happens often.

    SIGTERM says that the instance is stopping: the slots end with the agent then, and are needed no more.
    """

    def __init__(self, count: int) -> None:
        self._slots: dict[int, multiprocessing.process.BaseProcess] = {}
        self._backoffs = {number: Backoff() for number in range(1, count + 1)}
        self._due = dict.fromkeys(self._backoffs, 0.0)
        self._is_ending = False

    def run(self) -> NoReturn:
        """Keep the slots going until this process is ended; they end with it."""
        db.connections.close_all()
        signal.signal(signal.SIGTERM, self._end)
        while True:
            self._start_due()
            waits = [due - time.monotonic() for due in self._due.values()]
            ended = connection.wait(
                [slot.sentinel for slot in self._slots.values()], timeout=max(min(waits), 0) if waits else None
            )
            self._collect({int(sentinel) for sentinel in ended if isinstance(sentinel, int)})

    def _end(self, *_: object) -> None:
        self._is_ending = True

    def _start_due(self) -> None:
        for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
            del self._due[number]
            self._backoffs[number].started()
            self._slots[number] = _fork.Process(target=_run_slot, args=(number,))
            self._slots[number].start()

    def _collect(self, sentinels: set[int]) -> None:
        for number, slot in list(self._slots.items()):
            if slot.sentinel in sentinels:
                slot.join()
                del self._slots[number]
                if self._is_ending:
                    continue
                self._due[number] = time.monotonic() + self._backoffs[number].pause()
                logger.warning("slot ended, starting it anew", extra={"slot": number, "exit": slot.exitcode})


def _run_slot(number: int) -> None:
    """Be one slot until any of its processes ends. Those that are left end with this one."""
    processes.name(f"slot {number}")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(KeyboardInterrupt):
        Slot(number, f"{number}-{uuid.uuid4().hex[:8]}")
    os._exit(1)


def _named(name: str, target: Any, *arguments: Any) -> None:
    processes.name(name)
    target(*arguments)
