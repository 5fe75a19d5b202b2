"""The door: who comes in, and what those are told who do not."""

import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from offloading.models import Nonce, PeerKey
from offloading.transport import gate, keys
from tests.offloading.foreign import RUN, Foreign, establish
from topology.models import Refusal

PATH = "/bin/receive/blobs/" + "a" * 64 + "?offset=0&size=5"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    settings.OFFLOADING_ENDPOINT = "http://author.example:4502/"
    establish()


@pytest.fixture
def foreign():
    foreign = Foreign()
    foreign.announce()
    return foreign


def refused(response, status, error):
    answer = response.json()
    assert (response.status_code, answer["error"]) == (status, error)
    assert answer["remedy"]
    refusal = Refusal.objects.get()
    assert refusal.kind == "transport"
    assert refusal.reason.startswith(error)


def test_signed_request_comes_in_whatever_host_it_came_by(client, foreign):
    response = foreign.call(client, "PUT", PATH, b"hel")
    assert (response.status_code, response.json()) == (200, {"offset": 3, "complete": False})
    assert not Refusal.objects.exists()


def test_unsigned_request_is_refused_and_not_sent_to_the_login(client):
    refused(client.put(PATH, b"hello", content_type="text/plain"), 401, "unsigned")


def test_other_methods_are_refused(client, foreign):
    assert foreign.call(client, "GET", PATH).status_code == 405


def test_unknown_instance_is_told_to_connect_and_counted_once(client):
    stranger = Foreign()
    for _ in range(3):
        response = stranger.call(client, "PUT", PATH, b"hello")
    refused(response, 401, "unknown-instance")
    assert Refusal.objects.get().count == 3
    assert stranger.sling_id not in Refusal.objects.get().caller


def test_key_that_waits_for_approval_is_named_with_the_command_to_approve_it(client):
    foreign = Foreign()
    foreign.announce(is_trusted=False)
    keys.learn_all(gate.topology.current_view())
    response = foreign.call(client, "PUT", PATH, b"hello")
    refused(response, 401, "key-pending")
    assert f"peerkeys approve {keys.fingerprint(foreign.public_key)}" in response.json()["remedy"]
    keys.approve(key_fingerprint=keys.fingerprint(foreign.public_key), by="ann")
    assert foreign.call(client, "PUT", PATH, b"hel").status_code == 200


def test_revoked_key_is_refused(client, foreign):
    foreign.call(client, "PUT", PATH, b"hel")
    keys.revoke(key_fingerprint=keys.fingerprint(foreign.public_key), by="ann")
    refused(foreign.call(client, "PUT", PATH, b"hel"), 401, "key-revoked")


def test_key_of_somebody_else_does_not_fit(client, foreign):
    headers = foreign.headers("PUT", PATH, b"hello", key=ed25519.Ed25519PrivateKey.generate())
    refused(foreign.call(client, "PUT", PATH, b"hello", headers=headers), 401, "bad-signature")


def test_tampered_body_is_refused(client, foreign):
    headers = foreign.headers("PUT", PATH, b"hello")
    refused(foreign.call(client, "PUT", PATH, b"hellp", headers=headers), 400, "digest-mismatch")


def test_request_for_another_address_is_refused(client, foreign):
    headers = foreign.headers("PUT", PATH.replace("offset=0", "offset=3"), b"hello")
    refused(foreign.call(client, "PUT", PATH, b"hello", headers=headers), 401, "bad-signature")


def test_request_signed_long_ago_is_stale(client, foreign):
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=45)
    headers = foreign.headers("PUT", PATH, b"hello", now=before)
    refused(foreign.call(client, "PUT", PATH, b"hello", headers=headers), 401, "stale")


def test_replayed_request_is_refused(client, foreign):
    headers = foreign.headers("PUT", PATH, b"hel")
    assert foreign.call(client, "PUT", PATH, b"hel", headers=headers).status_code == 200
    refused(foreign.call(client, "PUT", PATH, b"hel", headers=headers), 401, "replayed")


def test_body_beyond_the_bound_is_refused(client, foreign, monkeypatch):
    monkeypatch.setattr(gate, "DOCUMENT_BYTES", 100)
    refused(foreign.call(client, "POST", "/bin/receive", b"x" * 101), 413, "too-large")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        pytest.param(b"[" * 100_000, id="deep"),
        b"[]",
        b"{}",
        b'{"job": 1}',
        b'{"job": {}, "origin": {}}',
    ],
)
@pytest.mark.parametrize("path", ["/bin/receive", "/bin/receive/results", "/bin/receive/switch"])
def test_nonsense_is_refused_as_malformed(client, foreign, path, body):
    refused(foreign.call(client, "POST", path, body), 400, "malformed")


def test_nonces_are_forgotten_when_a_replay_would_be_stale(client, foreign):
    foreign.call(client, "PUT", PATH, b"hel")
    assert gate.forget_old_nonces() == 0
    old = Nonce.objects.get().seen_at - datetime.timedelta(seconds=62)
    Nonce.objects.update(seen_at=old)
    assert gate.forget_old_nonces() == 1


def test_caller_is_noted_by_name_only_if_its_key_was_seen(client, foreign):
    foreign.call(client, "POST", "/bin/receive", b"{}")
    assert PeerKey.objects.filter(sling_id=foreign.sling_id).exists()
    assert foreign.sling_id in Refusal.objects.get().caller
