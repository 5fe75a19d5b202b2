"""When consumers started, written down by themselves: one line each, past everything that is measured."""

import os
import time
from pathlib import Path

FILE = os.environ.get("BENCH_STAMPS", "")


def note(number: object) -> None:
    """Write down that the consumer of job `number` has started; `None` writes nothing."""
    if number is None:
        return
    line = f"{number} {time.monotonic_ns()}\n".encode()
    file = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read(path: Path) -> dict[int, int]:
    """Return the start of each job in nanoseconds of the monotonic clock; of several the first."""
    found: dict[int, int] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        number, at = map(int, line.split())
        found.setdefault(number, at)
    return found
