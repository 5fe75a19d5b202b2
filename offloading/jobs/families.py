"""Failures that are alike: the same topic, the same kind of error, the same place in the code.

Which failure belongs to which family is pure: `fingerprint`, a digest of what is alike. `note` keeps the families that
were seen. How many jobs a family has is told by the jobs themselves, never by a count kept here: a job has a family if
and only if it stands in the history as ERROR or GIVEN_UP, and loses it when it is retried.
"""

import hashlib
import re
import sysconfig
import traceback
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, Self

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from offloading.models import Attempt, FailureFamily, Job

MESSAGE_LENGTH = 10_000
# How many of a family's jobs, the latest ones, say where it happens.
SAMPLE = 5
# Where two messages differ only behind this, they are alike anyway.
_COMPARED_LENGTH = 1_000
_FIELD_LENGTH = 255
_ENGINE = str(Path(__file__).parent) + "/"
_LIBRARIES = tuple(sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))

# What is different each time, in this order: an id in quotes is a quoted text, a number in a path is a part of it.
_VARIABLE = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # An apostrophe inside of a word opens no quotation.
        (r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`|“[^”\n]*”|«[^»\n]*»""", "<text>"),
        (r"\b[a-z][a-z0-9+.-]*://[^\s,;)\]>]+", "<path>"),
        (r"[\w.+-]+@[\w-]+(\.[\w-]+)+", "<text>"),
        (r"\b[A-Za-z]:\\[^\s,;:)\]>]+", "<path>"),
        # Absolute, or with two slashes: "and/or" is no path.
        (r"(?<![\w/])~?(/[^\s/,;:()\[\]<>]+)+/?|\b[\w.~@-]+(/[\w.~@-]+){2,}/?", "<path>"),
        (r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<id>"),
        (r"\b(0x[0-9a-fA-F]+|(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}|(?=[A-Za-z_-]*\d)[\w-]{20,})\b", "<id>"),
        (r"(?<!\w)[-+](?=\d)", ""),
        (r"\d+([.,:]\d+)*", "<number>"),
        # 12 bytes and a1b2c3d4 bytes are alike, whatever the digits were.
        (r"<id>", "<number>"),
        (r"\s+", " "),
    )
)


@dataclass(frozen=True)
class Failure:
    """What went wrong and where: the qualified name of an exception, and `module:function:line`, each possibly ""."""

    error: str
    place: str

    @classmethod
    def of(cls, exception: BaseException) -> Self:
        """Describe an exception that was caught. Its place is that of the consumer's code, not of a library in it."""
        kind = type(exception)
        error = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        frames = list(traceback.walk_tb(exception.__traceback__))
        own = [(frame, line) for frame, line in frames if _is_own(frame)]
        innermost = (own or frames)[-1:]
        return cls(error, "".join(_place(frame, line) for frame, line in innermost))


@dataclass(frozen=True)
class Sighting:
    """A failure that was seen. Without an exception `failure` is None, and its `message` tells its family."""

    topic: str
    failure: Failure | None
    message: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.topic, self.failure, self.message)


def fingerprint(topic: str, failure: Failure | None, message: str) -> str:
    """Return the 32 hex digits that all failures of one family share.

    A failure without an exception is told by its message, apart from what is different in it each time.
    """
    parts = (topic, "", normalised(message))
    if failure and failure.error:
        parts = (topic, failure.error, failure.place)
    return hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=16).hexdigest()


def normalised(message: str) -> str:
    """Return a message without its numbers, ids, paths and quoted texts."""
    text = message[:_COMPARED_LENGTH]
    for pattern, replacement in _VARIABLE:
        text = pattern.sub(replacement, text)
    return text.strip().casefold()


def note(*, topic: str, failure: Failure | None, message: str) -> str:
    """Keep that a failure was seen, in the caller's transaction; return its fingerprint."""
    return note_all([Sighting(topic, failure, message)])[0]


def note_all(sightings: Iterable[Sighting]) -> list[str]:
    """Keep failures with one statement, in the caller's transaction; return their fingerprints in the same order.

    Of failures of one family the last one's message stays.
    """
    seen = list(sightings)
    fingerprints = [sighting.fingerprint for sighting in seen]
    rows = {key: _row(key, sighting) for key, sighting in zip(fingerprints, seen, strict=True)}
    FailureFamily.objects.bulk_create(
        # Always in the same order: two transactions that wait for each other's rows would never end.
        [rows[key] for key in sorted(rows)],
        update_conflicts=True,
        unique_fields=["fingerprint"],
        update_fields=["message", "last_seen_at"],
    )
    return fingerprints


def _row(key: str, sighting: Sighting) -> FailureFamily:
    failure = sighting.failure or Failure("", "")
    return FailureFamily(
        fingerprint=key,
        topic=sighting.topic,
        error=_clean(failure.error, _FIELD_LENGTH),
        place=_clean(failure.place, _FIELD_LENGTH) if failure.error else "",
        message=_clean(sighting.message, MESSAGE_LENGTH),
        first_seen_at=Now(),
        last_seen_at=Now(),
    )


def _is_own(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not name.startswith((_ENGINE, "<frozen ", *_LIBRARIES))


def _place(frame: FrameType, line: int) -> str:
    module = frame.f_globals.get("__name__") or frame.f_code.co_filename
    return f"{module}:{frame.f_code.co_qualname}:{line}"


def _clean(text: str, length: int) -> str:
    """Return the text as every database stores it: no NUL, no half characters."""
    return text[:length].replace("\0", "\ufffd").encode(errors="replace").decode()


# --- What there is ------------------------------------------------------------------------------------------------


class Order(StrEnum):
    """What comes first in an overview."""

    JOBS = "jobs"
    LATEST = "latest"


@dataclass(frozen=True)
class FamilyRow:
    """A family and its failed jobs: how many, when the latest one ended, and the latest few with their instances."""

    family: FailureFamily
    jobs: int
    latest_at: datetime | None
    sample: tuple[uuid.UUID, ...]
    instances: tuple[str, ...]


def overview(limit: int = 200, *, words: str = "", order: Order = Order.JOBS) -> list[FamilyRow]:
    """Return the families that have failed jobs now, those with the most or the latest first.

    `words` must all stand in topic, error, place or message of a family. Three queries, for any number of rows.
    """
    counts = _counts().order_by(*_ORDER[order])
    if words.strip():
        counts = counts.filter(family__in=_matching(words).values("pk"))
    return _rows(list(counts[:limit]))


def look(fingerprint: str) -> FamilyRow | None:
    """Return a family, also if it has no failed job now; None if it is not known."""
    rows = _rows(list(_counts().filter(family=fingerprint)))
    if rows:
        return rows[0]
    family = FailureFamily.objects.filter(pk=fingerprint).first()
    return FamilyRow(family, 0, None, (), ()) if family else None


def beginning_with(digits: str) -> list[str]:
    """Return the known fingerprints that begin so, at most two of them: more are no answer either."""
    if not digits or "\0" in digits:
        return []
    found = FailureFamily.objects.filter(pk__startswith=digits.lower()).order_by("pk")
    return list(found.values_list("pk", flat=True)[:2])


def failed_jobs(fingerprint: str) -> QuerySet[Job]:
    """Return the jobs of a family, the latest first."""
    return _failed().filter(family=fingerprint).order_by("-finished_at", "-id")


def instances_of(job_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return where each of the jobs was tried last, by its id; those that never started are missing."""
    attempts = Attempt.objects.filter(job__in=list(job_ids)).order_by("fence", "id")
    return dict(attempts.values_list("job_id", "instance_label"))


_ORDER = {Order.JOBS: ("-jobs", "family"), Order.LATEST: ("-latest_at", "family")}


def _failed() -> QuerySet[Job]:
    # In these words, because the index that all of this is read from has them as its condition.
    return Job.objects.filter(~Q(family=""))


def _counts() -> QuerySet[Any, Any]:
    return _failed().values("family").annotate(jobs=Count("*"), latest_at=Max("finished_at"))


def _matching(words: str) -> QuerySet[FailureFamily]:
    found = FailureFamily.objects.all()
    for word in words.split():
        alternatives = (Q((f"{name}__icontains", word)) for name in ("topic", "error", "place", "message"))
        found = found.filter(Q.create(list(alternatives), connector=Q.OR))
    return found


def _rows(counts: list[dict[str, Any]]) -> list[FamilyRow]:
    latest = _failed().filter(family=OuterRef("pk")).order_by("-finished_at").values("pk")
    samples = {f"sample_{n}": Subquery(latest[n : n + 1]) for n in range(SAMPLE)}
    known = FailureFamily.objects.annotate(**samples).in_bulk([each["family"] for each in counts])
    sampled = {key: _sample(family) for key, family in known.items()}
    places = instances_of(job_id for sample in sampled.values() for job_id in sample)
    rows = []
    for each in counts:
        if family := known.get(each["family"]):
            sample = sampled[family.pk]
            instances = sorted({places[job_id] for job_id in sample if job_id in places})
            rows.append(FamilyRow(family, each["jobs"], each["latest_at"], sample, tuple(instances)))
    return rows


def _sample(family: FailureFamily) -> tuple[uuid.UUID, ...]:
    found = (getattr(family, f"sample_{n}") for n in range(SAMPLE))
    return tuple(job_id for job_id in found if job_id)
