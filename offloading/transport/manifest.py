"""What transport needs to know about a manifest: is it one, which blobs does it name, which of its nodes are originals.

Pure. `content.bundles` writes manifests and applies them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from content import bundles, paths

Entry = bundles.Entry

ORIGINAL = "/renditions/original"
MAX_ENTRIES = 100_000
_MAX_BLOB_BYTES = 2**60


def checked(entries: Any) -> list[Entry]:
    """Return `entries`, which came from a peer, if they are a manifest. Raises `bundles.ManifestInvalid`."""
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise bundles.ManifestInvalid(f"A manifest is a list of up to {MAX_ENTRIES} entries.")
    bundles.digests(entries)
    for entry in entries:
        # Paths are compared as they stand and sizes are counted with, so near enough is not good enough.
        if paths.validate(entry["path"]) != entry["path"]:
            raise bundles.ManifestInvalid(f"The path {entry['path']!r} is not in its normal form.")
        for binary in entry["binaries"].values():
            if type(binary["size"]) is not int or not 0 <= binary["size"] <= _MAX_BLOB_BYTES:
                raise bundles.ManifestInvalid(f"A binary of {entry['path']} has no size that can be.")
    return entries


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
