"""A job as its consumer sees it while it runs: what to do, and the fenced ways to write about it.

Made by `execution`, which also writes the outcome of consumers that did not do so themselves with `apply`.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.functions import Now

from offloading import exceptions
from offloading.jobs import outcomes, properties, transitions
from offloading.models import Job, JobState

_LOG_SECONDS = 1.0
# How often a job that nobody told to stop looks into the database whether it shall.
_STOP_LOOK_SECONDS = 0.5


@dataclass
class RunningJob:
    """One attempt at a job. `message` and `retry_delay_seconds` may be set and go with the outcome."""

    id: uuid.UUID
    topic: str
    properties: Mapping[str, Any]
    fence: int
    # How often it was tried before and failed.
    retry_count: int = 0
    # "" here; on an installation that got the job from another one, the folder that its payload lies in.
    payload_root: str = ""
    message: str = ""
    # Seconds until the next attempt if this one fails; None leaves the delay of the job or its queue.
    retry_delay_seconds: float | None = None
    # Answers whether somebody asked this job to stop; None = the database is asked.
    hears_stop: Callable[[], bool] | None = None
    started: float = field(default_factory=time.monotonic)
    is_applied: bool = field(default=False, init=False)
    _log: outcomes.Log = field(default_factory=outcomes.Log, init=False)
    _log_written_at: float = field(default=0.0, init=False)
    _stop_looked_at: float = field(default=0.0, init=False)
    _stops: bool = field(default=False, init=False)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a property of the job, or `default` if it has none of that name."""
        return self.properties.get(name, default)

    @property
    def initiator(self) -> str:
        """The person for whom the job runs, if whoever added it said so; else ""."""
        return str(self.properties.get("initiator", ""))

    @property
    def is_stopped(self) -> bool:
        """Whether somebody asked this job to stop: end soon then, with any result. Cheap to ask often."""
        if not self._stops:
            self._stops = self.hears_stop() if self.hears_stop else self._looks_stopped()
        return self._stops

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.started

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
        self._log.add(storable(text))

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Write what the job changes, and that it succeeded, in one transaction: both happen, once, or neither.

        Raises StaleFence if the job is no longer this attempt's; then nothing inside was written. Keep it short:
        prepare the heavy work before. Afterwards the result that the consumer returns is not looked at any more.
        """
        with self.guard():
            yield
            outcomes.succeed(
                job_id=self.id,
                fence=self.fence,
                message=storable(self.message),
                log=self._log.text,
                seconds=self.elapsed_seconds,
            )
        self.is_applied = True

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Write something in a transaction that holds only if the job is still this attempt's. Raises StaleFence."""
        with transaction.atomic():
            transitions.hold(job_id=self.id, fence=self.fence)
            yield

    def write(self, **columns: Any) -> None:
        """Change columns of the job while it runs, and tell of it. Raises StaleFence if it is not held any more."""
        with transaction.atomic():
            held = transitions.hold(job_id=self.id, fence=self.fence)
            Job.objects.filter(id=self.id).update(**columns)
            transitions.tell(held, JobState.ACTIVE)

    def _looks_stopped(self) -> bool:
        if time.monotonic() - self._stop_looked_at < _STOP_LOOK_SECONDS:
            return False
        self._stop_looked_at = time.monotonic()
        return Job.objects.filter(id=self.id, fence=self.fence).exclude(stop_requested_by="").exists()


class Progress:
    """The steps of one attempt: announced once, then counted, each time written for people to see."""

    def __init__(self, job: RunningJob) -> None:
        self._job = job
        self._is_announced = False
        self._steps = 0
        self._step = 0

    def init(self, steps: int, eta_seconds: float) -> None:
        """Announce `steps` (-1 = unknown) and when the end is expected (-1 = unknown). Only the first call counts."""
        if self._is_announced:
            return
        self._is_announced = True
        self._steps = max(steps, 0)
        self._job.write(progress_steps=self._steps or None, progress_step=0, progress_eta=_eta(eta_seconds))

    def increment(self, count: int) -> None:
        """Note `count` more steps as done. Does nothing before steps were announced."""
        if self._steps <= 0 or count <= 0:
            return
        self._step = min(self._step + count, self._steps)
        left = self._job.elapsed_seconds / self._step * (self._steps - self._step)
        self._job.write(progress_step=self._step, progress_eta=_eta(left) or Now())

    def update(self, eta_seconds: float) -> None:
        """Say anew when the end is expected, in seconds from now; -1 takes it back."""
        if self._is_announced:
            self._job.write(progress_eta=_eta(eta_seconds))


def storable(text: object) -> str:
    """Return what a consumer said as a text that both databases can store."""
    said = "" if text is None else str(text)
    if said.isascii() and "\0" not in said:
        return said
    return said.replace("\0", "�").encode(errors="replace").decode()


def set_property(job: RunningJob, name: str, value: Any) -> None:
    """Store a property of a running job. Raises PropertiesInvalid for a name that the engine keeps, and for None."""
    if value is None:
        raise exceptions.PropertiesInvalid(f"Property {name!r} needs a value, but got None")
    if properties.is_reserved(name):
        raise exceptions.PropertiesInvalid(f"Property {name!r} is the engine's own. Choose a name of yours.")
    changed = properties.checked({**job.properties, name: value})
    job.write(properties=Value(changed, Job._meta.get_field("properties")))
    job.properties = changed


def _eta(seconds: float) -> Any:
    if seconds <= 0:
        return None
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())
