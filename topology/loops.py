"""What the agent's loops have in common: what they sleep on, and how they get over a database that is away."""

import logging
import threading
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, close_old_connections

from topology import wakeup

logger = logging.getLogger(__name__)


class Stop(threading.Event):
    """An end that wakes whoever sleeps on a bell: so bells need no look at the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._rings: list[Callable[[], object]] = []

    def rings(self, ring: Callable[[], object]) -> Callable[[], None]:
        """Have `ring` called at the end, until the returned function is called."""
        self._rings.append(ring)
        return lambda: self._rings.remove(ring)

    def set(self) -> None:
        super().set()
        for ring in tuple(self._rings):
            ring()


class Bell:
    """What a loop sleeps on: it goes on when a wake-up of its kinds comes, when its time is over, or at its end."""

    def __init__(self, stop: threading.Event, *kinds: str) -> None:
        self._stop = stop
        self._rung = threading.Event()
        self._forget = [wakeup.on(kind, self.ring) for kind in kinds]
        if isinstance(stop, Stop):
            self._forget.append(stop.rings(self.ring))

    def ring(self) -> None:
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Sleep until rung, at most `seconds`. A ring since the last wait counts: nothing is missed in between."""
        if not self._stop.is_set():
            self._rung.wait(seconds)
        self._rung.clear()

    def close(self) -> None:
        for forget in self._forget:
            forget()


class Outage:
    """Carries a loop over a database that is away: logged when it begins and when it ends, not in between."""

    def __init__(self, loop: str) -> None:
        self._loop = loop
        self._is_out = False

    @property
    def is_out(self) -> bool:
        """Whether the database was unreachable the last time."""
        return self._is_out

    def attempt(self, act: Callable[[], object]) -> bool:
        """Do `act`; return False if the database was unreachable. Other errors are logged, and the loop goes on."""
        # The connection is not asked first whether it is alive: it is used all the time, and what fails is tried anew.
        try:
            act()
        except (OperationalError, InterfaceError) as error:
            if not self._is_out:
                facts = {"loop": self._loop, "reason": str(error).partition("\n")[0]}
                logger.warning("database unreachable, trying on", extra=facts)
            self._is_out = True
            close_old_connections()
            return False
        except Exception:
            logger.exception("loop failed, going on", extra={"loop": self._loop})
            close_old_connections()
            return True
        if self._is_out:
            logger.info("database is back", extra={"loop": self._loop})
        self._is_out = False
        return True
