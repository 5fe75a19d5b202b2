"""Watches over the engine from inside its processes, where the environment asks for them.

BENCH_WATCH names a folder: the calls of `offloading.jobs.claims` are timed. BENCH_PROFILE names one: the dispatcher's
thread and the attempts of each worker are profiled, which slows them down, so nothing else is measured then.
"""

import cProfile
import functools
import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.apps import AppConfig

FLUSH_CALLS = 200


class NoopConfig(AppConfig):
    name = "tests.benchmarks.engines.noop"

    def ready(self) -> None:
        if folder := os.environ.get("BENCH_WATCH"):
            watch_claims(Path(folder))
        if folder := os.environ.get("BENCH_PROFILE"):
            profile_dispatcher(Path(folder))
            profile_attempts(Path(folder))


def watch_claims(folder: Path) -> None:
    """Write the duration of every call of a public function of `claims` to a file of this process, in nanoseconds."""
    from offloading.jobs import claims

    for name, function in inspect.getmembers(claims, inspect.isfunction):
        if function.__module__ == claims.__name__ and not name.startswith("_"):
            setattr(claims, name, watched(name, function, folder))


def watched(name: str, function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter_ns()
        result = function(*arguments, **keywords)
        seconds = time.perf_counter_ns() - began
        # Lines of one write each: several processes and threads may do this at once.
        with (folder / f"{name}.calls").open("a") as file:
            file.write(f"{seconds} {len(result) if isinstance(result, list) else 0}\n")
        return result

    return call


def profile_dispatcher(folder: Path) -> None:
    from offloading.jobs.dispatcher import Dispatcher

    run = Dispatcher.run

    def profiled(self: Any, *arguments: Any) -> None:
        profile = cProfile.Profile()
        try:
            profile.runcall(run, self, *arguments)
        finally:
            profile.dump_stats(folder / "dispatcher.profile")

    Dispatcher.run = profiled  # type: ignore[method-assign]


def profile_attempts(folder: Path) -> None:
    """Profile `execution.attempt` in each worker; written now and then, for a worker ends without saying so."""
    from offloading.jobs import execution

    attempt, profile, calls = execution.attempt, cProfile.Profile(), [0]

    def profiled(*arguments: Any, **keywords: Any) -> Any:
        try:
            return profile.runcall(attempt, *arguments, **keywords)
        finally:
            calls[0] += 1
            if calls[0] % FLUSH_CALLS == 0:
                profile.dump_stats(folder / f"worker-{os.getpid()}.profile")

    execution.attempt = profiled
