"""The agent's thread that feeds this instance's slots: claims a job when a slot is free, and hears how it ends.

It knows of each slot what the two connections tell. A slot is given a job only while both are there and it has none, so
that what is claimed starts at once. A worker's connection that ends in the middle of a job is a crash of that job; one
that ends before the job began gives it back uncounted. What cannot be written because the database is away is written
later, and jobs that this run holds in the database but not here are given back: nobody else would, while it is alive.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import connections
from django_q.tasks import async_task

from offloading import capabilities, exceptions
from offloading.jobs import claims, link, outcomes, placement, recovery, slots
from offloading.jobs.broker import SlotBroker
from offloading.jobs.claims import Claim
from topology import identity, wakeup
from topology.loops import Outage

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RECONCILE_SECONDS = 30.0


@dataclass
class Slot:
    """What is known of one slot. `claim` is the job it was given, `has_started` whether its worker took it up."""

    pusher: link.Line | None = None
    worker: link.Line | None = None
    claim: Claim | None = None
    has_started: bool = False

    @property
    def is_idle(self) -> bool:
        return self.pusher is not None and self.worker is not None and self.claim is None


class Dispatcher:
    """Serves the slots of one run of this instance: `run` is the thread. Only `wake` is for others."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._sling_id = identity.sling_id()
        self._slots: dict[str, Slot] = {}
        self._unwritten: list[Callable[[], object]] = []
        self._outage = Outage("dispatcher")
        self._selector = selectors.DefaultSelector()
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._next_look = self._next_reconciliation = 0.0

    def wake(self) -> None:
        """Look for jobs now. May be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # so many are waiting already that one more says nothing new
            self._mouth.send(b"!")

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
        self._forget = wakeup.on("jobs", self.wake)

    def close(self) -> None:
        """Let go of the slots: each of them ends then. An agent that ends itself has no need of it."""
        self._forget()
        for key in list(self._slots):
            self._end_slot(key)
        self._selector.close()
        for connection in (self._listener, self._ear, self._mouth):
            connection.close()

    # --- Working ------------------------------------------------------------------------------------------------

    def turn(self, longest_seconds: float = POLL_SECONDS) -> None:
        """Write what is unwritten, fill what is idle, then sleep until something happens, or it is time to look."""
        self._write()
        if self._idle() and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + POLL_SECONDS
            self._outage.attempt(self._fill)
        if not self._unwritten and time.monotonic() >= self._next_reconciliation:
            self._next_reconciliation = time.monotonic() + RECONCILE_SECONDS
            self._outage.attempt(self._reconcile)
        rest = max(self._next_look - time.monotonic(), 0) if self._idle() else POLL_SECONDS
        self._listen(min(rest, longest_seconds))

    def _fill(self) -> None:
        """Give jobs to the idle slots: one cheap query if there are none."""
        idle = self._idle()
        rows = claims.due(targets=[self._sling_id], limit=len(idle))
        if not rows:
            return
        capability = capabilities.of_this_process(self._sling_id)
        mine = [row for row in rows if capability.takes(row.topic)]
        if len(mine) < len(rows):
            placement.move_away({row.job_id for row in rows} - {row.job_id for row in mine}, target=self._sling_id)
        claimed = claims.claim(mine, run_id=self._run_id, instance=self._sling_id, label=identity.label())
        for key, claim in zip(idle, claimed, strict=False):
            self._give(key, claim)
        if 0 < len(claimed) < len(rows):  # somebody else was quicker: there may be more for the slots that are left
            self._look()

    def _reconcile(self) -> None:
        """Give back what this run holds without knowing it: claimed, and then an error kept it from a slot."""
        known = {(slot.claim.job_id, slot.claim.fence) for slot in self._busy() if slot.claim is not None}
        for claim in claims.held_by(self._run_id):
            if (claim.job_id, claim.fence) not in known:
                logger.warning("job held by nobody", extra={"job": claim.job_id, "fence": claim.fence})
                self._unwritten.append(partial(_give_back, claim))

    def _give(self, key: str, claim: Claim) -> None:
        slot = self._slots.get(key)
        if slot is None or slot.pusher is None:  # its end was noticed while another slot was given a job
            self._unwritten.append(partial(_give_back, claim))
            return
        slot.claim, slot.has_started = claim, False
        try:
            async_task(slots.EXECUTE, str(claim.job_id), claim.fence, broker=SlotBroker(slot.pusher))
        except OSError:
            self._end_slot(key)

    def _idle(self) -> list[str]:
        return [key for key, slot in self._slots.items() if slot.is_idle]

    def _write(self) -> None:
        """Write what came of ended slots; what the database does not take now stays for the next time."""
        waiting, self._unwritten = self._unwritten, []
        self._unwritten += [write for write in waiting if not self._outage.attempt(write)]
        if len(self._unwritten) < len(waiting):
            self._look()

    def _look(self) -> None:
        self._next_look = 0.0

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

    def _hear(self, line: link.Line, key: str) -> None:
        messages = line.receive()
        if messages is None:
            self._forget_line(line)
            self._end_slot(key)
            return
        for message in messages:
            key = self._obey(line, key, message)

    def _obey(self, line: link.Line, key: str, message: link.Message) -> str:
        """Take in one message of a slot; return the slot's name."""
        if "hello" in message:
            key = str(message["slot"])
            self._enter(line, key, message)
        slot = self._slots.get(key)
        if slot is None or slot.claim is None:
            return key
        if "started" in message:
            slot.has_started = True
        if "done" in message:
            slot.claim = None
            self._look()
        return key

    def _enter(self, line: link.Line, key: str, hello: link.Message) -> None:
        slot = self._slots.setdefault(key, Slot())
        if hello["hello"] == link.PUSHER:
            slot.pusher = line
        else:
            slot.worker = line
        self._selector.modify(line.connection, selectors.EVENT_READ, partial(self._hear, line, key))
        self._look()
        logger.debug("slot connected", extra={"slot": key, "role": hello["hello"], "pid": hello["pid"]})

    def _end_slot(self, key: str) -> None:
        """Take in that one of the slot's processes is gone: all will be. Closing its lines makes that quick."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        for line in (slot.pusher, slot.worker):
            if line is not None:
                self._forget_line(line)
        if slot.claim is not None:
            act = _crash if slot.has_started else _give_back
            self._unwritten.append(partial(act, slot.claim))

    def _forget_line(self, line: link.Line) -> None:
        with contextlib.suppress(KeyError, ValueError):  # closed before, with its slot
            self._selector.unregister(line.connection)
        line.close()

    # --- Ending -------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Wait for running jobs, as long as the settings say; then give the rest back with their fences raised."""
        deadline = time.monotonic() + settings.OFFLOADING_STOP_SECONDS
        while self._busy() and (left := deadline - time.monotonic()) > 0:
            self._write()
            self._listen(min(left, POLL_SECONDS))
        for key, slot in list(self._slots.items()):
            if slot.claim is not None:
                self._unwritten.append(partial(_give_back, slot.claim))
                slot.claim = None
                self._end_slot(key)
        self._write()

    def _busy(self) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.claim is not None]


def _crash(claim: Claim) -> None:
    with contextlib.suppress(exceptions.StaleFence):  # the outcome was written just before the end
        recovery.crashed(job_id=claim.job_id, fence=claim.fence)


def _give_back(claim: Claim) -> None:
    message = "The instance could not run the job to its end: it was stopping, or the worker was gone."
    with contextlib.suppress(exceptions.StaleFence):
        outcomes.release(job_id=claim.job_id, fence=claim.fence, message=message)
