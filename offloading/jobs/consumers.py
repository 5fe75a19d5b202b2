"""What job authors write: a class with `topics` and `process(job)`, put in their app's `job_consumers.py`.

    @job_consumer
    class SendMail(JobConsumer):
        topics = ("acme/mail/send",)

        def process(self, job):
            send(job.properties["to"])
            return JobResult.OK

Consumers of all installed apps are found at start. The class is made once in each process; what it keeps on itself it
shares with all jobs of that process.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar, TypeVar

from offloading.jobs import topics
from offloading.jobs.running import RunningJob as RunningJob


class JobResult(StrEnum):
    """How a consumer says that it is done."""

    OK = "OK"
    FAILED = "FAILED"  # tried again after a delay, while retries are left
    CANCEL = "CANCEL"  # never tried again


class JobConsumer(ABC):
    """Does the work of some topics."""

    # Patterns: "a/b", "a/*" (one level below) or "a/**" (any level below).
    topics: ClassVar[tuple[str, ...]]
    # Of several consumers for one pattern the highest ranking wins, then the one that registered first.
    ranking: ClassVar[int] = 0

    @abstractmethod
    def process(self, job: RunningJob) -> JobResult:
        """Do the work. May run again after a crash; see `RunningJob.apply` for changes that must happen once."""


_by_pattern: dict[str, list[JobConsumer]] = {}

Class = TypeVar("Class", bound=type[JobConsumer])


def job_consumer(cls: Class) -> Class:
    """Register the class for its topics. Raises TopicInvalid for a pattern that cannot be."""
    patterns = [topics.validate_pattern(pattern) for pattern in cls.topics]
    consumer = cls()
    for pattern in patterns:
        found = _by_pattern.setdefault(pattern, [])
        found.append(consumer)
        found.sort(key=lambda each: -each.ranking)  # stable: among equals the first registered stays first
    return cls


def find(topic: str) -> JobConsumer | None:
    """Return the consumer for `topic`: the most specific pattern first, then the ranking."""
    pattern = topics.matching(topic, _by_pattern)
    return _by_pattern[pattern][0] if pattern else None


def registered() -> tuple[str, ...]:
    """Return all patterns that a consumer here is registered for, sorted."""
    return tuple(sorted(_by_pattern))


@contextmanager
def register_temporarily(*classes: type[JobConsumer]) -> Iterator[None]:
    """Register consumers for the length of a test, and put everything back after it."""
    before = {pattern: list(found) for pattern, found in _by_pattern.items()}
    try:
        for cls in classes:
            job_consumer(cls)
        yield
    finally:
        _by_pattern.clear()
        _by_pattern.update(before)
