"""How a message travels: signed and encrypted if there is a shared key, in the clear if there is none.

Server and client wrap and unwrap their messages here alone, so both directions obey the same rules. The rules
themselves are in `trust`; who may speak in the clear, in `allowlist`.
"""

import secrets
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from topology.connectors import replay, trust

# An announcement of a thousand instances is below a megabyte.
MAX_BYTES = 16 * 1024 * 1024
_NONCE_BYTES = 16


class Unreadable(ValueError):
    """The body is no text, or far too long for an announcement."""


@dataclass(frozen=True)
class Opened:
    """What was read. `kdf` is how to encrypt an answer so that this sender can read it."""

    text: str
    is_trusted: bool
    kdf: trust.Kdf = trust.Kdf.SHA256


@dataclass(frozen=True)
class Sealed:
    """What to send."""

    body: bytes
    headers: dict[str, str]


def is_signed() -> bool:
    """Tell if connectors of this installation sign and encrypt."""
    return bool(settings.OFFLOADING_CONNECTOR_SHARED_KEY)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def seal(direction: trust.Direction, path: str, text: str, kdf: trust.Kdf = trust.Kdf.SHA256) -> Sealed:
    """Wrap an announcement."""
    if not is_signed():
        return Sealed(text.encode(), {})
    encrypted = trust.encrypt(text, settings.OFFLOADING_CONNECTOR_SHARED_KEY, kdf)
    return Sealed(encrypted.encode(), _sign(direction, path, encrypted).headers())


def seal_empty(path: str) -> dict[str, str]:
    """Return the headers of a request without a body.

    Sling signs each of them alike and never recomputes their hash, so it accepts one with a nonce too.
    """
    if not is_signed():
        return {}
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    return {trust.NONCE_HEADER: nonce, **_sign(trust.Direction.REQUEST, path, trust.no_text(nonce)).headers()}


def check_sender(headers: Mapping[str, str]) -> None:
    """Raise NotTrusted unless a message with these headers comes from one who has the shared key. Needs no body."""
    if is_signed():
        trust.check_signature(
            _proof(headers), shared_key=settings.OFFLOADING_CONNECTOR_SHARED_KEY, key_no=_key_number()
        )


def unseal(direction: trust.Direction, path: str, headers: Mapping[str, str], body: bytes) -> Opened:
    """Unwrap a message. Raises NotTrusted, Tampered or Unreadable."""
    check_sender(headers)
    text = _text(body)
    if not is_signed():
        if headers.get(trust.TRUST_HEADER):
            raise Unreadable("The message is encrypted, and no shared key is set here.")
        return Opened(text, is_trusted=False)
    _accept_once(direction, path, headers, text)
    plain, kdf = trust.decrypt(text, settings.OFFLOADING_CONNECTOR_SHARED_KEY)
    return Opened(plain, is_trusted=True, kdf=kdf)


def unseal_empty(path: str, headers: Mapping[str, str]) -> None:
    """Check a request without a body, which is bound to its path and nonce as well. Raises NotTrusted or Tampered."""
    check_sender(headers)
    if is_signed():
        text = trust.no_text(headers.get(trust.NONCE_HEADER, ""))
        _accept_once(trust.Direction.REQUEST, path, headers, text)


def gunzip(body: bytes) -> bytes:
    """Unpack gzip, never more than an announcement may have. Raises Unreadable."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise Unreadable("The body is no gzip.") from error
    if not unpacker.eof:
        raise Unreadable("The body is incomplete gzip, or unpacks to more than an announcement may have.")
    return unpacked


def _accept_once(direction: trust.Direction, path: str, headers: Mapping[str, str], text: str) -> None:
    proof = _proof(headers)
    trust.check_text(proof, direction, path, text)
    if not replay.is_new(proof.signature):
        raise trust.NotTrusted("The message is a replay of an earlier one.")


def _proof(headers: Mapping[str, str]) -> trust.Proof:
    return trust.Proof(headers.get(trust.HASH_HEADER, ""), headers.get(trust.TRUST_HEADER, ""))


def _sign(direction: trust.Direction, path: str, text: str) -> trust.Proof:
    return trust.sign(direction, path, text, shared_key=settings.OFFLOADING_CONNECTOR_SHARED_KEY, key_no=_key_number())


def _key_number() -> int:
    return trust.key_number(now_ms(), settings.OFFLOADING_CONNECTOR_KEY_TTL_SECONDS * 1000)


def _text(body: bytes) -> str:
    if len(body) > MAX_BYTES:
        raise Unreadable("The body is longer than an announcement may be.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("The body is no UTF-8 text.") from error
