"""The two documents that travel as JSON: the offer of a job to its target, and the result on its way back.

Pure: building, reading and checking. docs/reference/transport.md describes every field. Whatever comes from a peer
passes through `read_offer` or `read_result` before anything else looks at it.
"""

import datetime
import uuid
from dataclasses import dataclass, field
from typing import Any

from content import paths, values
from offloading.transport import manifest
from topology import identity

# What an attempt may say is bounded here too, so that one chatty consumer cannot fill another installation's database.
_MAX_ATTEMPTS = 1000
_MAX_TEXT = 200_000
# What the columns of both databases hold. A fence still rises here, with every run, for as long as anybody lives.
_MAX_INTEGER = 2**31 - 1
LONGEST_SECONDS = 366 * 86_400
_MAX_FENCE = 2**62

FINAL_STATES = frozenset({"SUCCEEDED", "STOPPED", "GIVEN_UP", "ERROR", "DROPPED"})


class MessageInvalid(ValueError):
    """A document from a peer that is not what it should be. Says which field."""


@dataclass(frozen=True)
class Moved:
    """What the sender has carried over so far; both sides keep the account."""

    blobs: int = 0
    bytes: int = 0

    def to_json(self) -> dict[str, int]:
        return {"blobs": self.blobs, "bytes": self.bytes}


@dataclass(frozen=True)
class Origin:
    """Where a job came from, and where its result goes: any instance of that cluster."""

    sling_id: str
    cluster_id: str
    endpoint: str

    def to_json(self) -> dict[str, str]:
        return {"sling_id": self.sling_id, "cluster_id": self.cluster_id, "endpoint": self.endpoint}


@dataclass(frozen=True)
class Offer:
    """A job that the target shall run, with the manifest of its input payload.

    `time_limit_seconds` is the job's own; None = what the target's queue says.
    """

    job_id: uuid.UUID
    fence: int
    topic: str
    title: str
    properties: dict[str, Any]
    retries: int
    retry_delay_seconds: float
    time_limit_seconds: float | None
    priority: int
    origin: Origin
    entries: list[manifest.Entry]
    outputs: tuple[str, ...]
    moved: Moved = Moved()

    def to_json(self) -> dict[str, Any]:
        return {
            "job": {
                "id": str(self.job_id),
                "topic": self.topic,
                "title": self.title,
                "properties": self.properties,
                "retries": self.retries,
                "retry_delay_seconds": self.retry_delay_seconds,
                "time_limit_seconds": self.time_limit_seconds,
                "priority": self.priority,
            },
            "fence": self.fence,
            "origin": self.origin.to_json(),
            "entries": self.entries,
            "outputs": list(self.outputs),
            "moved": self.moved.to_json(),
        }


@dataclass(frozen=True)
class AttemptReport:
    """One run of the job at the target. Times are ISO 8601 on the target's database clock."""

    instance: str
    instance_label: str
    fence: int
    started_at: str
    ended_at: str | None
    outcome: str
    message: str = ""
    log: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "instance": self.instance,
            "instance_label": self.instance_label,
            "fence": self.fence,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "outcome": self.outcome,
            "message": self.message,
            "log": self.log,
        }


@dataclass(frozen=True)
class Result:
    """How a copy ended, with the manifest of its output payload. `fence` is the origin's, from the offer."""

    job_id: uuid.UUID
    fence: int
    state: str
    message: str
    attempts: tuple[AttemptReport, ...] = ()
    entries: list[manifest.Entry] = field(default_factory=list)
    moved: Moved = Moved()

    def to_json(self) -> dict[str, Any]:
        return {
            "job": str(self.job_id),
            "fence": self.fence,
            "state": self.state,
            "message": self.message,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "entries": self.entries,
            "moved": self.moved.to_json(),
        }


@dataclass(frozen=True)
class Switch:
    """What a person at the caller wants an instance here to do: topic -> "enable", "disable" or "exclusive"."""

    sling_id: str
    actions: dict[str, str]
    requested_by: str

    def to_json(self) -> dict[str, Any]:
        return {"sling_id": self.sling_id, "actions": self.actions, "requested_by": self.requested_by}


@dataclass(frozen=True)
class Partial:
    """A blob that a receiver lacks: `offset` bytes of its `size` are there."""

    digest: str
    size: int
    offset: int


@dataclass(frozen=True)
class Lacking:
    """The answer of a receiver that needs blobs first, in blocks of at most `block_bytes`."""

    blobs: tuple[Partial, ...]
    block_bytes: int

    def to_json(self) -> dict[str, Any]:
        blobs = [{"digest": blob.digest, "size": blob.size, "offset": blob.offset} for blob in self.blobs]
        return {"state": "missing", "blobs": blobs, "block_bytes": self.block_bytes}


# --- Reading what a peer sent ----------------------------------------------------------------------------------------


def read_offer(document: Any) -> Offer:
    """Turn JSON into an offer. Raises `MessageInvalid` or `bundles.ManifestInvalid`."""
    job = _object(document, "job")
    origin = _object(document, "origin")
    return Offer(
        job_id=_uuid(job, "id"),
        fence=_integer(document, "fence", most=_MAX_FENCE),
        topic=_text(job, "topic", 255),
        title=_text(job, "title", 255),
        properties=_properties(job),
        retries=_integer(job, "retries", least=-1, most=_MAX_INTEGER),
        retry_delay_seconds=_seconds(job, "retry_delay_seconds"),
        time_limit_seconds=None if job.get("time_limit_seconds") is None else _seconds(job, "time_limit_seconds"),
        priority=_integer(job, "priority", least=-1_000_000, most=1_000_000),
        origin=Origin(
            sling_id=_sling_id(origin, "sling_id"),
            cluster_id=_text(origin, "cluster_id", 255),
            endpoint=_text(origin, "endpoint", 500),
        ),
        entries=manifest.checked(document.get("entries")),
        outputs=_paths(document, "outputs"),
        moved=_moved(document),
    )


