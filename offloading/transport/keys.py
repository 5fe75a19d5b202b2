"""Who may sign requests to us: this instance's Ed25519 key, and the public keys of instances of other clusters.

A public key travels as an instance property. It is believed at once if its announcement came over a connector that
proved the shared key; any other waits until an operator approves its fingerprint. What is signed is in signing.py.
"""

import base64
import binascii
import functools
import hashlib
import logging
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.conf import settings
from django.db import transaction

from offloading import models
from topology import services as topology
from topology import snapshot

log = logging.getLogger(__name__)

PROPERTY = "com.offloading.instance.publickey"
ACCEPTED = (models.PeerKey.Trust.CONNECTOR, models.PeerKey.Trust.APPROVED)


class KeyUnknown(Exception):
    """No key has that fingerprint. The message lists those that are known."""


# --- Our own ---------------------------------------------------------------------------------------------------------


def private_key() -> ed25519.Ed25519PrivateKey:
    """Return this instance's key, made on first use in OFFLOADING_HOME/instance.key."""
    return _read_or_make(settings.OFFLOADING_HOME / "instance.key")


def own_public_key() -> str:
    """Return the public half, as it is announced: 32 raw bytes in base64."""
    return base64.b64encode(private_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def announce(sling_id: str) -> dict[str, str]:
    """Provide the instance property that carries our public key (a topology property provider)."""
    return {PROPERTY: own_public_key()}


@functools.lru_cache(maxsize=8)
def _read_or_make(path: Path) -> ed25519.Ed25519PrivateKey:
    try:
        return ed25519.Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except FileNotFoundError:
        _make(path)
        return ed25519.Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def _make(path: Path) -> None:
    """Write a new key where nobody else can read it. Of two processes that do so at once, the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = ed25519.Ed25519PrivateKey.generate()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        log.info("instance key was made by another process")
    finally:
        draft.unlink()


# --- Those of others -------------------------------------------------------------------------------------------------


def load(public_key: str) -> ed25519.Ed25519PublicKey | None:
    """Turn an announced value into a key, or None if it is not one."""
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
    except (binascii.Error, ValueError):
        return None


def fingerprint(public_key: str) -> str:
    """Return what two people compare over the telephone: SHA-256 of the key, shortened, in groups of four."""
    digest = hashlib.sha256(base64.b64decode(public_key)).hexdigest()[:32]
    return ":".join(digest[at : at + 4] for at in range(0, len(digest), 4))


def accepted(sling_id: str) -> list[ed25519.Ed25519PublicKey]:
    """Return the keys that `sling_id` may sign with.

    Looks at the announcements too if none is known yet: the first request of a new instance may arrive before this
    cluster's agent has seen the news.
    """
    rows = models.PeerKey.objects.filter(sling_id=sling_id, trust__in=ACCEPTED)
    known = list(rows.values_list("public_key", flat=True))
    if not known and (instance := topology.current_view().get(sling_id)):
        learn(instance)
        known = list(rows.values_list("public_key", flat=True))
    return [key for value in known if (key := load(value))]


def learn_all(view: snapshot.TopologyView) -> None:
    """Take over the keys that the instances of other clusters announce."""
    for instance in view.instances:
        if not view.is_local_member(instance.sling_id):
            learn(instance)


def learn(instance: snapshot.InstanceDescription) -> None:
    """Take over the key that one instance announces. Calling twice is safe.

    A trusted announcement replaces the key that an earlier one brought. It never revives a revoked key, and an
    announcement that nobody vouches for only leaves a key that waits for approval.
    """
    value = instance.properties.get(PROPERTY, "")
    if not value:
        return
    if load(value) is None:
        topology.record_refusal("key", instance.label, "The announced public key is not an Ed25519 key")
        return
    trust = models.PeerKey.Trust.CONNECTOR if instance.is_trusted else models.PeerKey.Trust.PENDING
    with transaction.atomic():
        row, is_new = models.PeerKey.objects.get_or_create(
            sling_id=instance.sling_id, public_key=value, defaults={"trust": trust, "changed_by": "connector"}
        )
        if instance.is_trusted:
            _believe(row)
    if is_new:
        facts = {"instance": instance.sling_id, "fingerprint": fingerprint(value), "trust": row.trust}
        log.info("peer key learned", extra=facts)


def _believe(row: models.PeerKey) -> None:
    rows = models.PeerKey.objects.filter(sling_id=row.sling_id)
    waiting = rows.filter(pk=row.pk, trust=models.PeerKey.Trust.PENDING)
    waiting.update(trust=models.PeerKey.Trust.CONNECTOR, changed_by="connector")
    row.refresh_from_db()
    if row.trust == models.PeerKey.Trust.CONNECTOR:
        older = rows.exclude(pk=row.pk).filter(trust=models.PeerKey.Trust.CONNECTOR)
        older.update(trust=models.PeerKey.Trust.REVOKED, changed_by="replaced over the connector")


def approve(*, key_fingerprint: str, by: str) -> models.PeerKey:
    """Let the key with this fingerprint sign requests to us. Raises `KeyUnknown`."""
    return _decide(key_fingerprint, models.PeerKey.Trust.APPROVED, by)


def revoke(*, key_fingerprint: str, by: str) -> models.PeerKey:
    """Refuse whatever the key with this fingerprint signs from now on. Raises `KeyUnknown`."""
    return _decide(key_fingerprint, models.PeerKey.Trust.REVOKED, by)


def _decide(key_fingerprint: str, trust: models.PeerKey.Trust, by: str) -> models.PeerKey:
    rows = list(models.PeerKey.objects.order_by("sling_id", "id"))
    row = next((row for row in rows if fingerprint(row.public_key) == key_fingerprint), None)
    if row is None:
        known = ", ".join(fingerprint(row.public_key) for row in rows) or "none"
        raise KeyUnknown(f"No key has the fingerprint {key_fingerprint}. Known are: {known}.")
    row.trust, row.changed_by = trust, by
    row.save(update_fields=["trust", "changed_by"])
    log.warning("peer key decided", extra={"instance": row.sling_id, "fingerprint": key_fingerprint, "trust": trust})
    return row
