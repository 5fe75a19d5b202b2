"""The agent's slow loop: removes what nothing refers to any more. The one part of the agent that may be late."""

import threading
import time
from datetime import timedelta

from content import blobs
from offloading.jobs import history
from topology import services as topology
from topology.loops import Bell, Outage

HISTORY_SECONDS = 60.0
# The most of each minute that cleaning the history up may take.
HISTORY_LIMIT_SECONDS = 40.0
SWEEP_SECONDS = 3_600.0
# Longer than any upload or transfer takes from its first block to the node that refers to it.
LEFTOVER_AGE = timedelta(days=1)


class Housekeeping:
    """What one agent has to clear away, and when it did so last."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._history = history.CleanUp()
        self._next_sweep = time.monotonic() + SWEEP_SECONDS

    def clean(self) -> None:
        """Clear away what is due."""
        if topology.current_view().local.is_leader:
            self._history.run(limit_seconds=HISTORY_LIMIT_SECONDS, rest=self._stop.wait)
        if time.monotonic() >= self._next_sweep and not self._stop.is_set():
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            blobs.collect_garbage(LEFTOVER_AGE)


def run(stop: threading.Event) -> None:
    """Clear away until `stop` is set: the history once a minute, by the leader; blobs once an hour, by every instance.

    Several at once do no harm.
    """
    bell, outage, housekeeping = Bell(stop), Outage("housekeeping"), Housekeeping(stop)
    while not stop.is_set():
        bell.wait(HISTORY_SECONDS)
        if not stop.is_set():
            outage.attempt(housekeeping.clean)
