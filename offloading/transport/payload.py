"""Which content a job takes along and which it brings back: lists of paths in two properties of the job.

Pure. The keys are those of the talk; the longer ones that later documentation printed are accepted as aliases. A value
is a comma separated text, as in the talk, or a list, which can also name a path that has a comma in it. Whether they
exist is asked by those who pack (sender, returns), and only when a job leaves the cluster.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from content import paths

INPUT = "offloading.input.payload"
OUTPUT = "offloading.output.payload"
_ALIASES = {INPUT: "offloading.job.input.payload", OUTPUT: "offloading.job.output.payload"}

# Below it, each copy of a job has its own folder with the payload that came with it.
FOLDER = "/var/offloading"


def root(job_id: uuid.UUID | str) -> str:
    """Return the node below which the payload of a copy lies."""
    return f"{FOLDER}/{job_id}"


def join(entries: Iterable[str]) -> str | list[str]:
    """Build the value of a payload property: the talk's text, or a list where a path has a comma in it."""
    listed = list(dict.fromkeys(entries))
    return listed if any("," in entry for entry in listed) else ",".join(listed)


def inputs(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths that travel with the job, in their order. Raises `content.paths.PathInvalid`."""
    return _listed(properties, INPUT)


def outputs(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths that come back with the result, in their order. Raises `content.paths.PathInvalid`."""
    return _listed(properties, OUTPUT)


def _listed(properties: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = properties.get(key)
    if value is None:
        value = properties.get(_ALIASES[key])
    if value is None:
        return ()
    listed = [paths.validate(entry) for entry in _entries(key, value)]
    if paths.ROOT in listed:
        raise paths.PathInvalid(f"The job property {key} names the whole tree. Name the nodes that the job needs.")
    return _outermost(listed)


def _entries(key: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [trimmed for entry in value.split(",") if (trimmed := entry.strip())]
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return value
    raise paths.PathInvalid(f"The job property {key} must be a comma separated text or a list of paths, not {value!r}.")


def _outermost(listed: Iterable[str]) -> tuple[str, ...]:
    """Drop repeats and what lies below another entry: each entry means its whole subtree."""
    entries = tuple(dict.fromkeys(listed))
    return tuple(
        entry for entry in entries if not any(other != entry and paths.is_below(entry, other) for other in entries)
    )
