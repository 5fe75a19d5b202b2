"""Something that is read from the database again and again and seldom changes, kept for a moment in this process."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """What `read` returned last, for at most `seconds()`. Safe to use from several threads."""

    def __init__(self, read: Callable[[], T], seconds: Callable[[], float]) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None
        self._forgotten = 0

    def get(self) -> T:
        kept = self._kept
        if kept is not None and time.monotonic() - kept[0] < self._seconds():
            return kept[1]
        forgotten, read_at = self._forgotten, time.monotonic()
        found = self._read()
        with self._lock:
            if forgotten == self._forgotten:  # otherwise it may be older than the change that made us forget
                self._kept = (read_at, found)
        return found

    def forget(self) -> None:
        """Read it anew next time."""
        with self._lock:
            self._forgotten += 1
            self._kept = None
