"""What each queue is doing now: its settings, what waits and runs in it, whether it is paused, how the last hour went.

A configuration with a placeholder makes queues as jobs come; those that have jobs are listed behind it.
"""

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Q

from offloading.jobs import conditions, configuration, depths, pauses, queues, statistics
from offloading.jobs.queues import QueueSettings
from offloading.models import UNFINISHED, Job, JobState, Pause

MINUTES = 60


@dataclass(frozen=True)
class QueueState:
    """One queue, or a configuration that makes queues (`makes_queues`): that one has no jobs of its own.

    `ready` jobs could start, `delayed` ones wait for a time, `active` ones run. `throughput` is the number of jobs
    processed in each of the last minutes. `is_configured` is False for a queue that lives on by its jobs alone.
    """

    name: str
    settings: QueueSettings
    makes_queues: bool = False
    is_made: bool = False
    is_configured: bool = True
    ready: int = 0
    delayed: int = 0
    active: int = 0
    oldest_at: datetime | None = None
    pause: Pause | None = None
    throughput: list[int] = field(default_factory=lambda: [0] * MINUTES)

    @property
    def waiting(self) -> int:
        """Return how many are queued, the delayed ones among them: the list of jobs counts like that."""
        return self.ready + self.delayed

    @property
    def unfinished(self) -> int:
        return self.waiting + self.active


@dataclass(frozen=True)
class TopicState:
    """The unfinished jobs of one topic in a queue, and what pauses them beside the queue's own pause."""

    topic: str
    ready: int
    delayed: int
    active: int
    pause: Pause | None

    @property
    def waiting(self) -> int:
        return self.ready + self.delayed


def read() -> list[QueueState]:
    """Return all queues in the order in which their configurations are asked, then those that are left over."""
    known = configuration.current()
    facts = _Facts()
    rest = facts.names - {each.name for each in known if not queues.has_placeholder(each)}
    states: list[QueueState] = []
    for settings in known:
        if not queues.has_placeholder(settings):
            states.append(facts.of(settings.name, settings))
            continue
        made = sorted(name for name in rest if queues.find(name, known) == settings)
        rest -= set(made)
        states.append(QueueState(settings.name, settings, makes_queues=True))
        states += [facts.of(name, settings, is_made=True) for name in made]
    return states + [facts.of(name, known[-1], is_configured=False) for name in sorted(rest)]


def one(name: str) -> QueueState | None:
    """Return one queue or configuration by its name, also a queue that a placeholder could make; None if none could."""
    known = configuration.current()
    settings = next((each for each in known if each.name == name), None) or queues.find(name, known)
    if settings and queues.has_placeholder(settings) and settings.name == name:
        return QueueState(name, settings, makes_queues=True)
    facts = _Facts()
    if settings:
        return facts.of(name, settings, is_made=queues.has_placeholder(settings))
    return facts.of(name, known[-1], is_configured=False) if name in facts.names else None


def topics(queue: str) -> list[TopicState]:
    """Return the topics that have unfinished jobs in a queue."""
    ready, delayed = Q(state=JobState.QUEUED, not_before=None), Q(state=JobState.QUEUED, not_before__isnull=False)
    rows = Job.objects.filter(conditions.HasState(*UNFINISHED), queue=queue).values("topic").order_by("topic")
    counted = rows.annotate(
        ready=Count("pk", filter=ready),
        delayed=Count("pk", filter=delayed),
        active=Count("pk", filter=Q(state=JobState.ACTIVE)),
    )
    active = pauses.active()
    return [TopicState(**row, pause=next(iter(active.holding("", row["topic"])), None)) for row in counted]


class _Facts:
    """What is known of the queues that have jobs or are paused, read with the same few statements for all of them."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int, int]] = {}
        for depth in depths.read():
            ready, delayed, active = self._counts.get(depth.queue, (0, 0, 0))
            self._counts[depth.queue] = (ready + depth.ready, delayed + depth.delayed, active + depth.active)
        self._pauses = {row.name: row for row in pauses.active().rows if row.kind == Pause.Kind.QUEUE}
        self._throughputs = statistics.throughputs(MINUTES)
        self.names = {*self._counts, *self._pauses}

    def of(
        self, name: str, settings: QueueSettings, *, is_made: bool = False, is_configured: bool = True
    ) -> QueueState:
        ready, delayed, active = self._counts.get(name, (0, 0, 0))
        return QueueState(
            name,
            settings,
            is_made=is_made,
            is_configured=is_configured,
            ready=ready,
            delayed=delayed,
            active=active,
            oldest_at=_oldest(name) if ready else None,
            pause=self._pauses.get(name),
            throughput=self._throughputs.get(name, [0] * MINUTES),
        )


def _oldest(queue: str) -> datetime | None:
    """Return since when the first in line has waited: one look at an index, however long the line is."""
    unfinished = Job.objects.filter(conditions.HasState(*UNFINISHED), queue=queue)
    waiting = unfinished.filter(state=JobState.QUEUED, not_before=None)
    return waiting.order_by("rank_at", "id").values_list("queued_at", flat=True).first()
