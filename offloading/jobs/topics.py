"""Topics and consumer patterns: which names are legal, and which pattern takes which topic.

Pure. The rules are those of Sling's job handling: a topic is an OSGi event topic; a consumer registers for `a/b`
(exactly that), `a/*` (one level below) or `a/**` (any level below). What an instance *may* take of that is decided by
its lists, which have another syntax: see `offloading.topics`.
"""

import re
from collections.abc import Iterable, Iterator

from offloading import exceptions

_TOPIC = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_MAX_LENGTH = 255


def validate(topic: object) -> str:
    """Return `topic` if it is a legal one. Raises TopicInvalid, saying which rule it breaks."""
    if not isinstance(topic, str):
        raise exceptions.TopicInvalid(f"A topic is a text, but this is {type(topic).__name__}: {topic!r}")
    if len(topic) > _MAX_LENGTH:
        raise exceptions.TopicInvalid(f"A topic has at most {_MAX_LENGTH} characters; this one has {len(topic)}")
    if not _TOPIC.fullmatch(topic):
        raise exceptions.TopicInvalid(
            f"{topic!r} is not a topic: use names of A-Z a-z 0-9 _ - joined by single slashes, as in 'acme/mail/send'"
        )
    return topic


def validate_pattern(pattern: str) -> str:
    """Return the trimmed `pattern` if a consumer can register for it. Raises TopicInvalid otherwise."""
    trimmed = pattern.strip()
    base = trimmed.removesuffix("/**") if trimmed.endswith("/**") else trimmed.removesuffix("/*")
    validate(base)
    return trimmed


def patterns_for(topic: str) -> Iterator[str]:
    """Yield the patterns that take `topic`, most specific first."""
    yield topic
    parent, slash, _ = topic.rpartition("/")
    if slash:
        yield f"{parent}/*"
    while slash:
        yield f"{parent}/**"
        parent, slash, _ = parent.rpartition("/")


def matching(topic: str, patterns: Iterable[str]) -> str:
    """Return the most specific of `patterns` that takes `topic`, or ""."""
    known = frozenset(patterns)
    return next((pattern for pattern in patterns_for(topic) if pattern in known), "")
