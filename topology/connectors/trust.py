"""Signing and encrypting what connectors say. Pure: key, time and text come as arguments.

After org.apache.sling.discovery.base.connectors.ping.TopologyRequestValidator. The signature covers the hash, the hash
covers direction, path and text. Whether a signature was seen before is `replay`'s business.
"""

import base64
import enum
import hashlib
import hmac
import json
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

HASH_HEADER = "X-SlingTopologyHash"
TRUST_HEADER = "X-SlingTopologyTrust"
# Ours, not Sling's: makes one request without a body differ from the next.
NONCE_HEADER = "X-Offloading-Nonce"
# What stands for the missing text of a request that takes the announcement back.
NO_TEXT = "null"

_SALT_BYTES = 9
_BLOCK_BYTES = 16
_KEY_BYTES = 16


class Direction(enum.StrEnum):
    REQUEST = "request"
    RESPONSE = "response"


class Kdf(enum.Enum):
    """How the encryption key is derived; the value is hash and iterations. Nothing in a message says which it was."""

    SHA256 = (hashes.SHA256, 10_000)
    # Sling's discovery.base up to 2.0.10.
    SHA1 = (hashes.SHA1, 256)


class NotTrusted(Exception):
    """The signature does not prove the shared key. The text is one of few constant sentences."""


class Tampered(Exception):
    """The signature is good, but not for this text, path and direction; or the text cannot be decrypted."""


@dataclass(frozen=True)
class Proof:
    """The two headers of a signed message."""

    hash: str
    trust: str

    @property
    def signature(self) -> str:
        return self.trust.partition("/")[2]

    def headers(self) -> dict[str, str]:
        return {HASH_HEADER: self.hash, TRUST_HEADER: self.trust}


# --- Signing ------------------------------------------------------------------------------------------------------


def no_text(nonce: str) -> str:
    """Return what is signed in place of the missing text; Sling sends no nonce."""
    return f"{NO_TEXT}:{nonce}" if nonce else NO_TEXT


def key_number(now_ms: int, ttl_ms: int) -> int:
    """Return the number of the period whose key is used now."""
    return now_ms // ttl_ms


def sign(direction: Direction, path: str, text: str, *, shared_key: str, key_no: int) -> Proof:
    """Sign what is sent: `text` as it stands on the wire before gzip, so encrypted if it is."""
    digest = _hash(direction, path, text)
    return Proof(digest, f"{key_no}/{_mac(digest, shared_key, key_no)}")


def check_signature(proof: Proof, *, shared_key: str, key_no: int) -> None:
    """Raise NotTrusted unless the sender has the shared key and made the signature in this period or one beside it."""
    if not proof.hash or not proof.trust:
        raise NotTrusted("The message is not signed.")
    number, separator, signature = proof.trust.partition("/")
    # Longer than any period number that is due: int() of a text without end would take its time.
    if not separator or len(number) > 20 or not number.isascii() or not number.isdigit():
        raise NotTrusted("The signature is malformed.")
    if abs(int(number) - key_no) > 1:
        raise NotTrusted("The signature is too old, or the clocks differ by hours.")
    expected = _mac(proof.hash, shared_key, int(number))
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise NotTrusted("The shared key is a different one.")


def check_text(proof: Proof, direction: Direction, path: str, text: str) -> None:
    """Raise Tampered unless the signed hash is that of this very message."""
    if not hmac.compare_digest(_hash(direction, path, text).encode(), proof.hash.encode("utf-8", "replace")):
        raise Tampered("The message was changed on its way, or its path was.")


def _hash(direction: Direction, path: str, text: str) -> str:
    return _base64_sha256(f"{direction}:{path}:{text}")


def _mac(digest: str, shared_key: str, key_no: int) -> str:
    key = _base64_sha256(f"{shared_key}{key_no}").encode("ascii")
    return _base64(hmac.digest(key, digest.encode("utf-8", "replace"), "sha256"))


def _base64_sha256(text: str) -> str:
    return _base64(hashlib.sha256(text.encode("utf-8", "replace")).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# --- Encrypting ---------------------------------------------------------------------------------------------------


def encrypt(text: str, shared_key: str, kdf: Kdf = Kdf.SHA256) -> str:
    """Return the JSON text that holds `text` encrypted: salt, initialisation vector and AES-128-CBC."""
    salt, vector = os.urandom(_SALT_BYTES), os.urandom(_BLOCK_BYTES)
    padder = padding.PKCS7(8 * _BLOCK_BYTES).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(_key(shared_key, salt, kdf)), modes.CBC(vector)).encryptor()
    parts = (salt, vector, encryptor.update(padded) + encryptor.finalize())
    return json.dumps({"payload": [_base64(part) for part in parts]}, separators=(",", ":"))


def decrypt(text: str, shared_key: str) -> tuple[str, Kdf]:
    """Return the text and how its key was derived, so that the answer can be read as well. Raises Tampered.

    Check the signature first: only then can nobody learn anything from the difference between the errors.
    """
    salt, vector, secret = _parts(text)
    for kdf in Kdf:
        plain = _decrypted(secret, vector, _key(shared_key, salt, kdf))
        if plain is not None:
            return plain, kdf
    raise Tampered("The message cannot be decrypted.")


def _parts(text: str) -> tuple[bytes, bytes, bytes]:
    try:
        salt, vector, secret = (base64.b64decode(part, validate=True) for part in json.loads(text)["payload"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Tampered("The message is not encrypted.") from error
    if len(vector) != _BLOCK_BYTES or not secret or len(secret) % _BLOCK_BYTES:
        raise Tampered("The message cannot be decrypted.")
    return salt, vector, secret


def _decrypted(secret: bytes, vector: bytes, key: bytes) -> str | None:
    """Return the JSON text; None if this is the wrong key, which in one of 256 cases only the text itself shows."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    unpadder = padding.PKCS7(8 * _BLOCK_BYTES).unpadder()
    try:
        padded = decryptor.update(secret) + decryptor.finalize()
        text = (unpadder.update(padded) + unpadder.finalize()).decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text


def _key(shared_key: str, salt: bytes, kdf: Kdf) -> bytes:
    algorithm, iterations = kdf.value
    return PBKDF2HMAC(algorithm(), _KEY_BYTES, salt, iterations).derive(shared_key.encode())
