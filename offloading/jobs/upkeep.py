"""The agent's thread that keeps jobs where they can run: takes back what lost its holder, places what has no place.

The leader does it for the whole cluster: lost runs every heartbeat, placement at every change of the topology and every
half minute. Two leaders at once would do no harm, every act being guarded by a state and a fence.
"""

import logging
import threading
import time

from django.conf import settings
from django.db import connections

from offloading.jobs import placement, recovery
from topology import listeners, wakeup
from topology import services as topology
from topology.loops import Bell, Outage
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

PLACEMENT_SECONDS = 30.0


class Upkeep:
    """What one agent knows while it keeps jobs in their places."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._bell = Bell(stop)
        self._view: TopologyView | None = None
        self._next_placement = 0.0

    def run(self) -> None:
        """Work until told to stop."""
        listeners.register("offloading.jobs", self._hear)
        forget = wakeup.on("placement", self._hurry)
        outage = Outage("upkeep")
        while not self._stop.is_set():
            outage.attempt(self._keep)
            self._bell.wait(settings.OFFLOADING_HEARTBEAT_SECONDS)
        forget()
        connections.close_all()

    def _hear(self, event: listeners.TopologyEvent) -> None:
        """Take in a change of the topology: nothing is placed until it has settled, then everything is looked at."""
        self._view = event.new_view
        self._hurry()

    def _hurry(self) -> None:
        self._next_placement = 0.0
        self._bell.ring()

    def _keep(self) -> None:
        view = self._view
        if view is None or not view.local.is_leader:
            return
        taken_back = recovery.recover_lost_runs(topology.live_run_ids())
        if taken_back or time.monotonic() >= self._next_placement:
            # Before the work, so that what is said in the meantime is not forgotten.
            self._next_placement = time.monotonic() + PLACEMENT_SECONDS
            recovery.recover_gone_targets(topology.current_view())
            placement.settle()


def run(stop: threading.Event) -> None:
    """Keep jobs in their places until `stop` is set."""
    Upkeep(stop).run()
