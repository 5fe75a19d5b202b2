"""Which instance a job goes to, and what is said of the others: Sling's rules as a table, without a database."""

import pytest

from offloading.jobs import distribution
from offloading.jobs.distribution import Capability
from tests.offloading.topologies import view

TOPIC = "x/y"
ABLE = distribution.capability_of([TOPIC], ["*"], [])


def choose(topology, able, creator="a1", turn=0, **options):
    capabilities = dict.fromkeys(able, ABLE)
    return distribution.choose(
        view=topology, capabilities=capabilities, topic=TOPIC, creator=creator, turn=turn, **options
    )


@pytest.mark.parametrize(
    ("able", "creator", "turn", "target"),
    [
        ([], "a1", 0, ""),
        (["a1"], "a1", 0, "a1"),
        (["a1", "a2"], "a1", 0, "a1"),
        (["a1", "a2"], "a1", 1, "a2"),
        (["a1", "a2"], "a1", 2, "a1"),
        # The leader comes first, then the sling ids in their order.
        (["a2", "a3"], "a1", 0, "a2"),
        (["a2", "a3"], "a1", 1, "a3"),
        # The creator's cluster before any other, also when the creator itself is not able.
        (["a2", "w1"], "a1", 0, "a2"),
        (["a2", "w1"], "a1", 1, "a2"),
        (["a1", "w1"], "w1", 0, "w1"),
        # Nobody near: whoever is able, wherever.
        (["w1"], "a1", 0, "w1"),
        (["w1", "v1"], "a1", 0, "v1"),
        (["w1", "v1"], "a1", 1, "w1"),
        # A creator that is gone is in no cluster: all who are able take turns, local ones first.
        (["a1", "w1"], "gone", 0, "a1"),
        (["a1", "w1"], "gone", 1, "w1"),
    ],
)
def test_target(able, creator, turn, target):
    assert choose(view(["a1", "a2", "a3"], ["w1"], ["v1"]), able, creator, turn).target == target


@pytest.mark.parametrize(("able", "target"), [(["a2", "w1"], "a2"), (["w1"], "")])
def test_job_that_came_from_another_installation_is_not_sent_on(able, target):
    choice = choose(view(["a1", "a2"], ["w1"]), able, creator="w1", stays_in_cluster=True)
    assert choice.target == target


def test_nothing_is_placed_while_the_topology_changes():
    choice = choose(view(["a1", "a2"], is_current=False), ["a1", "a2"])
    assert choice.target == ""
    assert {reason.text for reason in choice.reasons} == {distribution.CHANGING}


@pytest.mark.parametrize(
    ("registered", "whitelist", "blacklist", "text"),
    [
        ([], ["*"], [], distribution.NO_CONSUMER),
        (["z"], ["*"], [], distribution.NO_CONSUMER),
        ([TOPIC], ["*"], [TOPIC], "blacklisted"),
        ([TOPIC], ["z"], [], "not in whitelist"),
        (["x/*"], ["*"], ["x/*"], "blacklisted"),
    ],
)
def test_every_instance_that_cannot_says_why(registered, whitelist, blacklist, text):
    capability = distribution.capability_of(registered, whitelist, blacklist)
    choice = distribution.choose(
        view=view(["a1", "a2"]), capabilities={"a1": ABLE, "a2": capability}, topic=TOPIC, creator="a1"
    )
    assert [(reason.instance_label, reason.sling_id, reason.text) for reason in choice.reasons] == [
        ("a2:4502", "a2", text)
    ]


@pytest.mark.parametrize(
    ("able", "text"),
    [
        (["a1", "a2"], "takes the topic too, but it was another instance's turn"),
        (["a1", "w1"], "is in another cluster, while an instance of the job's own cluster takes the topic"),
    ],
)
def test_every_instance_that_could_says_why_not(able, text):
    choice = choose(view(["a1", "a2"], ["w1"]), able)
    assert {reason.sling_id: reason.text for reason in choice.reasons}[able[1]] == text


def test_all_candidates_take_turns():
    topology = view(["a1", "a2", "a3"])
    assert [choose(topology, ["a1", "a2", "a3"], turn=turn).target for turn in range(4)] == ["a1", "a2", "a3", "a1"]


def test_capability_is_read_from_the_announced_properties():
    capability = distribution.announced_capability(
        {
            distribution.CONSUMER_TOPICS: "a/*,b",
            distribution.REGISTERED_TOPICS: "a/*, b,c",
            distribution.BLACKLIST: "c",
        }
    )
    assert capability == Capability(("a/*", "b", "c"), ("a/*", "b"), ("*",), ("c",))
    assert capability.takes("a/x")
    assert capability.why_not("c") == "blacklisted"


def test_instance_that_announces_nothing_takes_nothing():
    assert distribution.announced_capability({}).why_not("a") == distribution.NO_CONSUMER
