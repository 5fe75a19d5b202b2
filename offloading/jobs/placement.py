"""Giving waiting jobs a target: when they are added, and again whenever theirs is gone or no longer takes the topic.

What the target is, `distribution` decides. Here are the reads and the guarded writes around it; all are safe to repeat
and to run in several processes at once.
"""

import logging
import random
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from offloading import capabilities
from offloading.jobs import distribution, outcomes, signals
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState
from topology import services as topology
from topology import wakeup
from topology.snapshot import TopologyView

logger = logging.getLogger(__name__)

_BATCH = 500
# Whose turn it is, by topic. Each process begins somewhere else, or many of them would all favour the first instance.
_turns: Counter[str] = Counter()
_turns_lock = threading.Lock()
_first_turn = random.randrange(1000)


@dataclass(frozen=True)
class Group:
    """Waiting jobs that are alike in all that decides about their target."""

    topic: str
    target: str
    application: str
    origin: str


class Placer:
    """Chooses targets with one picture of the topology: take a new one for every piece of work."""

    def __init__(self, view: TopologyView | None = None) -> None:
        self.view = view or topology.current_view()
        self.capabilities = capabilities.of_view(self.view)

    def choose(self, *, topic: str, creator: str, origin: str = "", turn: int | None = None) -> distribution.Choice:
        """Choose a target; among equals by `turn`, or the next in turn."""
        return distribution.choose(
            view=self.view,
            capabilities=self.capabilities,
            topic=topic,
            creator=creator,
            turn=_next_turn(topic) if turn is None else turn,
            stays_in_cluster=bool(origin),
        )

    def is_well_placed(self, group: Group) -> bool:
        """Say whether the jobs of `group` can stay where they are."""
        capability = self.capabilities.get(group.target)
        is_near_enough = not group.origin or self.view.is_local_member(group.target)
        return capability is not None and capability.takes(group.topic) and is_near_enough


def settle(view: TopologyView | None = None, *, target: str | None = None) -> int:
    """Place every waiting job that has no target or a wrong one; return how many moved.

    With `target`, look at the jobs of that instance and at those without one. Does nothing while the topology changes.
    """
    placer = Placer(view)
    if not placer.view.is_current:
        return 0
    waiting = Job.objects.filter(state=JobState.QUEUED)
    if target is not None:
        waiting = waiting.filter(target__in=["", target])
    columns = waiting.order_by().values_list("topic", "target", "application", "origin").distinct()
    groups = [Group(*row) for row in columns]
    return sum(_place_group(placer, group) for group in groups if not placer.is_well_placed(group))


def move_away(job_ids: Iterable[uuid.UUID], *, target: str) -> None:
    """Take the target from jobs that it turned out not to take, and place them again."""
    Job.objects.filter(id__in=list(job_ids), state=JobState.QUEUED, target=target).update(target="")
    settle(target="")


def _place_group(placer: Placer, group: Group) -> int:
    """Move the jobs of `group`, in batches; return how many."""
    choice = placer.choose(topic=group.topic, creator=group.application, origin=group.origin)
    if not choice.target:
        return _unplace(placer, group)
    return sum(_move(placer, group, batch) for batch in _batches(group))


def _move(placer: Placer, group: Group, batch: list[uuid.UUID]) -> int:
    by_target: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    for job_id in batch:
        choice = placer.choose(topic=group.topic, creator=group.application, origin=group.origin)
        by_target[choice.target].append(job_id)
    with transaction.atomic():
        return sum(_retarget(placer, group, ids, target) for target, ids in by_target.items())


def _unplace(placer: Placer, group: Group) -> int:
    """Leave the jobs of `group` without a target; a copy from another installation goes back to where it came from."""
    if group.origin:
        return sum(_return_copy(job_id, group) for batch in _batches(group) for job_id in batch)
    if not group.target:
        return 0
    with transaction.atomic():
        return _retarget(placer, group, None, "")


def _return_copy(job_id: uuid.UUID, group: Group) -> int:
    message = f"No instance of this cluster takes topic {group.topic!r} any more: the job goes back to its origin."
    return int(outcomes.drop_waiting(job_id=job_id, message=message))


def _retarget(placer: Placer, group: Group, ids: list[uuid.UUID] | None, target: str) -> int:
    waiting = _waiting(group) if ids is None else _waiting(group).filter(id__in=ids)
    first = waiting.order_by().values_list("id", flat=True).first()
    moved = waiting.update(target=target)
    if moved and first:
        signals.tell(
            JobChange(first, group.topic, JobState.QUEUED, JobState.QUEUED, "", group.origin, target),
        )
        logger.info("jobs moved", extra={"topic": group.topic, "count": moved, "old": group.target, "new": target})
        wake(placer.view, target)
    return moved


def wake(view: TopologyView, target: str) -> None:
    """Wake whoever starts the jobs of `target`, once the transaction is committed."""
    if target and view.is_local_member(target):
        wakeup.notify("jobs", target)
    elif target:
        wakeup.notify("transport")


def _waiting(group: Group) -> QuerySet[Job]:
    return Job.objects.filter(
        state=JobState.QUEUED,
        topic=group.topic,
        target=group.target,
        application=group.application,
        origin=group.origin,
    )


def _batches(group: Group) -> Iterator[list[uuid.UUID]]:
    """Yield the ids of the jobs of `group`, oldest first, while they are still there."""
    last: uuid.UUID | None = None
    while True:
        rest = _waiting(group) if last is None else _waiting(group).filter(id__gt=last)
        ids = list(rest.order_by("id").values_list("id", flat=True)[:_BATCH])
        if not ids:
            return
        yield ids
        last = ids[-1]


def _next_turn(topic: str) -> int:
    with _turns_lock:
        _turns[topic] += 1
        return _first_turn + _turns[topic]
