"""Giving waiting jobs a target: when they are added, and again whenever theirs is gone or no longer takes the topic.

What the target is, `distribution` decides; which jobs move to idle instances, `balance`. Here are the reads and the
guarded writes around them; all are safe to repeat and to run in several processes at once.
"""

import logging
import random
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from offloading import capabilities
from offloading.jobs import balance, configuration, distribution, loads, signals, statements, transitions
from offloading.jobs.distribution import Load
from offloading.jobs.remembered import Remembered
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState, QueueType
from topology import services as topology
from topology import wakeup
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

# How old the picture may be by which `current` places jobs. What that puts in a wrong place is moved by its dispatcher.
CACHE_SECONDS = 0.5
_BATCH = 500
# Whose turn it is, by topic. Each process begins somewhere else, or many of them would all favour the first instance.
_turns: Counter[str] = Counter()
_first_turn = random.randrange(1000)


class Placer:
    """Chooses targets with one picture of topology, switches and loads. Safe to use from several threads.

    It counts what it placed itself on top of the loads it read, so that a burst of jobs is spread evenly.
    """

    def __init__(self, view: TopologyView | None = None) -> None:
        self.view = view or topology.current_view()
        self.capabilities = capabilities.of_view(self.view)
        self.loads = loads.of_view(self.view)
        self._candidates: dict[tuple[str, str, bool], distribution.Candidates] = {}
        self._lock = threading.Lock()

    def choose(self, *, topic: str, creator: str, origin: str = "", turn: int | None = None) -> distribution.Choice:
        """Choose a target for a job that will be placed there; with a `turn`, for one of which is only spoken."""
        candidates = self.candidates(topic=topic, creator=creator, is_copy=bool(origin))
        if turn is not None:
            return candidates.choose(self.loads, turn)
        with self._lock:
            _turns[topic] += 1
            choice = candidates.choose(self.loads, _first_turn + _turns[topic])
            if choice.target:
                load = self.loads[choice.target]
                self.loads[choice.target] = Load(load.waiting + 1, load.running, load.slots)
        return choice

    def candidates(self, *, topic: str, creator: str, is_copy: bool) -> distribution.Candidates:
        """Return who may get jobs of this topic that instance `creator` added, or that came from another cluster."""
        key = (topic, creator, is_copy)
        if key not in self._candidates:
            queue = configuration.queue_of(topic).settings
            wishes = distribution.Wishes(
                creator,
                stays_in_cluster=is_copy,
                is_ordered=queue.type == QueueType.ORDERED,
                prefers_creator=queue.prefer_run_on_creation_instance,
                is_for_leader=settings.OFFLOADING_DISABLE_DISTRIBUTION,
            )
            self._candidates[key] = distribution.candidates(
                view=self.view, capabilities=self.capabilities, topic=topic, wishes=wishes
            )
        return self._candidates[key]

    def takes(self, sling_id: str, topic: str) -> bool:
        """Say whether that instance is there and takes the topic."""
        capability = self.capabilities.get(sling_id)
        return capability is not None and capability.takes(topic)


_remembered = Remembered(Placer, lambda: CACHE_SECONDS)


def current() -> Placer:
    """Return a placer whose picture is at most CACHE_SECONDS old. Costs nothing but every now and then."""
    return _remembered.get()


def forget() -> None:
    """Have the next `current` look anew: something changed that decides about targets."""
    _remembered.forget()


def wake(view: TopologyView, target: str) -> None:
    """Wake whoever starts the jobs of `target`, once the transaction is committed."""
    if target and view.is_local_member(target):
        wakeup.notify("jobs", target)
    elif target:
        wakeup.notify("transport")


# --- Jobs in the wrong place --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pile:
    """Waiting jobs of one instance, queue and topic: those that are ready, or those that wait for a time."""

    target: str
    queue: str
    topic: str
    is_delayed: bool

    def jobs(self) -> QuerySet[Job]:
        """Return the jobs, in the order in which they will run."""
        waiting = Job.objects.filter(state=JobState.QUEUED, not_before__isnull=not self.is_delayed)
        order = ("not_before", "id") if self.is_delayed else ("rank_at", "id")
        return waiting.filter(target=self.target, queue=self.queue, topic=self.topic).order_by(*order)


