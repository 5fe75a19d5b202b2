"""Signed calls to one instance of another cluster, over connections that are kept open.

One call, one answer as JSON. No redirects, no silent retries: whoever calls decides what a failure means. The one
exception is a connection that the other side closed while it was idle, which says nothing about the request.
"""

import datetime
import functools
import json
from dataclasses import dataclass
from typing import Any

import urllib3

from offloading.transport import gate, keys, signing
from topology import identity
from topology.snapshot import InstanceDescription

CONNECT_SECONDS = 10
READ_SECONDS = 30

# A refusal that will be the same however often it is tried; everything else may pass.
LASTING = frozenset({"malformed", "not-the-origin", "not-the-target", "not-a-copy", "too-large", "switch-invalid"})

# How many connections to one peer are kept; more are made if they are needed, and closed after use.
_KEPT = 4


class PeerUnreachable(Exception):
    """Nobody answered, or not in this protocol. Says where it was tried."""


class PeerRefused(Exception):
    """The peer answered, and the answer is no: its status, its `error` and what it says to do."""

    def __init__(self, peer: InstanceDescription, status: int, document: dict[str, Any]) -> None:
        self.status, self.document = status, document
        self.error = str(document.get("error", f"status {status}"))
        remedy = document.get("remedy", "")
        super().__init__(f"{peer.label} refused ({status} {self.error}). {remedy}".strip())

    @property
    def is_lasting(self) -> bool:
        return self.error in LASTING


@dataclass(frozen=True)
class Answer:
    """What a peer said: status and document. A 409 is an answer like any other in this protocol."""

    status: int
    document: dict[str, Any]

    @property
    def state(self) -> str:
        return str(self.document.get("state", ""))


def post(peer: InstanceDescription, path: str, document: dict[str, Any]) -> Answer:
    """Send a JSON document. Raises `PeerUnreachable` or `PeerRefused`."""
    return _call(peer, "POST", path, json.dumps(document).encode(), "application/json")


def put(peer: InstanceDescription, path: str, block: bytes) -> Answer:
    """Send a block of bytes. Raises `PeerUnreachable` or `PeerRefused`."""
    return _call(peer, "PUT", path, block, "application/octet-stream")


def _call(peer: InstanceDescription, method: str, path: str, body: bytes, content_type: str) -> Answer:
    if not peer.endpoint:
        raise PeerUnreachable(f"{peer.label} announces no endpoint. Set OFFLOADING_ENDPOINT there.")
    url = peer.endpoint.rstrip("/") + path
    try:
        response = _request(method, url, body, content_type)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise PeerUnreachable(f"{peer.label} does not answer at {url}: {error}") from error
    answer = Answer(response[0], _read(peer, *response))
    if answer.status == 200 or (answer.status == 409 and "error" not in answer.document):
        return answer
    raise PeerRefused(peer, answer.status, answer.document)


def _request(method: str, url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
    try:
        return _send(method, url, body, content_type)
    except urllib3.exceptions.ProtocolError:
        # Closed under our hands: once more on a new connection, and signed anew, for a nonce is good once.
        return _send(method, url, body, content_type)


def _send(method: str, url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
    headers = signing.sign(
        method=method,
        url=url,
        body=body,
        sling_id=identity.sling_id(),
        key=keys.private_key(),
        now=datetime.datetime.now(datetime.UTC),
    )
    headers["Content-Type"] = content_type
    response = _pool().request(
        method, url, body=body, headers=headers, redirect=False, retries=False, preload_content=False
    )
    answer = response.read(gate.DOCUMENT_BYTES + 1)
    if len(answer) > gate.DOCUMENT_BYTES:
        response.close()
        raise urllib3.exceptions.HTTPError("the answer is too long")
    response.release_conn()
    return response.status, answer


@functools.cache
def _pool() -> urllib3.PoolManager:
    """Return this process's connections; threads may share them."""
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    return urllib3.PoolManager(num_pools=50, maxsize=_KEPT, timeout=timeout)


def close() -> None:
    """Close this process's connections."""
    _pool().clear()


def _read(peer: InstanceDescription, status: int, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    if status < 500 and status not in (404, 429):
        raise PeerUnreachable(f"{peer.label} answers {status} in another protocol. Check its endpoint {peer.endpoint}.")
    return {"error": f"status {status}", "remedy": "Look at the log of that instance."}
