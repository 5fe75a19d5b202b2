"""The agent's thread that fires scheduled jobs: asleep until the next one is due, and awake on one instance only.

That is the leader, while the topology is settled. What it does is guarded in the database, so that a former leader that
does not know of the new one does no harm.
"""

import threading

from django.db import connections

from offloading.jobs import scheduling
from topology import listeners
from topology import services as topology
from topology.loops import Bell, Outage
from topology.snapshot import TopologyView

# A lost wake-up costs at most this.
MAX_SLEEP_SECONDS = 30.0
LISTENER = "offloading.timer"


class Timer:
    """What one agent knows while it fires schedules."""

    def __init__(self) -> None:
        self._view: TopologyView | None = None

    def hear(self, event: listeners.TopologyEvent) -> None:
        """Take in a change of the topology; while it changes there is no view."""
        self._view = event.new_view

    def look(self) -> float:
        """Fire what is due, if that is up to this instance; return how many seconds there is nothing to do."""
        if self._view is None or not self._view.local.is_leader:
            return MAX_SLEEP_SECONDS
        seconds, fired = scheduling.next_due(), 0
        if seconds is not None and seconds <= 0:
            fired = self._fire()
            seconds = scheduling.next_due()
        # What is due and cannot be fired has to wait for the next look; what became due in between has not.
        if seconds is None or (seconds <= 0 and not fired):
            return MAX_SLEEP_SECONDS
        return min(max(seconds, 0.0), MAX_SLEEP_SECONDS)

    def _fire(self) -> int:
        view = topology.current_view()
        if not view.is_current or not view.local.is_leader:
            return 0
        return scheduling.fire_due(epoch=view.epoch)


def run(stop: threading.Event) -> None:
    """Fire scheduled jobs until `stop` is set."""
    timer, bell, outage = Timer(), Bell(stop, scheduling.WAKEUP), Outage("timer")
    sleep = MAX_SLEEP_SECONDS

    def look() -> None:
        nonlocal sleep
        sleep = timer.look()

    def hear(event: listeners.TopologyEvent) -> None:
        timer.hear(event)
        bell.ring()

    listeners.register(LISTENER, hear)
    while not stop.is_set():
        sleep = MAX_SLEEP_SECONDS
        outage.attempt(look)
        bell.wait(sleep)
    listeners.unregister(LISTENER)
    bell.close()
    connections.close_all()
