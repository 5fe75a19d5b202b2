"""HTTP message signatures (RFC 9421, Ed25519) over every request that one instance makes to another: sign and verify.

Covered are @method, @target-uri, content-digest (of the body, an empty one too) and x-instance-id; `keyid` is the sling
id, `created` must be near the receiver's clock, `nonce` is for one use. Which keys count is in keys.py; remembering
nonces and answering the caller is gate.py's.
"""

import datetime
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import http_message_signatures as rfc9421
from cryptography.hazmat.primitives.asymmetric import ed25519
from http_message_signatures import exceptions

COVERED = ("@method", "@target-uri", "content-digest", "x-instance-id")
TAG = "offloading"
MAX_NONCE = 64
_NONCE_BYTES = 24


class Refused(Exception):
    """A request that is not to be carried out.

    `error` is a constant for programs and `reason` a constant sentence, so that refusals can be counted; what is
    special about this one is in `detail`, and `remedy` says to people what to do.
    """

    def __init__(self, error: str, reason: str, remedy: str, *, detail: str = "", status: int = 401) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.error, self.reason, self.remedy, self.status = error, reason, remedy, status


class _Stale(exceptions.InvalidSignature):
    pass


class _Verifier(rfc9421.HTTPMessageVerifier):
    """Checks `created` against a clock that is given, and tells a stale signature apart: the remedy differs."""

    def __init__(self, *, key: ed25519.Ed25519PublicKey, sling_id: str, now: datetime.datetime, seconds: int) -> None:
        resolver = rfc9421.MappingKeyResolver(public_keys={sling_id: key}, private_keys={})
        super().__init__(signature_algorithm=rfc9421.algorithms.ED25519, key_resolver=resolver)
        self.now, self.seconds = now, seconds

    def validate_created_and_expires(self, sig_input: Any, max_age: datetime.timedelta | None = None) -> None:
        created = sig_input.params.get("created")
        if type(created) is not int or abs(created - self.now.timestamp()) > self.seconds:
            raise _Stale(f"it says {created}, here it is {int(self.now.timestamp())}")


@dataclass(frozen=True)
class Message:
    """A request as the signature library wants it: method, absolute URL, headers."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


def sign(
    *, method: str, url: str, body: bytes, sling_id: str, key: ed25519.Ed25519PrivateKey, now: datetime.datetime
) -> dict[str, str]:
    """Return the headers to send along with the request."""
    message = Message(method, url, {"X-Instance-Id": sling_id})
    signer = rfc9421.HTTPMessageSigner(
        signature_algorithm=rfc9421.algorithms.ED25519,
        key_resolver=rfc9421.MappingKeyResolver(public_keys={}, private_keys={sling_id: key}),
    )
    signer.sign(
        message,
        key_id=sling_id,
        created=now,
        nonce=secrets.token_urlsafe(_NONCE_BYTES),
        tag=TAG,
        covered_component_ids=COVERED,
        body=body,
    )
    return message.headers


def verify(
    message: Message,
    *,
    body: bytes,
    keys: Iterable[ed25519.Ed25519PublicKey],
    clock_seconds: int,
    now: datetime.datetime,
) -> str:
    """Return the nonce of a request that one of `keys` signed. Raises `Refused`.

    `clock_seconds` is how far `created` may be from `now`, before and after.
    """
    sling_id = message.headers.get("x-instance-id", "")
    refusal = Refused("unknown-instance", "No key is known for the instance", "Connect the two installations first.")
    for key in keys:
        try:
            verifier = _Verifier(key=key, sling_id=sling_id, now=now, seconds=clock_seconds)
            return _verify_with(verifier, message, body)
        except Refused as error:
            refusal = error
            if error.error != "bad-signature":
                break
    raise refusal


def _verify_with(verifier: _Verifier, message: Message, body: bytes) -> str:
    try:
        results = verifier.verify(message, expect_tag=TAG, require_components=COVERED)
    except _Stale as error:
        remedy = f"Set the clocks of the two machines: they may differ by {verifier.seconds} seconds."
        raise Refused("stale", "The signature is not from now", remedy, detail=str(error)) from error
    except exceptions.HTTPMessageSignaturesException as error:
        remedy = "Compare the public keys that the two instances show, and the endpoint that the request was sent to."
        raise Refused("bad-signature", "The signature does not fit", remedy, detail=str(error)) from error
    _check_body(verifier, message, results, body)
    nonce = results[0].nonce
    if len(results) != 1 or not nonce or len(nonce) > MAX_NONCE:
        remedy = f"Sign once, with a nonce of up to {MAX_NONCE} characters."
        raise Refused("bad-signature", "The signature has no good nonce", remedy)
    return str(nonce)


def _check_body(verifier: _Verifier, message: Message, results: list[Any], body: bytes) -> None:
    try:
        verifier.verify_body(message, results, body)
    except exceptions.HTTPMessageSignaturesException as error:
        remedy = "Send the request again; if it happens again, look for a proxy that changes bodies on the way."
        raise Refused("digest-mismatch", "The body is not the one that was signed", remedy, status=400) from error
