"""A process that adds jobs to one engine, and measures that from inside: what each engine calls is its own affair.

Reads one command as JSON from each line of its input and answers with one line. `Producer` is the other end of it.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

# With the number in front: about 200 bytes of JSON.
FILLING = "The quick brown fox jumps over the lazy dog, again and again, until these are two hundred bytes. " * 2
PAUSES = (0.05, 0.15)
LOOK_SECONDS = 0.03

Properties = dict[str, Any]


def properties(number: int, *, is_stamped: bool = False) -> Properties:
    made: Properties = {"number": number, "text": FILLING[:176]}
    return made | {"stamp": number} if is_stamped else made


def serve(
    *,
    add: Callable[[Properties], object],
    add_many: Callable[[list[Properties]], object],
    left: Callable[[], int],
    **more: Callable[..., object],
) -> None:
    """Obey until the input ends. `left` counts the jobs of this producer that are not finished; `more` are commands."""
    commands: dict[str, Callable[..., object]] = {
        "add": lambda count: _add(add, count),
        "add_many": lambda count: _add_many(add_many, count),
        "stamp": lambda count, seed: _stamp(add, count, seed),
        "left": left,
        "drain": lambda seconds: _drain(left, seconds),
        **more,
    }
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(commands[command.pop("do")](**command)), flush=True)


def _add(add: Callable[[Properties], object], count: int) -> float:
    """Return the seconds that adding `count` jobs takes, one after the other."""
    made = [properties(number) for number in range(count)]
    began = time.perf_counter()
    for each in made:
        add(each)
    return time.perf_counter() - began


def _add_many(add_many: Callable[[list[Properties]], object], count: int) -> float:
    made = [properties(number) for number in range(count)]
    began = time.perf_counter()
    add_many(made)
    return time.perf_counter() - began


def _stamp(add: Callable[[Properties], object], count: int, seed: int) -> list[int]:
    """Add `count` jobs with pauses between them; return the time before each add, in nanoseconds."""
    pauses = random.Random(seed)
    began = []
    for number in range(count):
        time.sleep(pauses.uniform(*PAUSES))
        began.append(time.monotonic_ns())
        add(properties(number, is_stamped=True))
    return began


def _drain(left: Callable[[], int], seconds: float) -> tuple[int, float]:
    """Wait until all jobs are finished; return (jobs, seconds) from the first look that finds one finished.

    So neither the start of the workers counts, nor what was done before that look.
    """
    waiting, deadline = left(), time.monotonic() + seconds
    first, began = waiting, 0.0
    while True:
        now, current = time.perf_counter(), left()
        if not began and current < waiting:
            first, began = current, now
        if current == 0:
            return first, now - began
        if time.monotonic() > deadline:
            raise TimeoutError(f"{current} of {waiting} jobs are still there after {seconds} s")
        time.sleep(LOOK_SECONDS)


class Producer:
    """The other end: start it with what makes the process one of the engine's, ask, close."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, do: str, **arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args} ended instead of doing {do!r}")
        return json.loads(answer)

    def close(self) -> None:
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
