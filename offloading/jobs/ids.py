"""Ids of jobs: UUIDv7 (RFC 9562, 5.7), so that ids sort by the time of their making."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """Return a new id, greater than every one this process made before, even within one millisecond."""
    global _last
    with _lock:
        # 48 bits of milliseconds and, in the 12 bits below, the fraction of the millisecond: method 3 of RFC 9562, 6.2.
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        _last = max(_last + 1, milliseconds << 12 | (rest << 12) // 1_000_000)
        stamp, fraction = _last >> 12, _last & 0xFFF
    noise = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return uuid.UUID(int=stamp << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | noise)


def parse(value: uuid.UUID | str) -> uuid.UUID | None:
    """Return `value` as an id, or None if it is not one."""
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
    except ValueError:
        return None
