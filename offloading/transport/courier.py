"""Carrying one document to a peer until it is accepted: offer, send the blobs that are missing there, offer again.

The same for both ways of a job. Every step may be repeated: the peer says what it lacks and from which byte on, so a
broken connection costs at most one block.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from content import blobs
from offloading.models import Transfer
from offloading.transport import client, manifest, messages, transfers
from topology.snapshot import InstanceDescription

# Each round brings everything that was asked for; a peer that keeps asking is broken, and is asked again later.
_MOST_ROUNDS = 10
# Their names stand in the address of the call, which should stay below what proxies let through.
MOST_TOGETHER = 40


class NotAccepted(Exception):
    """The peer asks for the same again and again."""


@dataclass(frozen=True)
class Errand:
    """What to bring where. `go_on` is asked before each block, and raises if the errand has become pointless."""

    transfer: Transfer
    peer: InstanceDescription
    path: str
    document: Callable[[messages.Moved], dict[str, Any]]
    go_on: Callable[[], None]


def run(errand: Errand) -> client.Answer:
    """Bring it, and return the answer that settles it. Raises what `client` raises, and `NotAccepted`."""
    for _ in range(_MOST_ROUNDS):
        errand.go_on()
        moved = messages.Moved(errand.transfer.blobs_moved, errand.transfer.bytes_moved)
        answer = client.post(errand.peer, errand.path, errand.document(moved))
        if answer.state != "missing":
            return answer
        lacking = messages.read_lacking(answer.document)
        _require_ours(errand, lacking)
        block_bytes = min(settings.OFFLOADING_TRANSPORT_BLOCK_BYTES, lacking.block_bytes)
        for some in batches(lacking.blobs, block_bytes):
            _send_together(errand, some)
        for blob in lacking.blobs:
            if not _is_small(blob, block_bytes):
                _send_blob(errand, blob, block_bytes)
    raise NotAccepted(f"{errand.peer.label} still lacks blobs after {_MOST_ROUNDS} rounds. Look at its disk and log.")


def _require_ours(errand: Errand, lacking: messages.Lacking) -> None:
    """Whoever may get this payload may not therefore get any other blob of ours."""
    sizes = manifest.sizes(errand.transfer.manifest["entries"])
    for blob in lacking.blobs:
        if sizes.get(blob.digest) != blob.size:
            raise NotAccepted(f"{errand.peer.label} asks for {blob.digest}, which is not in the payload.")


def batches(blobs_lacking: Iterable[messages.Partial], block_bytes: int) -> list[list[messages.Partial]]:
    """Group the blobs that fit into a block whole, so that many small ones cost no more calls than one large one."""
    found: list[list[messages.Partial]] = []
    room = 0
    for blob in blobs_lacking:
        if not _is_small(blob, block_bytes):
            continue
        if not found or blob.size > room or len(found[-1]) == MOST_TOGETHER:
            found.append([])
            room = block_bytes
        found[-1].append(blob)
        room -= blob.size
    return found


def _is_small(blob: messages.Partial, block_bytes: int) -> bool:
    return blob.offset == 0 and blob.size <= block_bytes


def _send_together(errand: Errand, some: list[messages.Partial]) -> None:
    errand.go_on()
    block = b"".join(_whole(blob) for blob in some)
    named = "&".join(f"blob={blob.digest}:{blob.size}" for blob in some)
    client.put(errand.peer, f"/bin/receive/blobs?{named}", block)
    transfers.progress(errand.transfer, blobs=len(some), moved_bytes=len(block))


def _whole(blob: messages.Partial) -> bytes:
    with blobs.open_blob(blob.digest) as file:
        return file.read()


def _send_blob(errand: Errand, blob: messages.Partial, block_bytes: int) -> None:
    offset: int | None = blob.offset
    with blobs.open_blob(blob.digest) as file:
        while offset is not None:
            errand.go_on()
            file.seek(offset)
            offset = _send_block(errand, blob, offset, file.read(block_bytes))


def _send_block(errand: Errand, blob: messages.Partial, offset: int, block: bytes) -> int | None:
    """Send one block; return where to go on, or None if the blob is complete over there."""
    path = f"/bin/receive/blobs/{blob.digest}?offset={offset}&size={blob.size}"
    answer = client.put(errand.peer, path, block)
    is_complete, reached = messages.read_reached(answer.document)
    # A 409 only says from where to go on: what this block holds is there already, or got lost with what came before.
    if answer.status == 200:
        transfers.progress(errand.transfer, blobs=int(is_complete), moved_bytes=len(block))
    if is_complete:
        return None
    if reached == offset or reached > blob.size:
        raise NotAccepted(f"{errand.peer.label} does not get on with {blob.digest} at byte {offset} of {blob.size}.")
    return reached
