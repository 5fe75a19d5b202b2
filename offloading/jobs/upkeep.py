"""The agent's thread that keeps jobs where they can run.

The leader does it for the whole cluster, each duty at its own pace, and most of them at once when something changed
that could matter. Two leaders at once would do no harm, every act being guarded by a state and a fence.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import connections
from django.utils import timezone

from offloading.jobs import configuration, pauses, placement, recovery
from topology import listeners, wakeup
from topology import services as topology
from topology.loops import Bell, Outage
from topology.snapshot import TopologyView

# Seconds from one time to the next
PLACEMENT_SECONDS = 60.0
BALANCE_SECONDS = 10.0
PAUSES_SECONDS = 60.0
# From one placement to the next, however much there is to hurry.
_BREATH_SECONDS = 0.2
# What other processes added or placed by a picture from before a change is looked at that much later.
_AFTERMATH_SECONDS = 2 * placement.CACHE_SECONDS


@dataclass
class Duty:
    """Something to be done again and again: `act` returns in how many seconds the next time is."""

    act: Callable[[], float]
    due_at: float = 0.0


class Upkeep:
    """What one agent knows while it keeps jobs in their places."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._bell = Bell(stop)
        self._view: TopologyView | None = None
        self._has_changed = threading.Event()
        self._placed_at = 0.0
        # When everything is looked at once more after a change.
        self._look_again_at = float("inf")
        self._placement = Duty(self._place)
        self._balance = Duty(self._rebalance)
        self._pauses = Duty(self._expire_pauses)
        self._duties = (Duty(self._recover), self._placement, self._balance, self._pauses)

    def run(self) -> None:
        """Work until told to stop."""
        listeners.register("offloading.jobs", self.hear)
        forget = [wakeup.on("placement", self.hurry), wakeup.on("queues", self.look_at_everything)]
        outage = Outage("upkeep")
        while not self._stop.is_set():
            outage.attempt(self.turn)
            self._bell.wait(self.rest())
        for each in forget:
            each()
        connections.close_all()

    def turn(self) -> None:
        """Do what is due, if this instance leads. What fails is due again a little later, and keeps nothing else."""
        for duty in self._duties:
            if self._leads() and time.monotonic() >= duty.due_at and not self._stop.is_set():
                self._do(duty)

    def rest(self) -> float:
        """Return how many seconds there is nothing to do."""
        if not self._leads():
            return _beat()
        return max(min(duty.due_at for duty in self._duties) - time.monotonic(), 0.0)

    def _leads(self) -> bool:
        view = self._view
        return view is not None and view.local.is_leader

    @staticmethod
    def _do(duty: Duty) -> None:
        # Set before the work: what is said in the meantime is not forgotten, and what fails is not tried incessantly.
        until = duty.due_at = time.monotonic() + _beat()
        seconds = duty.act()
        if duty.due_at == until:  # nobody hurried it meanwhile
            duty.due_at = time.monotonic() + seconds

    # --- Hearing ------------------------------------------------------------------------------------------------

    def hear(self, event: listeners.TopologyEvent) -> None:
        """Take in a change of the topology: nothing is placed until it has settled, then everything is looked at."""
        self._view = event.new_view
        self.look_at_everything()

    def look_at_everything(self) -> None:
        """Look at everything now: it may have its place somewhere else since what just happened."""
        placement.forget()
        self._has_changed.set()
        self._placement.due_at = self._balance.due_at = self._pauses.due_at = 0.0
        self._bell.ring()

    def hurry(self) -> None:
        """Place what has no target now. This and the above may be called from any thread."""
        self._placement.due_at = self._placed_at + _BREATH_SECONDS
        self._bell.ring()

    # --- Duties -------------------------------------------------------------------------------------------------

    def _recover(self) -> float:
        if recovery.recover_lost_runs(topology.live_run_ids()):
            self.hurry()
        return _beat()

    def _place(self) -> float:
        now = self._placed_at = time.monotonic()
        view = topology.current_view()
        if not view.is_current:
            return _beat()
        recovery.recover_gone_targets(view)
        has_changed = self._has_changed.is_set()
        if not has_changed and now < self._look_again_at:
            placement.settle_lost(view)
            return min(PLACEMENT_SECONDS, self._look_again_at - now)
        self._has_changed.clear()
        try:
            configuration.settle()
            placement.settle(view)
        except Exception:
            self._has_changed.set()
            raise
        self._look_again_at = now + _AFTERMATH_SECONDS if has_changed else float("inf")
        return _AFTERMATH_SECONDS if has_changed else PLACEMENT_SECONDS

    def _rebalance(self) -> float:
        if self._view is not None:
            placement.rebalance(self._view)
        return BALANCE_SECONDS

    def _expire_pauses(self) -> float:
        """Remove the pauses whose time is over, and come again when that of the next one is."""
        pauses.expire()
        ends = [row.until for row in pauses.active().rows if row.until]
        left = (min(ends) - timezone.now()).total_seconds() if ends else PAUSES_SECONDS
        # The clock that counts is the database's, which may be a little behind.
        return min(max(left, _beat()), PAUSES_SECONDS)


def _beat() -> float:
    return float(settings.OFFLOADING_HEARTBEAT_SECONDS)


def run(stop: threading.Event) -> None:
    """Keep jobs in their places until `stop` is set."""
    Upkeep(stop).run()
