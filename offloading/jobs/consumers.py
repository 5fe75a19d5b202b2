"""What job authors write: a class with `topics` and `process`, put in their app's `job_consumers.py`.

    @job_consumer
    class SendMail(JobConsumer):
        topics = ("acme/mail/send",)

        def process(self, job):
            send(job.properties["to"])
            return JobResult.OK

Whoever wants to show progress, or to be asked to stop, writes a `JobExecutor`. Consumers of all installed apps are
found at start, those of other packages by the setting OFFLOADING_CONSUMERS or an entry point of the group
`offloading.consumers`. The class is made once in each process; what it keeps on itself it shares with all jobs of that
process.
"""

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import metadata
from typing import Any, ClassVar, TypeVar

from offloading import exceptions
from offloading.jobs import running, topics
from offloading.jobs.outcomes import Kind
from offloading.jobs.running import RunningJob as RunningJob

ENTRY_POINTS = "offloading.consumers"


class JobResult(StrEnum):
    """How a consumer says that it is done."""

    OK = "OK"
    FAILED = "FAILED"  # tried again after a delay, while retries are left
    CANCEL = "CANCEL"  # never tried again
    ASYNC = "ASYNC"  # not done yet: another thread will say, with `AsyncHandler`


@dataclass(frozen=True)
class JobExecutionResult:
    """How an executor says that it is done. Made with `JobExecutionContext.result()`."""

    kind: Kind
    text: str = ""
    retry_delay_seconds: float | None = None


@dataclass(frozen=True)
class ResultBuilder:
    """`context.result().message("3 of 5 sent").failed(60)`"""

    text: str = ""

    def message(self, text: str) -> "ResultBuilder":
        return replace(self, text=text)

    def succeeded(self) -> JobExecutionResult:
        return JobExecutionResult(Kind.OK, self.text)

    def failed(self, delay_seconds: float | None = None) -> JobExecutionResult:
        """Have the job tried again, after `delay_seconds` or the delay of the job or its queue."""
        return JobExecutionResult(Kind.FAILED, self.text, delay_seconds)

    def cancelled(self) -> JobExecutionResult:
        """Have the job never tried again."""
        return JobExecutionResult(Kind.CANCELLED, self.text)


class Waiting:
    """The result of an asynchronous job, which another thread brings. Until then the job keeps its slot."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._has_come = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._result: JobExecutionResult | None = None

    def bring(self, result: JobExecutionResult) -> None:
        """Say how the job ended; from another thread this waits until `process` has returned.

        Raises AsyncMisused if `process` is still running in this very thread, or a result was brought before.
        """
        if threading.get_ident() == self._thread and not self._is_open.is_set():
            raise exceptions.AsyncMisused("The job is still in process(): return the result there.")
        self._is_open.wait()
        with self._lock:
            if self._result is not None:
                raise exceptions.AsyncMisused("The job has its result already.")
            self._result = result
        self._has_come.set()

    def wait(self) -> JobExecutionResult:
        """Let results in, and wait for the first."""
        self._is_open.set()
        self._has_come.wait()
        if self._result is None:
            raise RuntimeError("unreachable: the event follows the result")
        return self._result


class AsyncHandler:
    """What a consumer gives to the thread that will know the result: `job_handler.ok()`."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def ok(self, message: str = "") -> None:
        self._waiting.bring(JobExecutionResult(Kind.OK, message))

    def failed(self, message: str = "", delay_seconds: float | None = None) -> None:
        self._waiting.bring(JobExecutionResult(Kind.FAILED, message, delay_seconds))

    def cancel(self, message: str = "") -> None:
        self._waiting.bring(JobExecutionResult(Kind.CANCELLED, message))


