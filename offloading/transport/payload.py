"""Which content a job takes along and which it brings back: comma separated paths in two properties of the job.

Pure. The keys are those of the talk; the longer ones that later documentation printed are accepted as aliases. Whether
the paths exist is asked by those who pack (sender, returns), and only when a job leaves the cluster.
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


def join(entries: Iterable[str]) -> str:
    """Build the value of a payload property: no entries make an empty string."""
    return ",".join(dict.fromkeys(entries))


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
    if not isinstance(value, str):
        raise paths.PathInvalid(f"The job property {key} must be a comma separated list of paths, not {value!r}.")
    entries = (entry.strip() for entry in value.split(","))
    listed = [paths.validate(entry) for entry in entries if entry]
    if paths.ROOT in listed:
        raise paths.PathInvalid(f"The job property {key} names the whole tree. Name the nodes that the job needs.")
    return _outermost(listed)


def _outermost(listed: Iterable[str]) -> tuple[str, ...]:
    """Drop repeats and what lies below another entry: each entry means its whole subtree."""
    entries = tuple(dict.fromkeys(listed))
    return tuple(
        entry for entry in entries if not any(other != entry and paths.is_below(entry, other) for other in entries)
    )
