"""Keys: our own, and which of others are believed."""

import stat

import pytest

from offloading.models import PeerKey
from offloading.transport import keys
from tests.offloading.foreign import RUN, Foreign, establish
from topology import services as topology
from topology.models import Refusal


@pytest.fixture(autouse=True)
def run(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN


def test_own_key_is_made_once_and_for_nobody_else_to_read(own_home):
    first = keys.own_public_key()
    keys._read_or_make.cache_clear()
    assert keys.own_public_key() == first
    assert stat.S_IMODE((own_home / "instance.key").stat().st_mode) == 0o600
    assert [path.name for path in own_home.iterdir()] == ["instance.key"]


def test_own_key_is_announced():
    assert keys.announce("any") == {keys.PROPERTY: keys.own_public_key()}


def learn(foreign, **announced):
    foreign.announce(**announced)
    keys.learn_all(topology.current_view())


def trust_of(foreign):
    return {row.public_key: row.trust for row in PeerKey.objects.filter(sling_id=foreign.sling_id)}


@pytest.mark.django_db
def test_key_of_a_trusted_announcement_is_believed_and_our_own_is_not_listed():
    establish()
    foreign = Foreign()
    learn(foreign)
    learn(foreign)
    assert trust_of(foreign) == {foreign.public_key: "CONNECTOR"}
    assert PeerKey.objects.count() == 1


@pytest.mark.django_db
def test_key_that_nobody_vouches_for_waits_until_it_is_approved():
    establish()
    foreign = Foreign()
    learn(foreign, is_trusted=False)
    assert keys.accepted(foreign.sling_id) == []
    keys.approve(key_fingerprint=keys.fingerprint(foreign.public_key), by="ann")
    assert len(keys.accepted(foreign.sling_id)) == 1
    assert trust_of(foreign) == {foreign.public_key: "APPROVED"}


@pytest.mark.django_db
def test_waiting_key_is_believed_when_a_trusted_announcement_brings_it():
    establish()
    foreign = Foreign()
    learn(foreign, is_trusted=False)
    learn(foreign, is_trusted=True)
    assert trust_of(foreign) == {foreign.public_key: "CONNECTOR"}


@pytest.mark.django_db
def test_new_key_replaces_the_one_of_the_earlier_announcement_but_only_if_it_is_trusted():
    establish()
    foreign = Foreign()
    learn(foreign)
    renewed = Foreign(sling_id=foreign.sling_id, cluster_id=foreign.cluster_id)
    learn(renewed, is_trusted=False)
    assert trust_of(foreign) == {foreign.public_key: "CONNECTOR", renewed.public_key: "PENDING"}
    learn(renewed)
    assert trust_of(foreign) == {foreign.public_key: "REVOKED", renewed.public_key: "CONNECTOR"}


@pytest.mark.django_db
def test_revoked_key_stays_revoked_whatever_is_announced():
    establish()
    foreign = Foreign()
    learn(foreign)
    keys.revoke(key_fingerprint=keys.fingerprint(foreign.public_key), by="ann")
    learn(foreign)
    assert keys.accepted(foreign.sling_id) == []
    assert trust_of(foreign) == {foreign.public_key: "REVOKED"}


@pytest.mark.django_db
def test_first_request_may_come_before_the_agent_has_seen_the_news():
    establish()
    foreign = Foreign()
    foreign.announce()
    assert len(keys.accepted(foreign.sling_id)) == 1


@pytest.mark.django_db
def test_announced_nonsense_is_refused_and_shown():
    establish()
    foreign = Foreign()
    learn(foreign, **{keys.PROPERTY: "bm8ga2V5"})
    assert trust_of(foreign) == {}
    assert Refusal.objects.get().kind == "key"


@pytest.mark.django_db
def test_unknown_fingerprint_is_answered_with_the_known_ones():
    establish()
    foreign = Foreign()
    learn(foreign)
    with pytest.raises(keys.KeyUnknown, match=keys.fingerprint(foreign.public_key)):
        keys.approve(key_fingerprint="0000", by="ann")