class JobExecutionContext:
    """What an executor can say and ask while it works."""

    def __init__(self, job: RunningJob, waiting: Waiting) -> None:
        self._job = job
        self._waiting = waiting
        self._progress = running.Progress(job)

    @property
    def is_stopped(self) -> bool:
        """Whether somebody asked this job to stop. It is killed some seconds later if it does not end."""
        return self._job.is_stopped

    def init_progress(self, steps: int, eta_seconds: float = -1) -> None:
        """Announce the number of steps and the seconds it will take; -1 = unknown. Only the first call counts."""
        self._progress.init(steps, eta_seconds)

    def increment_progress(self, count: int = 1) -> None:
        """Note steps as done. The expected end follows from the time that they took."""
        self._progress.increment(count)

    def update_progress(self, eta_seconds: float) -> None:
        """Say anew in how many seconds the end is expected; -1 = unknown."""
        self._progress.update(eta_seconds)

    def log(self, text: str, *arguments: object) -> None:
        """Add a line to the log of this attempt; `{0}` and so on in `text` are replaced by `arguments`."""
        self._job.log(text.format(*arguments) if arguments else text)

    def set_property(self, name: str, value: Any) -> None:
        """Store a property on the job at once. Raises PropertiesInvalid."""
        running.set_property(self._job, name, value)

    def result(self) -> ResultBuilder:
        return ResultBuilder()

    def async_processing_finished(self, result: JobExecutionResult) -> None:
        """Bring the result of a job whose `process` returned None. Raises AsyncMisused, see `Waiting.bring`."""
        self._waiting.bring(result)


class _Worker(ABC):
    """What both kinds have in common."""

    # Patterns: "a/b", "a/*" (one level below) or "a/**" (any level below).
    topics: ClassVar[tuple[str, ...]]
    # Of several consumers for one pattern the highest ranking wins, then the one that registered first.
    ranking: ClassVar[int] = 0


class JobConsumer(_Worker):
    """Does the work of some topics, the simple way."""

    @abstractmethod
    def process(self, job: RunningJob) -> JobResult:
        """Do the work. May run again after a crash; see `RunningJob.apply` for changes that must happen once.

        To end it later, from another thread, keep `async_handler(job)` and return JobResult.ASYNC.
        """


class JobExecutor(_Worker):
    """Does the work of some topics and tells how far it is."""

    @abstractmethod
    def process(self, job: RunningJob, context: JobExecutionContext) -> JobExecutionResult | None:
        """Do the work, and return `context.result()…`; None if another thread brings the result later."""


Consumer = JobConsumer | JobExecutor
_by_pattern: dict[str, list[Consumer]] = {}
# By the id of the running job.
_waiting: dict[int, Waiting] = {}

Class = TypeVar("Class", bound=type[Consumer])


def job_consumer(cls: Class) -> Class:
    """Register the class for its topics. Raises TopicInvalid for a pattern that cannot be."""
    patterns = [topics.validate_pattern(pattern) for pattern in cls.topics]
    consumer = cls()
    for pattern in patterns:
        found = _by_pattern.setdefault(pattern, [])
        found.append(consumer)
        found.sort(key=lambda each: -each.ranking)  # stable: among equals the first registered stays first
    return cls


def find(topic: str) -> Consumer | None:
    """Return the consumer for `topic`: the most specific pattern first, then the ranking."""
    pattern = topics.matching(topic, _by_pattern)
    return _by_pattern[pattern][0] if pattern else None


def registered() -> tuple[str, ...]:
    """Return all patterns that a consumer here is registered for, sorted."""
    return tuple(sorted(_by_pattern))


def load(modules: Iterable[str]) -> None:
    """Import the modules that consumers of other packages are in: those named, and those of entry points."""
    for name in modules:
        importlib.import_module(name)
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        entry_point.load()


def async_handler(job: RunningJob) -> AsyncHandler:
    """Return what another thread ends this job with, after its `process` has returned JobResult.ASYNC."""
    return AsyncHandler(_waiting.setdefault(id(job), Waiting()))


def take_waiting(job: RunningJob) -> Waiting | None:
    """Return the place of the result that another thread will bring, and forget it; None if nobody asked for one."""
    return _waiting.pop(id(job), None)


@contextmanager
def register_temporarily(*classes: type[Consumer]) -> Iterator[None]:
    """Register consumers for the length of a test, and put everything back after it."""
    before = {pattern: list(found) for pattern, found in _by_pattern.items()}
    try:
        for cls in classes:
            job_consumer(cls)
        yield
    finally:
        _by_pattern.clear()
        _by_pattern.update(before)
