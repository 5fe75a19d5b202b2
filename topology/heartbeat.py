"""The agent's loop that keeps this instance in the topology: heartbeat, properties, cluster view, events to listeners.

Each beat does all of it; a wake-up lets it look at once. What the acts are in the database, `services` knows.
"""

import logging
import threading
import time

from django.conf import settings
from django.db import connection

from topology import election, identity, listeners, services
from topology.assembly import members
from topology.events import ViewState
from topology.loops import Bell, Outage
from topology.models import Instance, View

logger = logging.getLogger(__name__)

PRUNE_SECONDS = 600.0


class Heart:
    """One agent's part in the topology. Not for several threads at once."""

    def __init__(self) -> None:
        self.delivery = listeners.Delivery()
        self._state = ViewState()
        self._stay: election.Member | None = None
        self._next_beat = self._next_prune = 0.0
        self._is_refused = False

    def beat(self) -> None:
        """Do what is due: the heartbeat at its time, everything else each time."""
        if self.rest_seconds() <= 0 and self._stay_in():
            self._next_beat = time.monotonic() + settings.OFFLOADING_HEARTBEAT_SECONDS
        established = None
        if not self._is_refused:
            services.publish_properties(identity.runtime_id())
            established = services.establish_view()
            self._return_if_dropped(established)
        self._tell(established)
        if time.monotonic() >= self._next_prune:
            services.prune()
            self._next_prune = time.monotonic() + PRUNE_SECONDS

    def rest_seconds(self) -> float:
        """Return how long the next heartbeat may wait."""
        return self._next_beat - time.monotonic()

    def _stay_in(self) -> bool:
        """Write the heartbeat, or join (again) if there is nothing to renew; return whether this instance is in."""
        if services.renew(identity.runtime_id()):
            self._is_refused = False
            return True
        return self._join()

    def _join(self) -> bool:
        self._stay = None
        try:
            services.join(identity.runtime_id(), _wakeup_address())
        except services.DuplicateInstance as error:
            if not self._is_refused:
                logger.error("not in the cluster", extra={"reason": str(error)})
            self._is_refused = True
            return False
        self._is_refused = False
        return True

    def _return_if_dropped(self, view: View | None) -> None:
        """Join with a new number if the others went on without us: leave our old place to them and queue up again."""
        own = next((member for member in members(view) if member.sling_id == identity.sling_id()), None)
        if own is None and self._stay is not None:
            logger.warning("dropped from the view, joining again", extra={"join_number": self._stay.join_number})
            self._join()
            return
        self._stay = own

    def _tell(self, established: View | None) -> None:
        """Tell listeners what came of the view that now holds."""
        view = services.current_view(established)
        for event in self._state.advance(view):
            self.delivery.deliver(event)
        if view.is_current:
            self.delivery.introduce(view)


def _wakeup_address() -> str:
    """Return the address that this run told when it first joined."""
    own = Instance.objects.filter(sling_id=identity.sling_id(), runtime_id=identity.runtime_id())
    return own.values_list("wakeup_address", flat=True).first() or ""


def beat() -> None:
    """Beat once, joining if necessary, without telling listeners: for a process that is no agent."""
    Heart().beat()


def run(stop: threading.Event) -> None:
    """Keep this instance in the topology until `stop` is set. Leaving is `services.leave`, when all else has ended."""
    heart = Heart()
    heart.delivery.start()
    bell, outage = Bell(stop, "topology", "properties"), Outage("heartbeat")
    while not stop.is_set():
        outage.attempt(heart.beat)
        # After a failure nothing was renewed and the time is over already: try on, but not without a pause.
        bell.wait(max(heart.rest_seconds(), 0.2))
    bell.close()
    heart.delivery.stop(timeout=settings.OFFLOADING_HEARTBEAT_SECONDS)
    connection.close()