def read_result(document: Any) -> Result:
    """Turn JSON into a result. Raises `MessageInvalid` or `bundles.ManifestInvalid`."""
    attempts = document.get("attempts") if isinstance(document, dict) else None
    if not isinstance(attempts, list) or len(attempts) > _MAX_ATTEMPTS:
        raise MessageInvalid(f"attempts must be a list of up to {_MAX_ATTEMPTS} runs.")
    state = _text(document, "state", 10)
    if state not in FINAL_STATES:
        raise MessageInvalid(f"state must be one of {', '.join(sorted(FINAL_STATES))}, not {state!r}.")
    return Result(
        job_id=_uuid(document, "job"),
        fence=_integer(document, "fence", most=_MAX_FENCE),
        state=state,
        message=_text(document, "message", _MAX_TEXT),
        attempts=tuple(_attempt(attempt) for attempt in attempts),
        entries=manifest.checked(document.get("entries")),
        moved=_moved(document),
    )


def read_lacking(document: dict[str, Any]) -> Lacking:
    """Turn the answer "missing" into what is missing. Raises `MessageInvalid`."""
    listed = document.get("blobs")
    if not isinstance(listed, list) or not listed:
        raise MessageInvalid("blobs must be a list of what is missing.")
    partials = tuple(
        Partial(_text(blob, "digest", 64), _integer(blob, "size"), _integer(blob, "offset")) for blob in listed
    )
    return Lacking(partials, _integer(document, "block_bytes", least=1))


def read_reached(document: dict[str, Any]) -> tuple[bool, int]:
    """Turn the answer to a block into (is the blob complete, how many bytes are there). Raises `MessageInvalid`."""
    return document.get("complete") is True, _integer(document, "offset")


def _attempt(document: Any) -> AttemptReport:
    return AttemptReport(
        instance=_sling_id(document, "instance"),
        instance_label=_text(document, "instance_label", 255),
        fence=_integer(document, "fence", most=_MAX_FENCE),
        started_at=_instant(document, "started_at"),
        ended_at=None if document.get("ended_at") is None else _instant(document, "ended_at"),
        outcome=_text(document, "outcome", 10),
        message=_text(document, "message", _MAX_TEXT),
        log=_text(document, "log", _MAX_TEXT),
    )


def _moved(document: dict[str, Any]) -> Moved:
    moved = _object(document, "moved")
    return Moved(blobs=_integer(moved, "blobs", most=_MAX_INTEGER), bytes=_integer(moved, "bytes"))


def _object(document: Any, name: str) -> dict[str, Any]:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, dict):
        raise MessageInvalid(f"{name} must be an object.")
    return value


def _properties(job: dict[str, Any]) -> dict[str, Any]:
    """Return the job's properties if both databases can keep them: PostgreSQL takes neither NUL nor NaN."""
    given = _object(job, "properties")
    try:
        values.validate({"properties": given})
    except (values.PropertyInvalid, RecursionError) as error:
        raise MessageInvalid(f"The properties of the job cannot be kept: {error}") from error
    return given


def _text(document: Any, name: str, longest: int) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or len(value) > longest or not _is_clean(value):
        raise MessageInvalid(f"{name} must be a text of up to {longest} characters.")
    return value


def _is_clean(text: str) -> bool:
    """Say whether a database can keep the text: neither NUL nor half a character in it."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _integer(document: Any, name: str, least: int = 0, most: int = 2**63 - 1) -> int:
    value = document.get(name) if isinstance(document, dict) else None
    if type(value) is not int or not least <= value <= most:
        raise MessageInvalid(f"{name} must be a whole number from {least} to {most}.")
    return value


def _seconds(document: dict[str, Any], name: str) -> float:
    value = document.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= LONGEST_SECONDS:
        raise MessageInvalid(f"{name} must be a number of seconds, up to a year.")
    return float(value)


def _uuid(document: Any, name: str) -> uuid.UUID:
    try:
        return uuid.UUID(_text(document, name, 36))
    except ValueError as error:
        raise MessageInvalid(f"{name} must be a UUID.") from error


def _sling_id(document: Any, name: str) -> str:
    value = _text(document, name, 36)
    if not identity.VALID_ID.fullmatch(value):
        raise MessageInvalid(f"{name} must be a sling id.")
    return value


def _instant(document: dict[str, Any], name: str) -> str:
    value = _text(document, name, 40)
    try:
        instant = datetime.datetime.fromisoformat(value)
    except ValueError as error:
        raise MessageInvalid(f"{name} must be a time in ISO 8601.") from error
    if instant.tzinfo is None:
        raise MessageInvalid(f"{name} must say its offset from UTC.")
    return value


def _paths(document: dict[str, Any], name: str) -> tuple[str, ...]:
    listed = document.get(name)
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        raise MessageInvalid(f"{name} must be a list of paths.")
    try:
        return tuple(paths.validate(path) for path in listed)
    except paths.PathInvalid as error:
        raise MessageInvalid(f"{name}: {error}") from error


def read_switch(document: Any) -> Switch:
    """Turn JSON into a switch. Raises `MessageInvalid`."""
    actions = _object(document, "actions")
    if not actions or len(actions) > 1000 or not all(isinstance(action, str) for action in actions.values()):
        raise MessageInvalid("actions must map topics to what to do.")
    return Switch(_sling_id(document, "sling_id"), actions, _text(document, "requested_by", 150))
