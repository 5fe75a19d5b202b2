"""The queue configurations of this installation: reading, changing and removing them. Which one a topic gets is said
in `queues`.

A change applies at once and everywhere: waiting jobs move to the queue that is now theirs, and every instance is told.
Running jobs go on under the queue they started in.
"""

import logging
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction
from django.db.models.functions import Now
from django.dispatch import Signal

from offloading import exceptions
from offloading.jobs import processors, queues
from offloading.jobs.queues import Queue, QueueSettings
from offloading.jobs.remembered import Remembered
from offloading.models import Job, JobState, QueueConfiguration
from topology import wakeup

logger = logging.getLogger(__name__)

# How old what a process knows of the configurations may be. Its own changes and those it is told of apply at once.
CACHE_SECONDS = 0.5
# Jobs per statement; SQLite takes 32,766 parameters.
_MOVED_AT_ONCE = 5_000
# Sent inside the transaction in which a configuration or a pause was made, changed or removed.
queues_changed = Signal()
_FIELDS = tuple(each.name for each in fields(QueueSettings))


@dataclass(frozen=True)
class _Snapshot:
    """The configurations as they were read, and what was worked out from them since."""

    configurations: tuple[QueueSettings, ...]
    of_topic: dict[str, Queue] = field(default_factory=dict)
    of_name: dict[str, QueueSettings] = field(default_factory=dict)


# --- Reading ------------------------------------------------------------------------------------------------------


def current() -> tuple[QueueSettings, ...]:
    """Return all configurations in the order in which they are asked; the last one is the main queue."""
    return _remembered.get().configurations


def queue_of(topic: str) -> Queue:
    """Return the queue that a new job of this topic gets."""
    snapshot = _remembered.get()
    if topic not in snapshot.of_topic:
        snapshot.of_topic[topic] = queues.choose(topic, snapshot.configurations)
    return snapshot.of_topic[topic]


def for_job(topic: str) -> QueueSettings:
    """Return the settings that the next attempt of a job of this topic runs by."""
    return queue_of(topic).settings


def named(queue_name: str) -> QueueSettings:
    """Return the settings of a queue by the name that stands on its jobs; those of the main queue if none fits."""
    snapshot = _remembered.get()
    if queue_name not in snapshot.of_name:
        found = queues.find(queue_name, snapshot.configurations)
        snapshot.of_name[queue_name] = found or snapshot.configurations[-1]
    return snapshot.of_name[queue_name]


def get(name: str) -> QueueSettings:
    """Return one configuration as it is stored now. Raises QueueMissing if there is none of that name."""
    found = next((each for each in _read().configurations if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in current())
        raise exceptions.QueueMissing(f"No queue is configured under the name {name!r}. There are: {known}.")
    return found


def forget() -> None:
    """Read the configurations anew next time."""
    _remembered.forget()


def _read() -> _Snapshot:
    rows = [_settings_of(row) for row in QueueConfiguration.objects.order_by("id")]
    if not any(row.is_main for row in rows):
        rows.append(default_main_queue())
    return _Snapshot(tuple(queues.ranked(rows)))


def default_main_queue() -> QueueSettings:
    """Return the settings of the main queue as long as nobody changed them."""
    return queues.main_queue(
        retries=django_settings.OFFLOADING_JOB_RETRIES,
        retry_delay_seconds=django_settings.OFFLOADING_JOB_RETRY_DELAY_SECONDS,
    )


def _settings_of(row: QueueConfiguration) -> QueueSettings:
    values = {name: getattr(row, name) for name in _FIELDS}
    return QueueSettings(**{**values, "topics": tuple(row.topics)})


_remembered = Remembered(_read, lambda: CACHE_SECONDS)


# --- Changing -----------------------------------------------------------------------------------------------------


def put(settings: QueueSettings, by: str) -> QueueSettings:
    """Store a configuration, new or in place of the one of that name, and move waiting jobs to their queue.

    Raises QueueInvalid, naming each property that is not valid.
    """
    settings = queues.validate(_tidied(settings), processors.count())
    with transaction.atomic():
        values: dict[str, Any] = {**asdict(settings), "topics": list(settings.topics)}
        QueueConfiguration.objects.update_or_create(
            name=settings.name, defaults={**values, "changed_by": by, "changed_at": Now()}
        )
        moved = _changed()
    logger.info("queue configured", extra={"queue": settings.name, "by": by, "moved": moved})
    return settings


def remove(name: str, by: str) -> None:
    """Remove a configuration and move its waiting jobs to the queue that is now theirs.

    For the main queue that brings its default settings back. Raises QueueMissing if there is none of that name.
    """
    with transaction.atomic():
        removed, _ = QueueConfiguration.objects.filter(name=name).delete()
        if not removed and name != queues.MAIN_QUEUE:
            get(name)
        moved = _changed()
    logger.info("queue configuration removed", extra={"queue": name, "by": by, "moved": moved})


def settle() -> int:
    """Move waiting jobs that stand in another queue than their topic's; return how many.

    Only those are left that were added or put back while a configuration was being changed elsewhere.
    """
    configurations = _read().configurations
    waiting = Job.objects.filter(state=JobState.QUEUED).values_list("topic", "queue").order_by("topic", "queue")
    moved = 0
    with transaction.atomic():
        for topic, queue in waiting.distinct():
            name = queues.choose(topic, configurations).name
            if name != queue:
                moved += _move(topic, queue, name)
    return moved


def _move(topic: str, queue: str, name: str) -> int:
    """Move the waiting jobs of a topic from one queue to another, in the order of their ids; return how many."""
    waiting = Job.objects.filter(state=JobState.QUEUED, topic=topic, queue=queue).order_by("id")
    # What another instance is starting just now is left to it: it is not waiting any more.
    free = waiting.select_for_update(skip_locked=True).values_list("id", flat=True)
    moved = 0
    found = list(free[:_MOVED_AT_ONCE])
    while found:
        moved += Job.objects.filter(id__in=found, state=JobState.QUEUED).update(queue=name)
        found = list(free.filter(id__gt=found[-1])[:_MOVED_AT_ONCE])
    return moved


def _changed() -> int:
    moved = settle()
    forget()
    transaction.on_commit(forget)
    tell()
    return moved


def tell() -> None:
    """Let every process see a change of queues or pauses once the transaction is committed."""
    queues_changed.send(sender=QueueSettings)
    wakeup.notify("queues")  # first: who is woken for jobs must not look at what it remembers
    wakeup.notify("jobs")


def _tidied(settings: QueueSettings) -> QueueSettings:
    entries = tuple(entry.strip() for entry in settings.topics if entry.strip())
    return replace(settings, name=queues.legal_name(settings.name), topics=entries)