@dataclass(frozen=True)
class Group:
    """The jobs of a pile that are alike in all that decides about their target."""

    pile: Pile
    application: str
    origin: str

    def jobs(self) -> QuerySet[Job]:
        return self.pile.jobs().filter(application=self.application, origin=self.origin)

    def choose(self, placer: Placer) -> str:
        return placer.choose(topic=self.pile.topic, creator=self.application, origin=self.origin).target


def settle(view: TopologyView | None = None, *, target: str | None = None, most: int | None = None) -> int:
    """Place every waiting job that has no target or a wrong one; return how many moved.

    With `target`, look only at the jobs of that instance and at those without one; with `most`, stop when about so many
    have moved. Does nothing while the topology changes.
    """
    placer = Placer(view)
    return _settle(placer, _piles() if target is None else _piles("target IN (%s, %s)", "", target), most)


def settle_lost(view: TopologyView) -> int:
    """Place the waiting jobs that have no target, or one that is gone; return how many moved. Cheaper than `settle`."""
    here = [each.sling_id for each in view.instances]
    return _settle(Placer(view), _piles(f"target NOT IN ({', '.join(['%s'] * len(here))})", *here), None)


def _settle(placer: Placer, piles: Iterable[Pile], most: int | None) -> int:
    forget()
    if not placer.view.is_current:
        return 0
    moved = 0
    for group in _misplaced(placer, piles):
        for count in _place(placer, group):
            moved += count
            if most is not None and moved >= most:
                return moved
    return moved


def _piles(condition: str = "1 = 1", *parameters: str) -> Iterator[Pile]:
    """Yield what waits, of the jobs that fulfil the condition. All that is read stands in an index of those jobs."""
    for is_delayed in (False, True):
        rows = statements.run(
            "SELECT DISTINCT target, queue, topic FROM offloading_job "
            f"WHERE state = 'QUEUED' AND not_before IS {'NOT ' * is_delayed}NULL AND {condition}",
            parameters,
        )
        yield from (Pile(target, queue, topic, is_delayed) for target, queue, topic in rows)


def _misplaced(placer: Placer, piles: Iterable[Pile]) -> Iterator[Group]:
    """Yield the groups of jobs that are in a wrong place or in none."""
    for pile in piles:
        is_here = placer.view.is_local_member(pile.target)
        is_ordered = configuration.queue_of(pile.topic).settings.type == QueueType.ORDERED
        is_taken = placer.takes(pile.target, pile.topic)
        if is_taken and is_here and not is_ordered:
            continue
        for application, origin in list(pile.jobs().order_by().values_list("application", "origin").distinct()):
            ids = placer.candidates(topic=pile.topic, creator=application, is_copy=bool(origin)).ids
            # An instance of another cluster keeps what waits for it although one here could do it by now.
            is_well_placed = pile.target in ids[:1] if is_ordered else is_taken and (is_here or not origin)
            if not is_well_placed:
                yield Group(pile, application, origin)


def _place(placer: Placer, group: Group) -> Iterator[int]:
    """Move the jobs of a group batch by batch; yield how many each time."""
    pile = group.pile
    has_place = placer.candidates(topic=pile.topic, creator=group.application, is_copy=bool(group.origin)).ids
    if not has_place and group.origin:
        for job_id in list(group.jobs().values_list("id", flat=True)):
            yield _return_copy(job_id, pile.topic)
    elif has_place or pile.target:
        # What has moved is no longer in the group, so the first batch is always the next one.
        while moved := _place_batch(placer, group):
            yield moved


def _place_batch(placer: Placer, group: Group) -> int:
    pile = group.pile
    with transaction.atomic():
        ids = list(group.jobs().select_for_update(skip_locked=True).values_list("id", flat=True)[:_BATCH])
        changes = [_change(id_, pile.topic, pile.queue, group.origin, group.choose(placer)) for id_ in ids]
        _write(placer, pile.target, changes)
    return len(ids)


