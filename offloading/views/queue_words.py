"""The settings of a queue in words, as the screens say them. Pure."""

import math
from collections.abc import Iterator

from offloading.jobs import queues
from offloading.jobs.queues import QueueSettings
from offloading.models import QueueConfiguration, QueueType

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def sentences(settings: QueueSettings, processors: int) -> list[str]:
    """Say what the settings do, what matters most first. `processors` is the number of this machine."""
    if settings.type == QueueType.DROP:
        return ["New jobs are refused"]
    if settings.type == QueueType.IGNORE:
        return ["Jobs are kept and none is started"]
    return [parallel(settings, processors), retries(settings), *_others(settings)]


def parallel(settings: QueueSettings, processors: int) -> str:
    """Say how many jobs run at once."""
    if settings.type == QueueType.ORDERED:
        return "One at a time in the whole cluster, in order"
    turns = ", topics taking turns" if settings.type == QueueType.TOPIC_ROUND_ROBIN else ""
    return _places(settings, queues.parallel(settings, processors)) + turns


def _places(settings: QueueSettings, here: int) -> str:
    asked = settings.max_parallel
    if 0 < asked < 1:
        return f"{asked * 100:.3g} % of the processors of each instance at once, {here} here"
    if math.isfinite(asked) and asked == here and asked >= 1:
        return "One at a time on each instance" if here == 1 else f"Up to {here} at once on each instance"
    return f"One at once for each processor, {here} here"


def retries(settings: QueueSettings) -> str:
    """Say when a failed job is tried again."""
    if settings.retries == 0:
        return "No retries"
    often = "Retries without end" if settings.retries < 0 else _count(settings.retries)
    return often + _pace(settings) + (", also after an exception" if settings.retry_on_exception else "")


def _count(number: int) -> str:
    return "One retry" if number == 1 else f"Up to {number} retries"


def _pace(settings: QueueSettings) -> str:
    if settings.retry_delay_seconds <= 0:
        return " at once"
    first = seconds(settings.retry_delay_seconds)
    spread = f" (± {settings.jitter * 100:.3g} %)" if settings.jitter else ""
    if settings.retries == 1:
        return f" after {first}{spread}"
    if settings.backoff_factor == 1:
        return f", each after {first}{spread}"
    limit = seconds(max(settings.max_retry_delay_seconds, settings.retry_delay_seconds))
    return f", after {first} and each time {settings.backoff_factor:g} times that, at most {limit}{spread}"


def _others(settings: QueueSettings) -> Iterator[str]:
    if settings.time_limit_seconds:
        yield f"At most {seconds(settings.time_limit_seconds)} for an attempt"
    if settings.keep_jobs:
        yield "Succeeded jobs are kept"
    if settings.prefer_run_on_creation_instance:
        yield "Runs where the job was created, if that can"
    if settings.priority != QueueConfiguration.Priority.NORM:
        yield f"{QueueConfiguration.Priority(settings.priority).label} priority"


def seconds(span: float) -> str:
    """Say a span in the largest unit that makes a whole number of it: 90 s, 2 min, 1 h."""
    size, unit = next(((size, unit) for size, unit in _UNITS if span >= size and span % size == 0), (1, "s"))
    return f"{span / size:g} {unit}"
