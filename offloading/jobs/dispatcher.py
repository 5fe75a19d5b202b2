"""The agent's thread that feeds this instance's slots: it hears them, and has `Feeder` write and claim.

It knows of each slot what the two connections tell. A slot is given jobs only while both are there and its worker has
said that it is ready, so that what is claimed starts at once. While a transaction is under way the next endings gather,
so that under load many share one. A worker's connection that ends in the middle of a job is a crash of that job alone;
what was waiting behind it is put back. Jobs that this run holds in the database but not here are given back: nobody
else would, while it is alive.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import partial

from django.conf import settings
from django.db import connections
from django_q.tasks import async_task

from offloading.jobs import claims, link, messages, slots
from offloading.jobs.broker import SlotBroker
from offloading.jobs.claims import Claim, Holder
from offloading.jobs.feeder import Feeder
from offloading.jobs.hand import STALLED_SECONDS, Given, Hand
from offloading.jobs.outcomes import Ending, Kind
from topology import identity, wakeup
from topology.loops import Outage

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RECONCILE_SECONDS = 30.0
# A worker is replaced after so many jobs, between two of them: what leaks in a consumer's libraries does not pile up.
JOBS_A_WORKER = 50_000
# Between two transactions when there is more to write: so short that nobody waits, and no loop that fails runs hot.
_BREATH_SECONDS = 0.001
_NOT_RUN = "The instance could not run the job to its end: it was stopping, or the worker was gone."


@dataclass
class Slot:
    """What is known of one slot."""

    pusher: link.Line | None = None
    worker: link.Line | None = None
    pid: int = 0
    is_ready: bool = False
    # Its worker has read the jobs in its hand: it has begun the first.
    has_begun: bool = False
    hand: Hand = field(default_factory=Hand)
    count: int = 0
    # How the running job ends if its worker is killed on purpose; None = its death is a crash.
    verdict: Ending | None = None

    @property
    def takes_jobs(self) -> bool:
        return self.is_ready and self.verdict is None and self.count < JOBS_A_WORKER


class Dispatcher:
    """Serves the slots of one run of this instance: `run` is the thread. Only `wake` is for others."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._sling_id = identity.sling_id()
        self._feeder = Feeder(Holder(run_id, self._sling_id, identity.label()))
        self._slots: dict[str, Slot] = {}
        self._outage = Outage("dispatcher")
        self._selector = selectors.DefaultSelector()
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._next_look = self._next_reconciliation = self._next_stop_look = 0.0
        self._echo_at = float("inf")
        self._is_draining = False

    def wake(self) -> None:
        """Look for jobs now. May be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # so many are waiting already that one more says nothing new
            self._mouth.send(b"!")

    def _wake_for_stops(self) -> None:
        self._next_stop_look = 0.0
        self.wake()

    def _wake_for_switches(self) -> None:
        self._feeder.forget()
        self.wake()

    def run(self, stop: threading.Event) -> None:
        """Feed the slots until `stop` is set; then claim nothing more, and give what runs a bounded time to end."""
        self.open()
        try:
            while not stop.is_set():
                self.turn()
            self.drain()
        finally:
            connections.close_all()

    def open(self) -> None:
        """Begin to listen to slots and wake-ups."""
        self._selector.register(self._ear, selectors.EVENT_READ, self._hear_wakeup)
        self._listener = link.listen(self._sling_id)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._forget = [
            wakeup.on("jobs", self.wake),
            wakeup.on("queues", self.wake),
            wakeup.on("properties", self._wake_for_switches),
            wakeup.on("stops", self._wake_for_stops),
        ]

    def close(self) -> None:
        """Let go of the slots: each of them ends then. An agent that ends itself has no need of it."""
        for forget in self._forget:
            forget()
        for key in list(self._slots):
            self._end_slot(key)
        self._selector.close()
        for connection in (self._listener, self._ear, self._mouth):
            connection.close()

    # --- Working ------------------------------------------------------------------------------------------------

    def turn(self, longest_seconds: float = POLL_SECONDS) -> None:
        """Write what is unwritten, fill what has room, then sleep until something happens, or it is time to look."""
        now = time.monotonic()
        if self._feeder.has_news or now >= min(self._next_look, self._echo_at):
            self._next_look = now + POLL_SECONDS
            if now >= self._echo_at:
                self._echo_at = float("inf")
            self._outage.attempt(self._exchange)
        if self._busy() and now >= self._next_stop_look:
            self._next_stop_look = now + POLL_SECONDS
            self._outage.attempt(self._ask_to_stop)
        if not self._feeder.has_news and now >= self._next_reconciliation:
            self._next_reconciliation = now + RECONCILE_SECONDS
            self._outage.attempt(self._reconcile)
        # What was said during the transaction first: a job that has ended long ago does not take long.
        self._listen(0)
        self._watch()
        self._listen(min(self._rest(), longest_seconds))

    def _exchange(self) -> None:
        takers = {} if self._is_draining else {key: slot.hand for key, slot in self._slots.items() if slot.takes_jobs}
        fed = self._feeder.exchange(takers, [slot.hand for key, slot in self._slots.items() if key not in takers])
        by_slot: dict[str, list[Given]] = {}
        for key, given in fed:
            by_slot.setdefault(key, []).append(given)
        for key, jobs in by_slot.items():
            self._give(key, jobs)
        self._feeder.look_ahead()
        self._next_look = min(self._next_look, self._feeder.next_due)
        if len(fed) >= sum(slot.takes_jobs for slot in self._slots.values()) > 0:
            self._look()  # every slot has something; there may be more, for those that are short

    def _give(self, key: str, jobs: list[Given]) -> None:
        slot = self._slots.get(key)
        if slot is None or slot.worker is None:  # its end was noticed while the transaction was under way
            for given in jobs:
                self._feeder.never_begun(given.claim)
            return
        now = time.monotonic()
        slot.has_begun = slot.has_begun and bool(slot.hand)
        for given in jobs:
            slot.hand.take(given, now)
        slot.count += len(jobs)
        sent = [messages.from_claim(each.number, each.claim, each.limit_seconds) for each in jobs]
        try:
            slot.worker.send({"run": sent})
        except OSError:
            self._end_slot(key)

    def _ask_to_stop(self) -> None:
        """Tell the workers which jobs people asked to stop, and which were taken from this run: they only cost time."""
        going_on = claims.going_on(self._run_id)
        for slot in self._busy():
            for given in slot.hand.given:
                if (given.claim.job_id, given.claim.fence) not in going_on and given.stops_at is None:
                    given.stops_at = time.monotonic() + settings.OFFLOADING_JOB_STOP_SECONDS
                    # It may begin before it hears that it is called back.
                    self._tell(slot, {"stop": given.number})
                    if given is not slot.hand.head:
                        self._tell(slot, {"recall": True})

    def _reconcile(self) -> None:
        """Give back what this run holds without knowing it: claimed, and then an error kept it from a slot."""
        known = {(each.claim.job_id, each.claim.fence) for slot in self._busy() for each in slot.hand.given}
        for claim in claims.held_by(self._run_id):
            if (claim.job_id, claim.fence) not in known:
                logger.warning("job held by nobody", extra={"job": claim.job_id, "fence": claim.fence})
                self._feeder.given_back(claim, _NOT_RUN)

    def _watch(self) -> None:
        """Call back what waits behind a job that takes long, and kill workers whose job does not end when it should."""
        now = time.monotonic()
        for slot in self._busy():
            head = slot.hand.head
            if head is None:
                continue
            if slot.hand.is_stalled(now):
                slot.hand.is_called_back = True
                self._feeder.takes_long(head, now - head.began_at)
                self._tell(slot, {"recall": True})
            if slot.verdict is None and (ending := _verdict(head, now)) is not None:
                slot.verdict = ending
                logger.warning("worker killed", extra={"job": head.claim.job_id, "why": ending.kind.value})
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, signal.SIGKILL)

    def _tell(self, slot: Slot, message: link.Message) -> None:
        if slot.worker is not None:
            with contextlib.suppress(OSError):  # its end will be heard
                slot.worker.send(message)

    def _rest(self) -> float:
        """Return how long nothing needs to be done."""
        now = time.monotonic()
        times = [self._next_look, self._echo_at]
        if self._feeder.has_news and not self._outage.is_out:
            times.append(now + _BREATH_SECONDS)
        for slot in self._busy():
            head = slot.hand.head
            if head is None:
                continue
            if len(slot.hand.given) > 1 and not slot.hand.is_called_back:
                times.append(head.began_at + STALLED_SECONDS)
            if slot.verdict is None:
                times += [at for at in (head.ends_at, head.stops_at) if at is not None]
        return max(min(times) - now, 0.0)

    def _look(self) -> None:
        self._next_look = 0.0

    def _busy(self) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.hand]

    # --- Hearing ------------------------------------------------------------------------------------------------

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            # Another event of the same round may have closed it, and its number may stand for something new.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        line = link.Line(connection)
        self._selector.register(connection, selectors.EVENT_READ, partial(self._hear, line, ""))

    def _hear_wakeup(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(65536)
        self._look()
        self._echo_at = time.monotonic() + wakeup.ECHO_SECONDS

    def _hear(self, line: link.Line, key: str) -> None:
        heard = line.receive()
        if heard is None:
            self._forget_line(line)
            self._end_slot(key)
            return
        for message in heard:
            key = self._obey(line, key, message)

    def _obey(self, line: link.Line, key: str, message: link.Message) -> str:
        """Take in one message of a slot; return the slot's name."""
        if "hello" in message:
            key = str(message["slot"])
            self._enter(line, key, message)
        slot = self._slots.get(key)
        if slot is None:
            return key
        if "done" in message:
            self._end_job(key, slot, message)
        elif "recalled" in message:
            self._take_back(slot, message["recalled"])
        elif "heard" in message:
            slot.has_begun = True
        elif "ready" in message:
            slot.is_ready = True
            self._look()
        return key

    def _enter(self, line: link.Line, key: str, hello: link.Message) -> None:
        slot = self._slots.setdefault(key, Slot())
        if hello["hello"] == link.PUSHER:
            slot.pusher = line
        else:
            slot.worker, slot.pid = line, int(hello["pid"])
        self._selector.modify(line.connection, selectors.EVENT_READ, partial(self._hear, line, key))
        logger.debug("slot connected", extra={"slot": key, "role": hello["hello"], "pid": hello["pid"]})
        if slot.pusher is not None and slot.worker is not None:
            with contextlib.suppress(OSError):  # its end will be heard
                async_task(slots.SHIFT, broker=SlotBroker(slot.pusher))

    def _end_job(self, key: str, slot: Slot, message: link.Message) -> None:
        given = slot.hand.end(message["done"], time.monotonic())
        if given is None:
            return
        self._feeder.ended(given, messages.ending(message, given.claim))
        if not slot.hand:
            self._look()
            if slot.count >= JOBS_A_WORKER:
                self._end_slot(key)

    def _take_back(self, slot: Slot, numbers: list[int]) -> None:
        """Put back what a worker has not begun; what was asked to stop ends so."""
        for number in numbers:
            given = slot.hand.end(number, time.monotonic())
            if given is not None:
                self._put_back(given)
        slot.hand.is_called_back = False

    def _put_back(self, given: Given) -> None:
        if given.stops_at is None:
            self._feeder.never_begun(given.claim)
        else:
            self._feeder.given_back(given.claim, _NOT_RUN)

    def _end_slot(self, key: str) -> None:
        """Take in that one of the slot's processes is gone: all will be. Closing its lines makes that quick."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        for line in (slot.pusher, slot.worker):
            if line is not None:
                self._forget_line(line)
        for number, given in enumerate(slot.hand.given):
            if number > 0 or not slot.has_begun:
                self._put_back(given)
            elif slot.verdict is not None and slot.verdict.job_id == given.claim.job_id:
                self._feeder.ended(given, slot.verdict)
            elif slot.verdict is not None:  # the one that it was killed for had just ended
                self._feeder.given_back(given.claim, _NOT_RUN)
            else:
                self._feeder.crashed(given.claim)

    def _forget_line(self, line: link.Line) -> None:
        with contextlib.suppress(KeyError, ValueError):  # closed before, with its slot
            self._selector.unregister(line.connection)
        line.close()

    # --- Ending -------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Wait for running jobs, as long as the settings say; then give the rest back with their fences raised."""
        self._is_draining = True
        deadline = time.monotonic() + settings.OFFLOADING_STOP_SECONDS
        for slot in self._busy():
            self._tell(slot, {"recall": True})
        while self._busy() and (left := deadline - time.monotonic()) > 0:
            self._outage.attempt(self._exchange)
            self._listen(min(left, POLL_SECONDS))
        for key, slot in list(self._slots.items()):
            for given in slot.hand.given:
                self._feeder.given_back(given.claim, _NOT_RUN)
            slot.hand = Hand()
            self._end_slot(key)
        self._outage.attempt(self._feeder.write)


def _verdict(head: Given, now: float) -> Ending | None:
    """Say how the running job ends if it has to be killed now; None if it may go on."""
    claim: Claim = head.claim
    if head.stops_at is not None and now >= head.stops_at:
        return Ending(claim.job_id, claim.fence, Kind.STOPPED, "It did not end by itself, so its worker was ended.")
    if head.ends_at is not None and now >= head.ends_at:
        message = f"It ran longer than its time limit of {head.limit_seconds:g} s, and its worker was ended."
        seconds = now - head.began_at
        return Ending(claim.job_id, claim.fence, Kind.TIMED_OUT, message, seconds=seconds)
    return None