def _return_copy(job_id: uuid.UUID, topic: str) -> int:
    """Send a copy from another installation back to where it came from."""
    message = f"No instance of this cluster takes topic {topic!r} any more: the job goes back to its origin."
    return int(transitions.drop_waiting(job_id=job_id, message=message))


# --- Jobs that wait beside idle instances -------------------------------------------------------------------------


def rebalance(view: TopologyView) -> int:
    """Give waiting jobs of instances that are far behind to idle ones of this cluster; return how many moved.

    Costs one bounded query while nobody is; `view` is enough for that, and looked at again before anything moves.
    """
    if not balance.could_give(_loads_here(view, loads.of_view(view))):
        return 0
    placer = Placer()
    known = _loads_here(placer.view, placer.loads)
    givers = balance.could_give(known)
    if not givers or not placer.view.is_current:
        return 0
    piles = _movable(placer, givers)
    for giver in givers:  # what was counted at most, exactly
        waiting = sum(pile.count for pile in piles if pile.target == giver)
        known[giver] = Load(max(waiting, known[giver].waiting), known[giver].running, known[giver].slots)
    moves = balance.plan(known, [pile for pile in piles if pile.takers])
    return sum(_shift(placer, move) for move in moves)


def _loads_here(view: TopologyView, found: Mapping[str, Load]) -> dict[str, Load]:
    return {each.sling_id: found[each.sling_id] for each in view.local_cluster.instances}


def _movable(placer: Placer, givers: Sequence[str]) -> list[balance.Pile]:
    """Count what waits for the givers, and find who else could have it: nobody for what stays where it is."""
    rows = statements.run(
        "SELECT target, queue, topic, COUNT(*) FROM offloading_job WHERE state = 'QUEUED' AND not_before IS NULL "
        f"AND target IN ({', '.join(['%s'] * len(givers))}) GROUP BY target, queue, topic",
        givers,
    )
    return [
        balance.Pile(giver, queue, topic, count, _takers(placer, giver, topic)) for giver, queue, topic, count in rows
    ]


def _takers(placer: Placer, giver: str, topic: str) -> tuple[str, ...]:
    if configuration.queue_of(topic).settings.type in (QueueType.ORDERED, QueueType.IGNORE):
        return ()
    # As for a job that came from another installation: only this cluster is looked at, and nobody is preferred.
    ids = placer.candidates(topic=topic, creator="", is_copy=True).ids
    return tuple(sling_id for sling_id in ids if sling_id != giver)


def _shift(placer: Placer, move: balance.Move) -> int:
    """Carry out a move, batch by batch, the last jobs first; return how many moved."""
    pile = Pile(move.pile.target, move.pile.queue, move.pile.topic, is_delayed=False)
    jobs, left = pile.jobs().reverse(), move.count
    if configuration.queue_of(pile.topic).settings.prefer_run_on_creation_instance:
        jobs = jobs.exclude(application__in=[each.sling_id for each in placer.view.instances])
    while left > 0:
        with transaction.atomic():
            rows = jobs.select_for_update(skip_locked=True).values_list("id", "origin")[: min(left, _BATCH)]
            changes = [_change(job_id, pile.topic, pile.queue, origin, move.to) for job_id, origin in rows]
            _write(placer, pile.target, changes)
        if not changes:
            break
        left -= len(changes)
    return move.count - left


# --- Writing ------------------------------------------------------------------------------------------------------


def _change(job_id: uuid.UUID, topic: str, queue: str, origin: str, target: str) -> JobChange:
    return JobChange(job_id, topic, JobState.QUEUED, JobState.QUEUED, queue, origin, target)


def _write(placer: Placer, old: str, changes: Sequence[JobChange]) -> None:
    """Give jobs, which the caller has locked as waiting for `old`, their new targets; tell of it and wake those."""
    by_target: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    for change in changes:
        by_target[change.target].append(change.job_id)
    for target, ids in by_target.items():
        Job.objects.filter(id__in=ids, state=JobState.QUEUED, target=old).update(target=target)
        wake(placer.view, target)
    if changes:
        counts = {target: len(ids) for target, ids in by_target.items()}
        logger.info("jobs moved", extra={"topic": changes[0].topic, "old": old, "new": counts})
    signals.tell(*changes)
