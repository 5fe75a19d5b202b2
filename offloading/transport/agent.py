"""The agent's loop that moves jobs and results between installations: what is due, to whom, and by which thread.

A few threads work on transfers, at most a few of them for one peer, so that a peer that is slow or away keeps nobody
else waiting. Everything is durable in the database: a wake-up only makes it quick, and whatever this process leaves
behind another one takes up.
"""

import functools
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.models import CharField, Value

from offloading.jobs import statements
from offloading.models import Transfer
from offloading.transport import agents, client, courier, gate, messages, returns, sender, switches, transfers
from topology import loops, snapshot
from topology import services as topology

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
THREADS = 8
THREADS_PER_PEER = 4
_HOUSEKEEPING_SECONDS = 2.0
_FORGET_SECONDS = 60.0


Send = Callable[[Transfer, snapshot.TopologyView, Callable[[], None]], None]


class Stopping(Exception):
    """The process ends: what is under way is left to the next one."""


def run(stop: threading.Event) -> None:
    """Move what is to be moved until `stop` is set."""
    bell = loops.Bell(stop, "transport", "topology")
    outage = loops.Outage("transport")
    traffic = Traffic(stop, bell)
    traffic.start()
    while not stop.is_set():
        outage.attempt(traffic.look)
        bell.wait(POLL_SECONDS)
    traffic.end()
    bell.close()


class Traffic:
    """The transfers that this process is at. `look` is for one thread alone."""

    def __init__(self, stop: threading.Event, bell: loops.Bell) -> None:
        self._stop, self._bell = stop, bell
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"transport-{n}", daemon=True) for n in range(THREADS)
        ]
        self._lock = threading.Lock()
        self._busy: dict[int, str] = {}
        self._next_housekeeping = self._next_forgetting = 0.0

    def look(self) -> None:
        """See what there is to do, and hand it out."""
        self._keep_house()
        kinds = waiting_kinds()
        if "job" in kinds:
            sender.take_jobs(topology.current_view(), paused=agents.paused())
            kinds.add("transfer")
        if "transfer" in kinds:
            self._hand_out()
        if "switch" in kinds:
            self._work.put(self._send_switches)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Wait for what is under way; it stops at its next step."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        client.close()

    def _keep_house(self) -> None:
        if time.monotonic() >= self._next_housekeeping:
            with self._lock:
                busy = list(self._busy)
            transfers.release_lost(live_runs=topology.live_run_ids(), busy=busy)
            self._next_housekeeping = time.monotonic() + _HOUSEKEEPING_SECONDS
        if time.monotonic() >= self._next_forgetting:
            gate.forget_old_nonces()
            self._next_forgetting = time.monotonic() + _FORGET_SECONDS

    def _hand_out(self) -> None:
        paused = agents.paused()
        with self._lock:
            load = Counter(self._busy.values())
            full = {peer for peer, count in load.items() if count >= THREADS_PER_PEER}
            for due in transfers.due(without_peers=full | paused, each=THREADS_PER_PEER):
                # What failed before is tried one at a time, so that a peer that is away holds one thread at most.
                room = 1 if due.tries else THREADS_PER_PEER
                if due.id not in self._busy and len(self._busy) < THREADS and load[due.peer] < room:
                    load[due.peer] += 1
                    self._busy[due.id] = due.peer
                    self._work.put(functools.partial(self._move, due.id))

    def _serve(self) -> None:
        """Be one of the threads: do one piece of work after the other, with a connection to the database of its own."""
        while (act := self._work.get()) is not None:
            close_old_connections()
            try:
                act()
            except (OperationalError, InterfaceError):
                log.warning("database unreachable, transfer is left", exc_info=True)
                connection.close()
            except Exception:
                log.exception("transport failed")
        connection.close()

    def _move(self, transfer_id: int) -> None:
        try:
            move(transfer_id, self._go_on)
        finally:
            with self._lock:
                self._busy.pop(transfer_id, None)
            self._bell.ring()

    def _send_switches(self) -> None:
        switches.send_all(topology.current_view())

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopping


def waiting_kinds() -> set[str]:
    """Return which kinds of work wait: "job" to be taken, "transfer", "switch". Cheap, however many jobs wait."""
    kinds = {kind for (kind,) in statements.run(*_question(connection.vendor))}
    return kinds | {"job"} if sender.has_waiting() else kinds


@functools.cache
def _question(_vendor: str) -> tuple[str, tuple[Any, ...]]:
    """Return the statement for which of transfers and switches wait; made once, for it is asked every second."""
    queries = {"transfer": transfers.ready(), "switch": switches.ready()}
    first, second = (query.order_by().values_list(Value(kind, CharField())) for kind, query in queries.items())
    return first.union(second).query.sql_with_params()


def move(transfer_id: int, go_on: Callable[[], None]) -> None:
    """Try one transfer. Whatever goes wrong with it stays with it: it is postponed, parked or set aside."""
    transfer = transfers.take(transfer_id)
    if transfer is None:
        return
    way = sender if transfer.direction == Transfer.Direction.OUT else returns
    try:
        _try(way.send, transfer, go_on)
    except transfers.TransferLost as error:
        log.info("transfer lost", extra={"transfer": transfer_id, "reason": str(error)})


def _try(send: Send, transfer: Transfer, go_on: Callable[[], None]) -> None:
    try:
        send(transfer, topology.current_view(), go_on)
    except Stopping:
        transfers.put_back(transfer)
    except sender.Fenced as error:
        transfers.fence(transfer, str(error))
    except (client.PeerUnreachable, client.PeerRefused, courier.NotAccepted, messages.MessageInvalid) as error:
        transfers.postpone(transfer, str(error))
    except (transfers.TransferLost, OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("transfer failed", extra={"transfer": transfer.id, "job": transfer.job_id})
        transfers.postpone(transfer, f"This should not happen, see the log: {error!r}")
