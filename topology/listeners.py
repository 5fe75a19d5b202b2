"""Who wants to hear of topology changes, and the thread that tells them.

Listeners are called in the agent's process alone, one event after the other, one listener after the other. One that
fails is logged and does not keep the others from hearing. What an event is and when it comes, `events` knows.
"""

import logging
import queue
import threading
from collections.abc import Callable

from django.db import close_old_connections, connection

from topology import signals, snapshot
from topology.events import EventType as EventType
from topology.events import TopologyEvent as TopologyEvent

logger = logging.getLogger(__name__)

Callback = Callable[[TopologyEvent], None]

_callbacks: dict[str, Callback] = {}


def register(name: str, callback: Callback) -> None:
    """Have `callback` told of every event, INIT first. The same name again replaces the former one."""
    _callbacks[name] = callback


def unregister(name: str) -> None:
    """Tell that listener nothing any more."""
    _callbacks.pop(name, None)


class Delivery:
    """The thread that tells the listeners, so that a slow one never delays a heartbeat."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[TopologyEvent | None] = queue.SimpleQueue()
        self._initialised: dict[str, Callback] = {}
        self._thread = threading.Thread(target=self._run, name="topology-listeners", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def deliver(self, event: TopologyEvent) -> None:
        """Queue an event; returns at once."""
        self._events.put(event)

    def introduce(self, view: snapshot.TopologyView) -> None:
        """Queue INIT for those that registered after the first view was settled; nothing if there are none."""
        # Copies, because other threads register and initialise meanwhile.
        if _callbacks.copy().items() - self._initialised.copy().items() and self._events.empty():
            self._events.put(TopologyEvent(EventType.INIT, None, view))

    def stop(self, timeout: float) -> None:
        """Deliver what is queued, then end; wait for it at most `timeout` seconds."""
        self._events.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            close_old_connections()
            self.tell_all(event)
        connection.close()

    def tell_all(self, event: TopologyEvent) -> None:
        """Call every listener that this event is for, then send the signal."""
        for name, callback in tuple(_callbacks.items()):
            due = self._due(event, is_new=self._initialised.get(name) is not callback)
            if due is None:
                continue
            if due.type is EventType.INIT:
                self._initialised[name] = callback
            _tell(name, callback, due)
        for receiver, outcome in signals.topology_changed.send_robust(sender=Delivery, event=event):
            if isinstance(outcome, Exception):
                logger.error("topology signal receiver failed", extra={"receiver": receiver}, exc_info=outcome)

    @staticmethod
    def _due(event: TopologyEvent, *, is_new: bool) -> TopologyEvent | None:
        """Return what a listener hears instead of `event`, if anything: the first thing it hears is always INIT."""
        if not is_new:
            return None if event.type is EventType.INIT else event
        if event.new_view is None:
            return None
        return TopologyEvent(EventType.INIT, None, event.new_view)


def _tell(name: str, callback: Callback, event: TopologyEvent) -> None:
    try:
        callback(event)
    except Exception:
        logger.exception("topology listener failed", extra={"listener": name, "event": event.type})
