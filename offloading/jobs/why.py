"""Why a waiting job does not run yet, in words. `waiting_reasons` is pure; `situation_of` reads what it looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import Q, Subquery

from offloading.jobs import configuration, distribution, manager, pauses, processors, queues
from offloading.models import Job, JobState, Pause, QueueType
from topology.snapshot import TopologyView

# How far the jobs ahead are counted: beyond that "more than" says as much.
COUNTED_AHEAD = 1000


class Kind(StrEnum):
    """What keeps a job waiting. Only the first ones need somebody to act."""

    UNASSIGNED = "unassigned"
    GONE = "gone"
    PAUSED = "paused"
    IGNORED = "ignored"
    DELAYED = "delayed"
    ORDERED = "ordered"
    FULL = "full"
    TURN = "turn"

    @property
    def needs_somebody(self) -> bool:
        return self in (Kind.UNASSIGNED, Kind.GONE, Kind.PAUSED, Kind.IGNORED)


@dataclass(frozen=True)
class WaitingReason:
    """One sentence. `at`: when this one is over by itself, if that is known; `job`: the other job it speaks of.

    Of a delay, the text leads up to that time.
    """

    kind: Kind
    text: str
    at: datetime | None = None
    job: Job | None = None
    instances: tuple[distribution.Reason, ...] = ()


@dataclass(frozen=True)
class Situation:
    """What surrounds a waiting job. `running` and `places` are those of its queue on its target."""

    target_label: str = ""
    is_target_gone: bool = False
    instances: tuple[distribution.Reason, ...] = ()
    pauses: tuple[Pause, ...] = ()
    queue_type: str = QueueType.UNORDERED
    places: int = 1
    running: int = 0
    # The unfinished job that an ordered queue starts first.
    first: Job | None = None
    # Jobs of its queue and target that are ready and come before it; at most COUNTED_AHEAD + 1.
    ahead: int = 0


def waiting_reasons(job: Job, situation: Situation) -> list[WaitingReason]:
    """Say why `job` does not run yet, what somebody has to do first; nothing for a job that does not wait."""
    if job.state != JobState.QUEUED:
        return []
    found = [*_placing(job, situation), *_holding(job, situation)]
    return found or _its_turn(job, situation)


def situation_of(job: Job, view: TopologyView) -> Situation:
    """Read what surrounds a waiting job: a handful of queries, none of which grows with the backlog."""
    settings = configuration.named(job.queue)
    target = view.get(job.target) if job.target else None
    return Situation(
        target_label=target.label if target else job.target,
        is_target_gone=bool(job.target) and target is None,
        instances=tuple(manager.explain(job, view)) if target is None else (),
        pauses=pauses.active().holding(job.queue, job.topic),
        queue_type=settings.type,
        places=queues.parallel(settings, processors.count()),
        running=Job.objects.filter(state=JobState.ACTIVE, queue=job.queue, target=job.target).count(),
        first=_first(job) if settings.type == QueueType.ORDERED else None,
        ahead=_ahead(job, settings.type),
    )


def _placing(job: Job, situation: Situation) -> Sequence[WaitingReason]:
    if not job.target:
        return [WaitingReason(Kind.UNASSIGNED, f"No instance takes topic {job.topic}.", instances=situation.instances)]
    if situation.is_target_gone:
        text = f"Its instance {situation.target_label} is gone. It moves when the topology has settled."
        return [WaitingReason(Kind.GONE, text, instances=situation.instances)]
    return []


def _holding(job: Job, situation: Situation) -> list[WaitingReason]:
    found = [WaitingReason(Kind.PAUSED, _paused(pause), at=pause.until) for pause in situation.pauses]
    if situation.queue_type in (QueueType.IGNORE, QueueType.DROP):
        text = f"Queue {job.queue} keeps its jobs and starts none, until its type is another one."
        found.append(WaitingReason(Kind.IGNORED, text))
    if job.not_before is not None:
        text = "It is tried again" if job.retry_count else "It was added for later and can start"
        found.append(WaitingReason(Kind.DELAYED, text, at=job.not_before))
    first = situation.first
    if first is not None and first.pk != job.pk:
        found.append(WaitingReason(Kind.ORDERED, _behind(job, first), job=first))
    return found


def _its_turn(job: Job, situation: Situation) -> list[WaitingReason]:
    where = f"Queue {job.queue} on {situation.target_label}"
    if situation.running >= situation.places:
        places = "its one place is taken" if situation.places == 1 else f"all {situation.places} places are taken"
        return [WaitingReason(Kind.FULL, f"{where} is full: {places}. {_line(situation)}")]
    return [WaitingReason(Kind.TURN, f"{where} has a place free. {_line(situation)}")]


def _line(situation: Situation) -> str:
    ahead = situation.ahead
    takes_turns = situation.queue_type == QueueType.TOPIC_ROUND_ROBIN
    jobs = "jobs of its topic" if takes_turns else "jobs"
    if ahead > COUNTED_AHEAD:
        return f"More than {COUNTED_AHEAD:,} {jobs} are ahead of it."
    if ahead > 1:
        return f"{ahead:,} {jobs} are ahead of it."
    if ahead:
        return "One job of its topic is ahead of it." if takes_turns else "One job is ahead of it."
    return "It is the next one of its topic." if takes_turns else "It is the next one."


def _paused(pause: Pause) -> str:
    what = "Queue" if pause.kind == Pause.Kind.QUEUE else "Topic"
    reason = f": {pause.reason}" if pause.reason else ""
    return f"{what} {pause.name} is paused by {pause.paused_by}{reason}"


def _behind(job: Job, first: Job) -> str:
    waiting = "waits for its delay" if first.not_before else "comes first"
    doing = "runs" if first.state == JobState.ACTIVE else waiting
    return f"Queue {job.queue} is ordered, and another job {doing}:"


def _first(job: Job) -> Job | None:
    """Return the job that an ordered queue starts next, or runs; one that was added for later is not in it yet."""
    unfinished = Job.objects.filter(queue=job.queue).defer("properties")
    running = unfinished.filter(state=JobState.ACTIVE).order_by("rank_at", "pk").first()
    if running is not None:
        return running
    waiting = unfinished.filter(state=JobState.QUEUED)
    entered = waiting.exclude(not_before__isnull=False, started_at=None, fence=0)
    return entered.order_by("rank_at", "pk").first()


def _ahead(job: Job, queue_type: str) -> int:
    ready = Job.objects.filter(state=JobState.QUEUED, not_before=None, target=job.target, queue=job.queue)
    if queue_type == QueueType.TOPIC_ROUND_ROBIN:
        ready = ready.filter(topic=job.topic)
    # As it is stored: SQLite compares times as text, and the same time may be written with more or fewer digits.
    rank_at = Subquery(Job.objects.filter(pk=job.pk).values("rank_at")[:1])
    before = Q(rank_at__lt=rank_at) | Q(rank_at=rank_at, pk__lt=job.pk)
    # The first condition lets the index end where the job stands.
    return ready.filter(rank_at__lte=rank_at).filter(before).order_by("rank_at", "pk")[: COUNTED_AHEAD + 1].count()
