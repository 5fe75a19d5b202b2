"""A job as its consumer sees it while it runs: what to do, and the two fenced ways to write about it.

Made by `execution`, which also writes the outcome of consumers that did not do so themselves with `apply`.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from offloading.jobs import outcomes

_LOG_SECONDS = 1.0


@dataclass
class RunningJob:
    """One attempt at a job. `message` and `retry_delay_seconds` may be set and go with the outcome."""

    id: uuid.UUID
    topic: str
    properties: Mapping[str, Any]
    fence: int
    attempt_number: int
    # "" here; on an installation that got the job from another one, the folder that its payload lies in.
    payload_root: str = ""
    message: str = ""
    # Seconds until the next attempt if this one fails; None leaves the job's own delay.
    retry_delay_seconds: float | None = None
    is_applied: bool = field(default=False, init=False)
    _log: outcomes.Log = field(default_factory=outcomes.Log, init=False)
    _log_written_at: float = field(default=0.0, init=False)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a property of the job, or `default` if it has none of that name."""
        return self.properties.get(name, default)

    @property
    def initiator(self) -> str:
        """The person for whom the job runs, if whoever added it said so; else ""."""
        return str(self.properties.get("initiator", ""))

    @property
    def log_text(self) -> str:
        return self._log.text

    def log(self, text: str) -> None:
        """Add a line to the log of this attempt. It is kept bounded, and shown while the job runs."""
        self.add_to_log(text)
        if time.monotonic() - self._log_written_at >= _LOG_SECONDS:
            outcomes.write_log(job_id=self.id, fence=self.fence, log=self._log.text)
            self._log_written_at = time.monotonic()

    def add_to_log(self, text: str) -> None:
        """Add to the log without showing it yet: it goes with the outcome."""
        self._log.add(text)

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Write what the job changes, and that it succeeded, in one transaction: both happen, once, or neither.

        Raises StaleFence if the job is no longer this attempt's; then nothing inside was written. Keep it short:
        prepare the heavy work before. Afterwards the result that the consumer returns is not looked at any more.
        """
        with self.guard():
            yield
            outcomes.succeed(job_id=self.id, fence=self.fence, message=self.message, log=self._log.text)
        self.is_applied = True

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Write something in a transaction that holds only if the job is still this attempt's. Raises StaleFence."""
        with transaction.atomic():
            outcomes.hold(job_id=self.id, fence=self.fence)
            yield
