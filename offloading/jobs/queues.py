"""Queues: which one a job of a topic gets, how many of its jobs run at once, and when a failed one is tried again.

Pure. The rules are those of Sling's queue configurations, with two differences: `a/**` is as deep as `a/*` (there it
matches nothing), and a share of the processors that is too small for a machine is one place there (so that the answer
to "which queue?" is the same on every machine). The configurations themselves are kept by `configuration`.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from offloading import exceptions
from offloading.jobs import topics as job_topics
from offloading.models import QueueConfiguration, QueueType

MAIN_QUEUE = "<main queue>"
NAME_LENGTH = 255
TOPIC_ENTRIES = 500
_EVERYTHING = ("*", "**")
_PLACEHOLDER = "{0}"
_ILLEGAL = re.compile(r"[^A-Za-z0-9 _,.\-+#!?$%&()=]")
# A number of places that no machine has: what is larger is a mistake, and an integer column has an end.
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class QueueSettings:
    """One configuration, with the fields of models.QueueConfiguration."""

    name: str
    topics: tuple[str, ...]
    type: str = QueueType.UNORDERED
    max_parallel: float = 15.0
    retries: int = 10
    retry_delay_seconds: float = 2.0
    backoff_factor: float = 1.0
    max_retry_delay_seconds: float = 3600.0
    jitter: float = 0.0
    retry_on_exception: bool = False
    time_limit_seconds: float = 0.0
    priority: str = QueueConfiguration.Priority.NORM
    keep_jobs: bool = False
    prefer_run_on_creation_instance: bool = False
    ranking: int = 0

    @property
    def is_main(self) -> bool:
        return self.name == MAIN_QUEUE


@dataclass(frozen=True)
class Queue:
    """A queue as a job has it: its name, computed from the topic, and the settings it was made from."""

    name: str
    settings: QueueSettings


def main_queue(*, retries: int = 10, retry_delay_seconds: float = 2.0) -> QueueSettings:
    """Return the settings of the queue for all topics that no configuration takes, as long as nobody changed them."""
    return QueueSettings(MAIN_QUEUE, ("*",), retries=retries, retry_delay_seconds=retry_delay_seconds)


# --- Which queue --------------------------------------------------------------------------------------------------


def choose(topic: str, configurations: Iterable[QueueSettings]) -> Queue:
    """Return the queue of `topic`: that of the first valid configuration, by ranking, that matches it.

    Equal rankings keep the order they come in. A more specific match does not win. The main queue is always the last:
    with the settings that are among `configurations`, or with the default ones.
    """
    main = main_queue()
    for settings in ranked(configurations):
        if settings.is_main:
            main = settings
            continue
        part = match(topic, settings.topics)
        if part is not None and not problems(settings):
            return Queue(computed_name(settings.name, part), settings)
    return Queue(MAIN_QUEUE, main)


def ranked(configurations: Iterable[QueueSettings]) -> list[QueueSettings]:
    """Return the configurations in the order in which they are asked: by ranking, the main queue last."""
    return sorted(configurations, key=lambda settings: (settings.is_main, -settings.ranking))


def match(topic: str, entries: Iterable[str]) -> str | None:
    """Return what `{0}` stands for if one of `entries` takes `topic`, otherwise None. The first that does decides."""
    trimmed = [entry.strip() for entry in entries]
    if any(entry in _EVERYTHING for entry in trimmed):
        return topic
    parts = (_match(topic, entry) for entry in trimmed if entry)
    return next((part for part in parts if part is not None), None)


def _match(topic: str, entry: str) -> str | None:
    base = _base(entry)
    if base == entry:
        return "" if topic == entry else None
    if not base or not topic.startswith(f"{base}/"):
        return None
    below = topic.removeprefix(f"{base}/")
    return None if entry.endswith(".") and "/" in below else below


def _base(entry: str) -> str:
    """Return the topic that an entry speaks of: `a` for `a`, `a.`, `a/.`, `a*`, `a/*` and `a/**`."""
    if entry.endswith("."):
        return entry[:-1].removesuffix("/")
    if entry.endswith("/**"):
        return entry.removesuffix("/**")
    if entry.endswith("*"):
        return entry[:-1].removesuffix("/")
    return entry


def computed_name(name: str, part: str) -> str:
    """Return the name of the queue that a configuration makes for the matched part of a topic."""
    return name_filter(name.replace(_PLACEHOLDER, part))[:NAME_LENGTH]


def legal_name(name: str) -> str:
    """Return the name that a configuration is kept under: filtered but for its placeholders."""
    name = name.strip()
    if name == MAIN_QUEUE or not name:
        return name
    parts = [_filtered(part) for part in name.split(_PLACEHOLDER)]
    legal = _PLACEHOLDER.join(parts)
    return f"_{legal}" if legal[0].isdigit() else legal


def name_filter(text: str) -> str:
    """Make a name of letters, digits and the few other legal characters: everything else becomes one `_`."""
    name = _filtered(text) or "_"
    return f"_{name}" if name[0].isdigit() else name


def _filtered(text: str) -> str:
    written: list[str] = []
    for character in text:
        if not _ILLEGAL.match(character):
            written.append(character)
        elif not written or written[-1] != "_":
            written.append("_")
    return "".join(written)


def has_placeholder(settings: QueueSettings) -> bool:
    """Say whether a configuration makes a queue for each part of the topics that matches."""
    return _PLACEHOLDER in settings.name


def makes(settings: QueueSettings, queue_name: str) -> bool:
    """Say whether a queue of that name can come from this configuration."""
    if settings.is_main or queue_name == MAIN_QUEUE:
        return settings.name == queue_name
    if _PLACEHOLDER not in settings.name:
        return computed_name(settings.name, "") == queue_name
    return bool(_pattern(settings.name).fullmatch(queue_name))


def find(queue_name: str, configurations: Iterable[QueueSettings]) -> QueueSettings | None:
    """Return the valid configuration that a queue of that name comes from, or None if none makes such a name."""
    fitting = [each for each in ranked(configurations) if makes(each, queue_name) and not problems(each)]
    # The more of a name is written out, the less likely it fits by accident. Of equals, max() returns the first.
    return max(fitting, key=_written_out, default=None)


def _written_out(settings: QueueSettings) -> float:
    return len(settings.name.replace(_PLACEHOLDER, "")) if _PLACEHOLDER in settings.name else math.inf


def _pattern(name: str) -> re.Pattern[str]:
    """Return what the computed names of a name with placeholders look like."""
    first, *others = name.split(_PLACEHOLDER)
    # An illegal character at a seam leaves no trace where the part beside it ends with "_".
    seams = [f"_?{re.escape(name_filter(text).lstrip('_'))}" if text else "" for text in others]
    start = re.escape(name_filter(first)) if first else "_?"
    return re.compile(".*".join([start, *seams]))


# --- How many at once ---------------------------------------------------------------------------------------------


def parallel(settings: QueueSettings, processors: int) -> int:
    """Return how many jobs of one queue run at once on an instance with that many processors; at least one.

    For an ORDERED queue it is one, and one in the whole cluster: that is the dispatcher's to see to.
    """
    if settings.type == QueueType.ORDERED:
        return 1
    return max(places(settings.max_parallel, processors), 1)


def places(max_parallel: float, processors: int) -> int:
    """Return what Sling computes from `queue.maxparallel`. 0 is not valid: nothing could ever run."""
    if 0 < max_parallel < 1:
        return math.floor(processors * max_parallel + 0.5)
    if not math.isfinite(max_parallel) or max_parallel != int(max_parallel) or max_parallel < 0:
        return processors
    return int(max_parallel)


# --- When to try again --------------------------------------------------------------------------------------------


def retry_delay(settings: QueueSettings, retry: int, own_delay: float | None, random: Callable[[], float]) -> float:
    """Return how many seconds a failed job waits for its next attempt.

    `retry` is the number of that attempt among the retries, from 1; `own_delay` the job's instead of the queue's;
    `random` gives numbers from 0 up to 1. The limit bounds what the factor and the jitter make of a delay, not the
    delay itself. A delay that the consumer gave with its result is meant as it is and does not come here.
    """
    first = settings.retry_delay_seconds if own_delay is None else own_delay
    if first <= 0:
        return 0.0
    limit = max(settings.max_retry_delay_seconds, first)
    delay = min(_grown(first, settings.backoff_factor, retry - 1), limit)
    earliest, latest = delay * (1 - settings.jitter), min(delay * (1 + settings.jitter), limit)
    return earliest + (latest - earliest) * random()


def _grown(first: float, factor: float, times: int) -> float:
    try:
        return first * factor**times
    except OverflowError:
        return math.inf


# --- What is valid ------------------------------------------------------------------------------------------------


def validate(settings: QueueSettings, processors: int | None = None) -> QueueSettings:
    """Return `settings` if they are valid. Raises QueueInvalid, which names each wrong property and says what to do.

    With `processors`, a share that is no whole place on a machine with so many is refused, too.
    """
    found = problems(settings, processors)
    if found:
        raise exceptions.QueueInvalid(found)
    return settings


def problems(settings: QueueSettings, processors: int | None = None) -> dict[str, str]:
    """Return what is wrong with `settings`: a sentence for each property that is not valid."""
    checks = {
        "name": _name_problem(settings.name),
        "topics": _topics_problem(settings),
        "type": _choice_problem(settings.type, QueueType.values),
        "priority": _choice_problem(settings.priority, QueueConfiguration.Priority.values),
        "max_parallel": _parallel_problem(settings, processors),
        "retries": "" if -1 <= settings.retries <= _LARGEST else "Give a number of retries, or -1 for no end.",
        "retry_delay_seconds": _seconds_problem(settings.retry_delay_seconds),
        "max_retry_delay_seconds": _seconds_problem(settings.max_retry_delay_seconds),
        "time_limit_seconds": _seconds_problem(settings.time_limit_seconds),
        "backoff_factor": "" if 1 <= settings.backoff_factor <= 100 else "Give a factor from 1 (no growth) to 100.",
        "jitter": "" if 0 <= settings.jitter <= 1 else "Give a share from 0 (none) to 1.",
        "ranking": "" if abs(settings.ranking) <= _LARGEST else f"Give a whole number up to {_LARGEST}.",
    }
    return {name: problem for name, problem in checks.items() if problem}


def _name_problem(name: str) -> str:
    if not name.strip():
        return "Give the queue a name."
    if not name.strip("."):
        return f"{name!r} stands for a folder in addresses. Give the queue another name."
    if len(name) > NAME_LENGTH:
        return f"A name has at most {NAME_LENGTH} characters; this one has {len(name)}."
    return ""


def _topics_problem(settings: QueueSettings) -> str:
    entries = [entry.strip() for entry in settings.topics if entry.strip()]
    if not entries:
        return "Give at least one topic, or * for all."
    if settings.is_main and entries != ["*"]:
        return "The main queue takes every topic that no other queue takes: its topics are always *."
    if len(entries) > TOPIC_ENTRIES:
        return f"Give at most {TOPIC_ENTRIES} topics; a/* stands for all below a."
    wrong = next((entry for entry in entries if not _is_entry(entry)), None)
    return (
        "" if wrong is None else f"{wrong!r} is none of: a/b (that topic), a/. (one level below), a/* (all below), *."
    )


def _is_entry(entry: str) -> bool:
    if entry in _EVERYTHING:
        return True
    try:
        job_topics.validate(_base(entry))
    except exceptions.TopicInvalid:
        return False
    return True


def _choice_problem(value: str, known: Iterable[str]) -> str:
    return "" if value in known else f"{value!r} is none of: {', '.join(known)}."


def _parallel_problem(settings: QueueSettings, processors: int | None) -> str:
    if settings.type == QueueType.ORDERED:
        return ""  # always one
    if not math.isfinite(settings.max_parallel):
        return "Give a number of jobs, a share of the processors below 1, or -1 for all."
    if settings.max_parallel == 0:
        return "With 0 nothing ever runs: give a number of jobs, a share of the processors below 1, or -1 for all."
    if settings.max_parallel > _LARGEST:
        return f"Give at most {_LARGEST}."
    if processors and places(settings.max_parallel, processors) < 1:
        return f"{settings.max_parallel:g} of {processors} processors is less than one job: give a larger share, or 1."
    return ""


def _seconds_problem(seconds: float) -> str:
    return "" if 0 <= seconds <= 366 * 86_400 else "Give seconds, from 0 up to a year."
