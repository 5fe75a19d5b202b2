"""The story of an asset: when it was processed, by which instance, in how many attempts, what travelled. Only reads.

One run is one workflow on the asset. What an offloading step started is part of that run: the job, its attempts
wherever they were, its transfers, and the workflow that the job ran if it ran in this cluster. Five queries.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from dam import processes, structure
from offloading.jobs import ids
from offloading.models import Attempt, AttemptOutcome, Transfer
from workflow import history
from workflow.models import HistoryItem, Workflow

Row = TypeVar("Row", HistoryItem, Attempt, Transfer)

# Runs beyond these are long over; they stay in the workflow's own lists.
RUNS = 20


@dataclass(frozen=True)
class Event:
    """One line of the story. `tone` is good, danger, warn, busy or quiet; `where` the host:port of an instance."""

    kind: str
    tone: str
    title: str
    where: str
    started_at: datetime
    ended_at: datetime | None
    text: str = ""
    log: str = ""
    bytes_moved: int | None = None
    job_id: UUID | None = None

    @property
    def is_going_on(self) -> bool:
        return self.ended_at is None

    @property
    def has_lasted(self) -> bool:
        """Say whether it took time, so that a duration tells something."""
        return self.ended_at is not None and self.ended_at - self.started_at > timedelta(milliseconds=1)


@dataclass(frozen=True)
class Run:
    """One processing of the asset, its events in the order in which they began."""

    workflow: Workflow
    events: tuple[Event, ...]
    bytes_out: int
    bytes_back: int
    attempt_count: int


def of_asset(path: str) -> list[Run]:
    """Return the runs on the asset, the newest first."""
    mine = Workflow.objects.filter(payload__in=(path, structure.original(path)), payload_root="")
    outer = list(mine.filter(is_offloaded=False).order_by("-started_at", "-id")[:RUNS])
    jobs_of = {workflow.pk: _job_ids(workflow) for workflow in outer}
    jobs = [job_id for found in jobs_of.values() for job_id in found]
    inner = {workflow.job_id: workflow for workflow in mine.filter(is_offloaded=True, job_id__in=jobs)}
    steps = _by(HistoryItem.objects.filter(workflow__in=[*outer, *inner.values()]).order_by("id"), "workflow_id")
    attempts = _by(Attempt.objects.filter(job__in=jobs).order_by("started_at", "id"), "job_id")
    transfers = _by(Transfer.objects.filter(job__in=jobs).order_by("started_at", "id"), "job_id")
    return [_run(workflow, jobs_of[workflow.pk], inner, steps, attempts, transfers) for workflow in outer]


def _run(
    workflow: Workflow,
    jobs: list[UUID],
    inner: dict[UUID | None, Workflow],
    steps: dict[object, list[HistoryItem]],
    attempts: dict[object, list[Attempt]],
    transfers: dict[object, list[Transfer]],
) -> Run:
    ran_here = [inner[job_id] for job_id in jobs if job_id in inner]
    told = [_step(item) for item in steps.get(workflow.pk, [])]
    # That the workflow inside a job began and ended is told by the attempt; so are its steps by the attempt's log, if
    # they were elsewhere.
    told += [_step(item) for each in ran_here for item in steps.get(each.pk, []) if item.action not in _FRAME]
    tried = [attempt for job_id in jobs for attempt in attempts.get(job_id, [])]
    moved = [transfer for job_id in jobs for transfer in transfers.get(job_id, [])]
    known = {each.job_id for each in ran_here}
    told += [_attempt(number, each, is_told=each.job_id in known) for number, each in enumerate(tried, 1)]
    events = [*told, *map(_transfer, moved)]
    return Run(
        workflow=workflow,
        events=tuple(sorted(events, key=lambda event: event.started_at)),
        bytes_out=_sum(moved, Transfer.Direction.OUT),
        bytes_back=_sum(moved, Transfer.Direction.BACK),
        attempt_count=len(tried),
    )


def _job_ids(workflow: Workflow) -> list[UUID]:
    """Return the jobs that offloaded the work of a workflow, those of earlier tries included."""
    told = [*workflow.metadata.get(processes.OFFLOADING_JOBS, []), workflow.external_id]
    return list(dict.fromkeys(job_id for text in told if (job_id := ids.parse(text))))


def _step(item: HistoryItem) -> Event:
    failed = item.action in (history.FAILED, history.ABORTED, history.TIMEOUT)
    tone = "danger" if failed else "busy" if item.ended_at is None else "quiet"
    return Event(
        kind="step",
        tone=tone,
        title=item.title,
        where=item.instance_label,
        started_at=item.started_at,
        ended_at=item.ended_at,
        text=item.comment or (f"by {item.user}" if item.user else ""),
    )


_FRAME = (history.STARTED, history.COMPLETED)
_TONES = {"": "busy", AttemptOutcome.SUCCEEDED: "good", AttemptOutcome.RELEASED: "warn", AttemptOutcome.STOPPED: "warn"}


def _attempt(number: int, attempt: Attempt, *, is_told: bool) -> Event:
    """Tell of the attempt of that number in its run; without its log if its steps are told, unless it went wrong."""
    said = attempt.get_outcome_display() if attempt.outcome else "runs"
    return Event(
        kind="attempt",
        tone=_TONES.get(attempt.outcome, "danger"),
        title=f"Attempt {number}, fence {attempt.fence}: {said.lower()}",
        where=attempt.instance_label,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        text=attempt.message,
        log="" if is_told and attempt.outcome in ("", AttemptOutcome.SUCCEEDED) else attempt.log,
        job_id=attempt.job_id,
    )


def _transfer(transfer: Transfer) -> Event:
    is_out = transfer.direction == Transfer.Direction.OUT
    stuck = transfer.state in (Transfer.State.PARKED, Transfer.State.FENCED)
    tone = "good" if transfer.state == Transfer.State.DONE else "danger" if stuck else "busy"
    return Event(
        kind="transfer",
        tone=tone,
        title=f"{'Sent to' if is_out else 'Back from'} {transfer.peer_label}: {transfer.get_state_display().lower()}",
        where=transfer.peer_label,
        started_at=transfer.started_at,
        ended_at=transfer.finished_at,
        text=". ".join(part for part in (_travelled(transfer), transfer.error) if part),
        bytes_moved=transfer.bytes_moved,
        job_id=transfer.job_id,
    )


def _travelled(transfer: Transfer) -> str:
    """Say how many files went, so that files which the other side has already do not read like a loss."""
    moved, total = transfer.blobs_moved, transfer.blobs_total
    if not total:
        return "No files to move" if transfer.state == Transfer.State.DONE else ""
    if moved < total and transfer.state == Transfer.State.DONE:
        return f"{moved} of {total} files travelled, the rest was there already"
    return f"{moved} of {total} files travelled"


def _sum(transfers: Iterable[Transfer], direction: str) -> int:
    return sum(transfer.bytes_moved for transfer in transfers if transfer.direction == direction)


def _by(rows: Iterable[Row], name: str) -> dict[object, list[Row]]:
    found: defaultdict[object, list[Row]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(row)
    return found
