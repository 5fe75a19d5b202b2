"""The manifest of a payload: its nodes with their properties and, instead of bytes, the digest and size of each binary.

Pure. `content.bundles` writes manifests and applies them; here is what transport needs to know about one: whether what
a peer sent is one at all, which blobs it names, and which of its nodes are originals.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from content import paths

Entry = dict[str, Any]

DIGEST = re.compile(r"[0-9a-f]{64}")
ORIGINAL = "/renditions/original"
MAX_ENTRIES = 100_000


class ManifestInvalid(ValueError):
    """What a peer sent is not a manifest. Says which part."""


def checked(entries: Any) -> list[Entry]:
    """Return `entries` if they are a manifest. Raises `ManifestInvalid`, naming the first thing that is wrong."""
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise ManifestInvalid(f"A manifest is a list of up to {MAX_ENTRIES} entries.")
    for entry in entries:
        _check_entry(entry)
    if len({entry["path"] for entry in entries}) != len(entries):
        raise ManifestInvalid("A manifest names each path once.")
    return entries


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, dict) or set(entry) != {"path", "primary_type", "properties", "binaries"}:
        raise ManifestInvalid("An entry has path, primary_type, properties and binaries.")
    try:
        if not isinstance(entry["path"], str) or paths.validate(entry["path"]) != entry["path"]:
            raise ManifestInvalid(f"The path {entry['path']!r} is not in its normal form.")
    except paths.PathInvalid as error:
        raise ManifestInvalid(str(error)) from error
    if not isinstance(entry["primary_type"], str) or not 0 < len(entry["primary_type"]) <= 100:
        raise ManifestInvalid(f"{entry['path']} needs a primary type of up to 100 characters.")
    if not isinstance(entry["properties"], dict) or not isinstance(entry["binaries"], dict):
        raise ManifestInvalid(f"The properties and binaries of {entry['path']} are two objects.")
    for name, binary in entry["binaries"].items():
        if not isinstance(binary, dict) or not _is_blob(binary.get("digest"), binary.get("size")):
            raise ManifestInvalid(f"The binary {name!r} of {entry['path']} needs a SHA-256 digest and a size.")


def _is_blob(digest: Any, size: Any) -> bool:
    return isinstance(digest, str) and DIGEST.fullmatch(digest) is not None and type(size) is int and 0 <= size < 2**63


def sizes(entries: Iterable[Entry]) -> dict[str, int]:
    """Map the digest of every blob that the entries name to its size."""
    return {binary["digest"]: binary["size"] for entry in entries for binary in entry["binaries"].values()}


def within(entries: Iterable[Entry], roots: Iterable[str]) -> list[Entry]:
    """Return the entries at or below one of `roots`."""
    wanted = tuple(roots)
    return [
        entry
        for entry in entries
        if any(entry["path"] == root or paths.is_below(entry["path"], root) for root in wanted)
    ]


def outside(entries: Iterable[Entry], roots: Iterable[str]) -> list[str]:
    """Return the paths of the entries that lie neither at nor below one of `roots`."""
    entries = list(entries)
    inside = {entry["path"] for entry in within(entries, roots)}
    return [entry["path"] for entry in entries if entry["path"] not in inside]


def originals(entries: Iterable[Entry]) -> dict[str, Mapping[str, str]]:
    """Map the path of every node that holds (part of) an original to the digests of its binaries."""
    return {
        entry["path"]: {name: binary["digest"] for name, binary in entry["binaries"].items()}
        for entry in entries
        if entry["binaries"] and (entry["path"].endswith(ORIGINAL) or f"{ORIGINAL}/" in entry["path"])
    }
