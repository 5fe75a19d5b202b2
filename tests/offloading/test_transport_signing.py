"""Signatures between instances: what is accepted, and each way in which a request can be wrong."""

import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from offloading.transport import signing

ME = "4c6b1f5e-0000-4000-8000-000000000001"
URL = "http://127.0.0.1:4512/bin/receive/blobs/" + "a" * 64 + "?offset=0&size=5"
KEY = ed25519.Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)


def signed_message(method="PUT", url=URL, body=b"hello", key=KEY):
    headers = signing.sign(method=method, url=url, body=body, sling_id=ME, key=key, now=NOW)
    return signing.Message(method, url, {name.lower(): value for name, value in headers.items()})


def verify(message, body=b"hello", keys=(PUBLIC,), now=NOW):
    return signing.verify(message, body=body, keys=keys, clock_seconds=30, now=now)


def changed(message, **changes):
    headers = {name: changes.pop(name.replace("-", "_"), value) for name, value in message.headers.items()}
    return signing.Message(changes.get("method", message.method), changes.get("url", message.url), headers)


def refusal(message, **arguments):
    with pytest.raises(signing.Refused) as caught:
        verify(message, **arguments)
    assert caught.value.reason
    assert caught.value.remedy
    return caught.value.error, caught.value.status


def test_signed_request_is_accepted_and_each_has_its_own_nonce():
    assert verify(signed_message()) != verify(signed_message())


def test_empty_body_is_signed_too():
    assert verify(signed_message(method="GET", body=b""), body=b"")
    assert refusal(signed_message(method="GET", body=b""), body=b"more") == ("digest-mismatch", 400)


def test_second_key_is_tried_when_keys_are_being_changed():
    assert verify(signed_message(), keys=(ed25519.Ed25519PrivateKey.generate().public_key(), PUBLIC))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "POST"},
        {"url": URL.replace("offset=0", "offset=1")},
        {"url": URL.replace("4512", "4513")},
        {"x_instance_id": "4c6b1f5e-0000-4000-8000-000000000002"},
        {"signature": "pyhms=:AAAA:"},
        {"signature_input": "nonsense"},
    ],
)
def test_change_of_anything_that_is_covered_is_noticed(change):
    assert refusal(changed(signed_message(), **change)) == ("bad-signature", 401)


def test_other_body_is_noticed_as_such():
    assert refusal(signed_message(), body=b"hellp") == ("digest-mismatch", 400)


def test_key_of_somebody_else_is_refused():
    assert refusal(signed_message(key=ed25519.Ed25519PrivateKey.generate())) == ("bad-signature", 401)
    assert refusal(signed_message(), keys=()) == ("unknown-instance", 401)


@pytest.mark.parametrize(("seconds", "is_stale"), [(-31, True), (-30, False), (30, False), (31, True)])
def test_signature_from_another_time_is_stale(seconds, is_stale):
    now = NOW + datetime.timedelta(seconds=seconds)
    if is_stale:
        assert refusal(signed_message(), now=now) == ("stale", 401)
    else:
        assert verify(signed_message(), now=now)


def test_signature_over_less_than_everything_is_refused():
    message = signed_message()
    less = message.headers["signature-input"].replace(' "content-digest"', "")
    assert refusal(changed(message, signature_input=less)) == ("bad-signature", 401)
