"""How long to wait before something that ended is started again: at once, then longer and longer if it keeps ending."""

import time
from collections.abc import Callable

_PAUSES_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
# What ran this long is taken for healthy: its next end is again the first one.
_HEALTHY_SECONDS = 10.0


class Backoff:
    """Counts the quick ends of one thing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._quick_ends = 0

    def started(self) -> None:
        self._started_at = self._clock()

    def pause(self) -> float:
        """Note that it ended, and return the seconds to wait."""
        if self._clock() - self._started_at >= _HEALTHY_SECONDS:
            self._quick_ends = 0
        self._quick_ends += 1
        return _PAUSES_SECONDS[min(self._quick_ends, len(_PAUSES_SECONDS)) - 1]
