"""The agent's slow loop: removes what nothing refers to any more. The one part of the agent that may be late."""

import threading
from datetime import timedelta

from content import blobs
from topology.loops import Bell, Outage

SWEEP_SECONDS = 3_600
# Longer than any upload or transfer takes from its first block to the node that refers to it.
LEFTOVER_AGE = timedelta(days=1)


def run(stop: threading.Event) -> None:
    """Sweep once an hour until `stop` is set. Every instance does it; several at once do no harm."""
    bell, outage = Bell(stop), Outage("housekeeping")
    while not stop.is_set():
        bell.wait(SWEEP_SECONDS)
        if not stop.is_set():
            outage.attempt(lambda: blobs.collect_garbage(LEFTOVER_AGE))
