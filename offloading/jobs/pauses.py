"""Pauses: what of a paused queue or topic waits does not start, anywhere in the cluster, until it is resumed.

A pause is a row, so it outlives restarts. Running jobs are not touched. A topic pause names one topic, or all below it
(`a/**`).
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from offloading import exceptions
from offloading.jobs import configuration, queues, topics
from offloading.jobs.remembered import Remembered
from offloading.models import UNFINISHED, Job, Pause

logger = logging.getLogger(__name__)

# How old what a process knows of the pauses may be. Its own changes and those it is told of apply at once.
CACHE_SECONDS = 0.5
REASON_LENGTH = 500
_DEEP = "/**"


@dataclass(frozen=True)
class Pauses:
    """What is paused. `topics` holds topics and deep patterns as `a/**`; `rows` has everything, oldest first."""

    queues: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    rows: tuple[Pause, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rows)

    def holding(self, queue: str, topic: str) -> tuple[Pause, ...]:
        """Return the pauses that keep a job of this queue and topic from starting."""
        return tuple(row for row in self.rows if _holds(row, queue, topic))

    def jobs(self) -> Q:
        """Return the condition of the jobs that are held: one that no job meets when nothing is paused."""
        deep = [pattern for pattern in self.topics if pattern.endswith(_DEEP)]
        condition = Q(queue__in=self.queues) | Q(topic__in=self.topics)
        for pattern in sorted(deep):
            condition |= Q(topic__startswith=pattern.removesuffix("**"))
        return condition


def active() -> Pauses:
    """Return what is paused now; a pause whose time is over does not count."""
    return _remembered.get()


def pause(*, kind: str, name: str, by: str, reason: str = "", until: datetime | None = None) -> Pause:
    """Pause a queue or a topic, everywhere and at once. Said again, the new reason and end take the place of the old.

    `until` None means until somebody resumes it. Raises PauseInvalid, naming each property that is not valid.
    """
    name, reason = name.strip(), reason.strip()
    problems = _problems(kind, name, by, reason, until)
    if problems:
        raise exceptions.PauseInvalid(problems)
    with transaction.atomic():
        row, _ = Pause.objects.update_or_create(
            kind=kind, name=name, defaults={"reason": reason, "paused_by": by, "paused_at": Now(), "until": until}
        )
        row.refresh_from_db()
        _changed()
    logger.info("paused", extra={"kind": kind, "name_paused": name, "by": by, "reason": reason, "until": until})
    return row


def resume(*, kind: str, name: str, by: str) -> bool:
    """Let a queue or topic go on, everywhere and at once; return whether it was paused."""
    with transaction.atomic():
        removed, _ = Pause.objects.filter(kind=kind, name=name.strip()).delete()
        if removed:
            _changed()
    if removed:
        logger.info("resumed", extra={"kind": kind, "name_paused": name, "by": by})
    return bool(removed)


def expire() -> int:
    """Remove the pauses whose time is over; return how many."""
    with transaction.atomic():
        removed, _ = Pause.objects.filter(until__lte=Now()).delete()
        if removed:
            _changed()
    return removed


def forget() -> None:
    """Read the pauses anew next time."""
    _remembered.forget()


def _read() -> Pauses:
    rows = tuple(Pause.objects.filter(Q(until=None) | Q(until__gt=Now())).order_by("paused_at", "id"))
    named = {
        kind: frozenset(row.name for row in rows if row.kind == kind) for kind in (Pause.Kind.QUEUE, Pause.Kind.TOPIC)
    }
    return Pauses(named[Pause.Kind.QUEUE], named[Pause.Kind.TOPIC], rows)


_remembered = Remembered(_read, lambda: CACHE_SECONDS)


def _changed() -> None:
    forget()
    transaction.on_commit(forget)
    configuration.tell()


def _holds(row: Pause, queue: str, topic: str) -> bool:
    if row.kind == Pause.Kind.QUEUE:
        return row.name == queue
    if row.name.endswith(_DEEP):
        return topic.startswith(row.name.removesuffix("**"))
    return row.name == topic


def _problems(kind: str, name: str, by: str, reason: str, until: datetime | None) -> dict[str, str]:
    if kind not in Pause.Kind.values:
        return {"kind": f"{kind!r} is none of: {', '.join(Pause.Kind.values)}."}
    checks = {
        "name": _queue_problem(name) if kind == Pause.Kind.QUEUE else _topic_problem(name),
        "by": "" if by else "Say who pauses it.",
        "reason": "" if len(reason) <= REASON_LENGTH else f"A reason has at most {REASON_LENGTH} characters.",
        "until": _until_problem(until),
    }
    return {name: problem for name, problem in checks.items() if problem}


def _queue_problem(name: str) -> str:
    known = configuration.current()
    if queues.find(name, known) or Job.objects.filter(queue=name, state__in=UNFINISHED).exists():
        return ""
    return f"There is no queue {name!r}. Configured are: {', '.join(each.name for each in known)}."


def _topic_problem(name: str) -> str:
    try:
        topics.validate(name.removesuffix(_DEEP))
    except exceptions.TopicInvalid as error:
        return f"{error}. Pause one topic, or all below it with a/**."
    return ""


def _until_problem(until: datetime | None) -> str:
    if until is None:
        return ""
    if timezone.is_naive(until):
        return "Give the end with its time zone, as in 2030-01-31T18:00+01:00."
    return "" if until > timezone.now() else "Give an end that is still to come, or none."
