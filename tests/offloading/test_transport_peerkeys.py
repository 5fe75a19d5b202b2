"""The command that shows the keys of others and decides about them."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from offloading.transport import keys
from tests.offloading.foreign import RUN, Foreign, establish
from topology import services as topology

pytestmark = pytest.mark.django_db


def peerkeys(*arguments):
    out = StringIO()
    call_command("peerkeys", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def mark(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()
    foreign = Foreign()
    foreign.announce(is_trusted=False)
    keys.learn_all(topology.current_view())
    return keys.fingerprint(foreign.public_key)


def test_keys_are_listed_approved_and_revoked(mark):
    assert f"{mark}  " in peerkeys()
    assert "PENDING" in peerkeys("list")
    assert "APPROVED  by ann" in peerkeys("approve", mark, "--by", "ann")
    assert json.loads(peerkeys("revoke", mark, "--json"))[0]["trust"] == "REVOKED"


def test_no_keys_say_where_they_come_from():
    assert "connectors" in peerkeys()
    assert json.loads(peerkeys("--json")) == []


def test_wrong_fingerprint_is_an_error_with_the_known_ones(mark):
    with pytest.raises(CommandError, match=mark):
        peerkeys("approve", "0000")
    with pytest.raises(CommandError, match="fingerprint"):
        peerkeys("approve")
