"""Switches on instances of other clusters, from the click to the confirmation; and those that come from there."""

import json

import pytest

from offloading import services
from offloading.jobs import distribution
from offloading.models import SwitchCommand, TopicSettings
from offloading.transport import agent, client, switches
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish, http_server
from topology import identity
from topology import services as topology

SWITCH = "/bin/receive/switch"


@pytest.fixture
def instance(settings, db):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()
    yield
    client.close()


@pytest.fixture
def replies():
    return []


@pytest.fixture
def peer(instance, replies):
    with http_server(lambda *_: replies.pop(0) if replies else (200, {"state": "applied"})) as (endpoint, asked):
        foreign = Foreign(endpoint=endpoint, topics=(TOPIC, "acme/other"))
        foreign.announce()
        foreign.asked = asked
        yield foreign


def click(peer, topic=TOPIC, action="disable"):
    return services.configure_instance(sling_id=peer.sling_id, actions={topic: action}, by="ann")


def send():
    SwitchCommand.objects.update(next_try_at=None)
    return switches.send_all(topology.current_view())


def test_switch_is_sent_signed_and_pending_until_the_instance_shows_it(peer):
    command = click(peer)
    assert agent.waiting_kinds() == {"switch"}
    assert send() == 1
    assert agent.waiting_kinds() == set()
    [(method, path, body, headers)] = peer.asked
    assert (method, path) == ("POST", SWITCH)
    assert json.loads(body) == {"sling_id": peer.sling_id, "actions": {TOPIC: "disable"}, "requested_by": "ann"}
    assert "Signature" in headers
    assert switches.confirm(topology.current_view()) == 0
    peer.announce(**{distribution.CONSUMER_TOPICS: "acme/other", distribution.BLACKLIST: TOPIC})
    assert switches.confirm(topology.current_view()) == 1
    command.refresh_from_db()
    assert command.sent_at is not None
    assert command.confirmed_at is not None


def test_switch_that_did_not_arrive_is_tried_again_in_order(peer, replies):
    click(peer, action="disable")
    click(peer, action="enable")
    replies.append((503, {"error": "busy"}))
    assert send() == 0
    first, second = SwitchCommand.objects.order_by("requested_at")
    assert "503" in first.error
    assert (first.tries, second.tries) == (1, 0)
    assert send() == 1
    assert send() == 1
    assert [json.loads(body)["actions"][TOPIC] for _, _, body, _ in peer.asked] == ["disable", "disable", "enable"]


def test_failing_switch_waits_and_is_given_up_in_the_end(peer, replies):
    click(peer)
    replies.extend([(503, {"error": "busy"})] * 50)
    send()
    assert switches.send_all(topology.current_view()) == 0
    assert len(peer.asked) == 1
    for _ in range(20):
        send()
    command = SwitchCommand.objects.get()
    assert command.tries == switches.MOST_TRIES == len(peer.asked)
    assert command.error.startswith("Given up: ")


def test_switch_that_is_refused_for_good_is_given_up_at_once_and_blocks_no_later_one(peer, replies):
    click(peer, action="disable")
    click(peer, action="enable")
    replies.append((400, {"error": "switch-invalid", "remedy": "No such topic."}))
    assert send() == 0
    assert send() == 1
    first, second = SwitchCommand.objects.order_by("requested_at")
    assert first.error.startswith("Given up: ")
    assert second.sent_at is not None


def test_instance_that_is_gone_is_waited_for(peer):
    click(peer)
    peer.leave()
    assert send() == 0
    assert "not in the topology" in SwitchCommand.objects.get().error


def test_later_switch_closes_an_earlier_one_that_was_never_shown(peer):
    click(peer, action="disable")
    send()
    click(peer, action="enable")
    send()
    assert switches.confirm(topology.current_view()) == 2


@pytest.mark.parametrize(
    ("actions", "consumed", "whitelist", "is_shown"),
    [
        ({"a": "enable"}, "a,b", "*", True),
        ({"a": "enable"}, "b", "*", False),
        ({"a": "disable"}, "b", "*", True),
        ({"a": "disable", "b": "enable"}, "b", "*", True),
        ({"a": "disable"}, "a,b", "*", False),
        ({"a": "exclusive"}, "a", "a", True),
        ({"a": "exclusive"}, "a", "*", False),
        ({"a": "exclusive"}, "", "a", False),
    ],
)
def test_what_an_instance_shows_is_compared_with_what_was_asked(actions, consumed, whitelist, is_shown):
    properties = {
        distribution.REGISTERED_TOPICS: "a,b",
        distribution.CONSUMER_TOPICS: consumed,
        distribution.WHITELIST: whitelist,
    }
    assert switches.is_shown(actions, properties) is is_shown


# --- Receiving -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_topic(monkeypatch, instance):
    """Have this instance announce a topic of its own."""
    from topology.models import Instance

    row = Instance.objects.get(sling_id=identity.sling_id())
    Instance.objects.update(properties=row.properties | {distribution.REGISTERED_TOPICS: TOPIC})
    return TOPIC


def command(sling_id=None, topic=TOPIC, action="disable"):
    return {"sling_id": sling_id or identity.sling_id(), "actions": {topic: action}, "requested_by": "bob"}


def test_switch_from_a_trusted_peer_is_made_in_the_name_of_who_asked(client, own_topic):
    foreign = Foreign()
    foreign.announce()
    assert foreign.post(client, SWITCH, command()).json() == {"state": "applied"}
    row = TopicSettings.objects.get()
    assert (row.sling_id, row.blacklist, row.changed_by) == (identity.sling_id(), [TOPIC], "bob at 127.0.0.1:4512")


@pytest.mark.parametrize(
    "change", [{"topic": "acme/unknown"}, {"action": "explode"}, {"sling_id": "nobody"}, {"sling_id": "the caller"}]
)
def test_switch_that_cannot_be_made_is_refused_with_the_reason(client, own_topic, change):
    foreign = Foreign()
    foreign.announce()
    if change.get("sling_id") == "the caller":
        change = {"sling_id": foreign.sling_id}
    response = foreign.post(client, SWITCH, command(**change))
    assert response.status_code == 400
    assert response.json()["error"] in ("switch-invalid", "malformed")
    assert not TopicSettings.objects.exists()
    assert not SwitchCommand.objects.exists()


def test_switch_from_an_untrusted_peer_changes_nothing(client, own_topic):
    foreign = Foreign()
    foreign.announce(is_trusted=False)
    assert foreign.post(client, SWITCH, command()).status_code == 401
    assert not TopicSettings.objects.exists()
