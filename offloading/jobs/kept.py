"""Answers that take a while, kept by this process for a moment: however many ask, the database answers now and then.

An answer is kept for twenty times as long as it took: asking for it takes up a twentieth of the time at most.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

SLOW_SECONDS = 0.02
TIMES = 20
MAX_SECONDS = 5.0
_MAX_ENTRIES = 200

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Answers by what was asked. Those that are of less than `min_size` are not kept: they were slow by chance."""

    def __init__(self, min_size: int) -> None:
        self._min_size = min_size
        self._entries: dict[K, tuple[V, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: K, find: Callable[[], V], size: Callable[[V], int]) -> V:
        """Return the answer that is kept, or find it."""
        with self._lock:
            value, until = self._entries.get(key, (None, 0.0))
        begun = time.monotonic()
        if value is not None and begun < until:
            return value
        value = find()
        took = time.monotonic() - begun
        if took > SLOW_SECONDS and size(value) >= self._min_size:
            self._keep(key, value, begun + took + min(TIMES * took, MAX_SECONDS))
        return value

    def forget(self) -> None:
        with self._lock:
            self._entries.clear()

    def _keep(self, key: K, value: V, until: float) -> None:
        with self._lock:
            if len(self._entries) >= _MAX_ENTRIES:
                self._entries.clear()
            self._entries[key] = value, until
