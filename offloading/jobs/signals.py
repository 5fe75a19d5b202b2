"""News about jobs, for the apps above and for the live screens."""

import uuid
from dataclasses import dataclass

from django.dispatch import Signal

# Sent inside the transaction that makes the changes, with `changes`: all of them, as a tuple of JobChange.
jobs_changed = Signal()


@dataclass(frozen=True, slots=True)
class JobChange:
    """What became of one job. A move to another instance leaves the state as it was.

    `previous` is "" for a new job, and `state` is "" for one that was removed for good.
    """

    job_id: uuid.UUID
    topic: str
    state: str
    previous: str
    queue: str = ""
    # The instance of another installation that the job came from, or "".
    origin: str = ""
    target: str = ""


def tell(*changes: JobChange) -> None:
    """Send the news of a transaction; no news is not sent."""
    if changes:
        jobs_changed.send(sender=JobChange, changes=changes)
