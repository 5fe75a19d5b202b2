"""How many processors this machine lets us use, as seen when the process started."""

import os

_COUNT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count() -> int:
    return _COUNT
