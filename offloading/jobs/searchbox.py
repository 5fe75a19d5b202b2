"""What somebody typed into the search box, taken apart: words, quoted phrases and qualifiers such as `state:error`.

Pure. Nothing that is typed is an error: what is no qualifier that we know, with a value that fits it, is a plain word.
Only a whole id always means that job and nothing else. A minus in front of a qualifier: all but those.
"""

import re
from dataclasses import dataclass

from offloading.models import JobState

UNASSIGNED = "UNASSIGNED"
DELAYED = "DELAYED"
STATES = frozenset(JobState) | {UNASSIGNED, DELAYED}

MAX_LENGTH = 500
MAX_TERMS = 12

_QUALIFIERS = ("topic", "queue", "state", "target", "family", "id")
_PROPERTY = "property."
_ID_DIGITS = 32
# name:value, name:"a value", "a phrase" or a word; a quote that is never closed goes on to the end
_TERM = re.compile(r'(?P<name>[^\s":]+):"(?P<quoted>[^"]*)"?|"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+)')
_HEX = re.compile(r"[0-9a-f]{1,32}")


@dataclass(frozen=True)
class Property:
    """A comparison with one of the job's own properties. `operator` is one of "=", "<", "<=", ">", ">="."""

    name: str
    operator: str
    value: str


@dataclass(frozen=True)
class Search:
    """What is looked for. All of it must be true of a job; the states of one entry are alternatives."""

    words: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    states: tuple[frozenset[str], ...] = ()
    targets: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    # None of these may be true of a job.
    without: tuple["Search", ...] = ()


def parse(text: str) -> Search:
    """Take the text apart. What is beyond 500 characters or 12 terms is left out, and so are NUL characters."""
    found: dict[str, list[object]] = {}
    terms = list(_TERM.finditer(text.replace("\0", "")[:MAX_LENGTH]))
    for term in terms[:MAX_TERMS]:
        kind, value = _read(term)
        if value not in ("", *found.get(kind, ())):
            found.setdefault(kind, []).append(value)
    return Search(**{kind: tuple(values) for kind, values in found.items()})  # type: ignore[arg-type]


def id_prefix(word: str, *, digits: int = 4) -> str:
    """Return the hex digits of a word that can be the beginning of an id, "" for all others."""
    plain = word.lower().replace("-", "")
    return plain if len(plain) >= digits and _HEX.fullmatch(plain) else ""


def _read(term: re.Match[str]) -> tuple[str, object]:
    if term["phrase"] is not None:
        return "words", term["phrase"].strip()
    if term["name"] is not None:
        name, value = term["name"], term["quoted"].strip()
        plain = f"{name}:{value}"
    else:
        plain = term["word"]
        name, _, value = plain.partition(":")
    digits = id_prefix(plain, digits=_ID_DIGITS)
    return ("ids", digits) if digits else _qualified(name, value) or ("words", plain)


def _qualified(name: str, value: str) -> tuple[str, object] | None:
    """Return what a qualifier means, or None if it means nothing."""
    if not value:
        return None
    key = name.lower()
    if key.startswith("-"):
        inner = _qualified(name[1:], value)
        return ("without", Search(**{inner[0]: (inner[1],)})) if inner else None  # type: ignore[arg-type]
    if key == "state":
        states = frozenset(each.strip().upper().replace("-", "_") for each in value.split(","))
        return ("states", states) if states <= STATES else None
    if key == "id":
        prefix = id_prefix(value)
        return ("ids", prefix) if prefix else None
    if key in _QUALIFIERS:
        return {"topic": "topics", "queue": "queues", "target": "targets", "family": "families"}[key], value
    if key.startswith(_PROPERTY) and len(name) > len(_PROPERTY):
        return "properties", _comparison(name[len(_PROPERTY) :], value)
    return None


def _comparison(name: str, value: str) -> Property:
    for operator in ("<=", ">=", "<", ">", "="):
        if value.startswith(operator) and len(value) > len(operator):
            return Property(name, operator, value[len(operator) :])
    return Property(name, "=", value)
