"""The vectors were made with openssl and hashlib from the protocol's description, not with the code under test."""

import pytest

from topology.connectors import trust
from topology.connectors.trust import Direction, Kdf, NotTrusted, Proof, Tampered

PATH = "/libs/sling/topology/connector.A1.json"
TEXT = '{"a":1}'
KEY_NO = 125_000
PROOF = Proof("WEFi0jQAHdqJYMsX3dOln75EO/7SGHMELki1MVROjZ0=", f"{KEY_NO}/DS2CqfLcIGiIvCsyGK2PJJuWe4dbhqKFLC0MBI3UA9Q=")
DELETE_HASH = "JhIAwgtlCNyBWowj9n1vy9NNtZClJiZHO5NbcpmTLk0="
PLAIN = '{"ownerId":"A1"}'
SALT_AND_VECTOR = '"bmluZWJ5dGVz","AAECAwQFBgcICQoLDA0ODw=="'
ENCRYPTED = {
    Kdf.SHA256: f'{{"payload":[{SALT_AND_VECTOR},"L9BZfeWaGWPAnSyS4v2BlMLOuNtyfDSUDvua1iAFW7o="]}}',
    Kdf.SHA1: f'{{"payload":[{SALT_AND_VECTOR},"AMikNjlNPeRpwVt5tTTKyoD7l9ZzAKv3i8WcIUlPzws="]}}',
}


def test_key_number_is_the_period():
    assert trust.key_number(14_400_000 * 7 - 1, 14_400_000) == 6
    assert trust.key_number(14_400_000 * 7, 14_400_000) == 7


def test_signature_is_that_of_the_vector():
    assert trust.sign(Direction.REQUEST, PATH, TEXT, shared_key="secret", key_no=KEY_NO) == PROOF
    assert PROOF.headers() == {"X-SlingTopologyHash": PROOF.hash, "X-SlingTopologyTrust": PROOF.trust}


def test_request_without_a_body_is_signed_with_null():
    proof = trust.sign(Direction.REQUEST, PATH, trust.NO_TEXT, shared_key="secret", key_no=KEY_NO)
    assert proof.hash == DELETE_HASH


@pytest.mark.parametrize("own_key_no", [KEY_NO - 1, KEY_NO, KEY_NO + 1])
def test_keys_of_the_periods_beside_this_one_are_good(own_key_no):
    trust.check_signature(PROOF, shared_key="secret", key_no=own_key_no)


@pytest.mark.parametrize(
    ("proof", "shared_key", "own_key_no", "reason"),
    [
        (PROOF, "other", KEY_NO, "shared key is a different one"),
        (PROOF, "secret", KEY_NO + 2, "too old"),
        (PROOF, "secret", KEY_NO - 2, "too old"),
        (Proof(PROOF.hash, PROOF.trust.replace("125000", "125001")), "secret", KEY_NO, "different one"),
        (Proof(DELETE_HASH, PROOF.trust), "secret", KEY_NO, "different one"),
        (Proof(PROOF.hash, ""), "secret", KEY_NO, "not signed"),
        (Proof("", PROOF.trust), "secret", KEY_NO, "not signed"),
        (Proof(PROOF.hash, "125000"), "secret", KEY_NO, "malformed"),
        (Proof(PROOF.hash, "x/y"), "secret", KEY_NO, "malformed"),
        (Proof(PROOF.hash, "²/y"), "secret", KEY_NO, "malformed"),
        (Proof(PROOF.hash, "9" * 5000 + "/y"), "secret", KEY_NO, "malformed"),
        (Proof(PROOF.hash, "125000/ä\udc80"), "secret", KEY_NO, "different one"),
    ],
)
def test_signature_that_proves_nothing_is_refused(proof, shared_key, own_key_no, reason):
    with pytest.raises(NotTrusted, match=reason):
        trust.check_signature(proof, shared_key=shared_key, key_no=own_key_no)


@pytest.mark.parametrize(
    ("direction", "path", "text"),
    [
        (Direction.REQUEST, PATH, '{"a":2}'),
        (Direction.REQUEST, PATH.replace("A1", "B1"), TEXT),
        (Direction.RESPONSE, PATH, TEXT),
    ],
    ids=["other text", "other path", "other direction"],
)
def test_signature_is_bound_to_text_path_and_direction(direction, path, text):
    trust.check_text(PROOF, Direction.REQUEST, PATH, TEXT)
    with pytest.raises(Tampered):
        trust.check_text(PROOF, direction, path, text)


@pytest.mark.parametrize("kdf", Kdf)
def test_both_ways_to_derive_the_key_are_read(kdf):
    assert trust.decrypt(ENCRYPTED[kdf], "secret") == (PLAIN, kdf)


@pytest.mark.parametrize("kdf", Kdf)
@pytest.mark.parametrize("text", ['""', '{"name":"Zoë \\u00e9"}', '"' + "x" * 1000 + '"'])
def test_what_is_encrypted_can_be_read(kdf, text):
    encrypted = trust.encrypt(text, "secret", kdf)
    assert encrypted != trust.encrypt(text, "secret", kdf)
    assert trust.decrypt(encrypted, "secret") == (text, kdf)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "7",
        PLAIN,
        '{"payload":["a"]}',
        '{"payload":[1,2,3]}',
        '{"payload":["","",""]}',
        ENCRYPTED[Kdf.SHA256].replace("AAEC", "BBEC"),
        ENCRYPTED[Kdf.SHA256].replace("W7o=", "W7s="),
        ENCRYPTED[Kdf.SHA256].replace("DSUD", ""),
    ],
)
def test_text_that_cannot_be_decrypted_is_refused(text):
    with pytest.raises(Tampered):
        trust.decrypt(text, "secret")


def test_another_key_reads_nothing():
    with pytest.raises(Tampered):
        trust.decrypt(ENCRYPTED[Kdf.SHA256], "other")
