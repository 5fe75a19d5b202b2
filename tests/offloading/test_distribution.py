"""Which instance a job goes to, and what is said of the others: the rules as tables, without a database."""

import pytest

from offloading.jobs import distribution
from offloading.jobs.distribution import Capability, Load, Wishes
from tests.offloading.topologies import view

TOPIC = "x/y"
ABLE = distribution.capability_of([TOPIC], ["*"], [])
DRAINING = distribution.capability_of([TOPIC], ["*"], [], is_draining=True)


def choose(topology, able, creator="a1", turn=0, loads=None, **wishes):
    return distribution.choose(
        view=topology,
        capabilities=dict.fromkeys(able, ABLE),
        topic=TOPIC,
        wishes=Wishes(creator, **wishes),
        loads=loads,
        turn=turn,
    )


def reasons(choice):
    return {reason.sling_id: reason.text for reason in choice.reasons}


# --- Who may ------------------------------------------------------------------------------------------------------


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
def test_target_among_idle_instances(able, creator, turn, target):
    assert choose(view(["a1", "a2", "a3"], ["w1"], ["v1"]), able, creator, turn).target == target


@pytest.mark.parametrize(
    ("able", "creator", "wishes", "targets"),
    [
        # Distribution switched off: the leader of the creator's cluster, if it can.
        (["a1", "a2", "w1"], "a2", {"is_for_leader": True}, ["a1"]),
        (["a2", "a3", "w1"], "a1", {"is_for_leader": True}, ["a2", "a3"]),
        (["w1", "w2"], "a1", {"is_for_leader": True}, ["w1", "w2"]),
        (["a1", "w1", "w2"], "w2", {"is_for_leader": True}, ["w1"]),
        (["a1", "a2"], "gone", {"is_for_leader": True}, ["a1", "a2"]),
        # The queue prefers the instance that added the job, if it can.
        (["a1", "a2"], "a2", {"prefers_creator": True}, ["a2"]),
        (["a1", "a3"], "a2", {"prefers_creator": True}, ["a1", "a3"]),
        (["a1", "a2"], "gone", {"prefers_creator": True}, ["a1", "a2"]),
        # Where both are wished for, the leader is who is left.
        (["a1", "a2"], "a2", {"prefers_creator": True, "is_for_leader": True}, ["a1"]),
        # An ordered queue: always the first, and the creator is not asked.
        (["a1", "a2"], "a2", {"is_ordered": True}, ["a1"]),
        (["a3", "a2"], "a1", {"is_ordered": True}, ["a2"]),
        (["a1", "a2"], "a2", {"is_ordered": True, "prefers_creator": True}, ["a1"]),
        (["w1", "w2"], "a2", {"is_ordered": True}, ["w1"]),
        # What came from another installation stays here.
        (["a2", "w1"], "w1", {"stays_in_cluster": True}, ["a2"]),
        (["w1"], "w1", {"stays_in_cluster": True}, [""]),
        (["a1", "a2", "w1"], "w1", {"stays_in_cluster": True, "is_for_leader": True}, ["a1"]),
    ],
)
def test_wishes(able, creator, wishes, targets):
    topology = view(["a1", "a2", "a3"], ["w1", "w2"])
    found = {choose(topology, able, creator, turn, **wishes).target for turn in range(6)}
    assert sorted(found) == targets


@pytest.mark.parametrize("wishes", [{}, {"is_ordered": True}, {"prefers_creator": True}, {"is_for_leader": True}])
def test_nothing_is_placed_while_the_topology_changes(wishes):
    choice = choose(view(["a1", "a2"], is_current=False), ["a1", "a2"], **wishes)
    assert choice.target == ""
    assert reasons(choice) == dict.fromkeys(["a1", "a2"], distribution.CHANGING)


@pytest.mark.parametrize("wishes", [{}, {"is_ordered": True}, {"prefers_creator": True}, {"is_for_leader": True}])
def test_draining_instance_gets_nothing(wishes):
    choice = distribution.choose(
        view=view(["a1", "a2"]),
        capabilities={"a1": DRAINING, "a2": ABLE},
        topic=TOPIC,
        wishes=Wishes("a1", **wishes),
    )
    assert (choice.target, reasons(choice)) == ("a2", {"a1": "draining"})


# --- Who has room -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loads", "targets"),
    [
        # The most free slots.
        ([Load(0, 1, 2), Load(0, 0, 2)], ["a2"]),
        ([Load(0, 0, 2), Load(0, 0, 8)], ["a2"]),
        ([Load(0, 5, 8), Load(0, 0, 2)], ["a1"]),
        # What waits takes slots that are idle still.
        ([Load(2, 0, 2), Load(0, 1, 2)], ["a2"]),
        # Nobody has a free slot: the least work for each.
        ([Load(8, 2, 2), Load(30, 8, 8)], ["a2"]),
        ([Load(3, 2, 2), Load(2, 2, 2)], ["a2"]),
        ([Load(40, 2, 2), Load(9, 1, 1)], ["a2"]),
        # All the same: in turns.
        ([Load(0, 1, 2), Load(0, 1, 2)], ["a1", "a2"]),
        ([Load(10, 2, 2), Load(20, 4, 4)], ["a1", "a2"]),
        ([Load(1, 1, 2), Load(0, 2, 2)], ["a1", "a2"]),
    ],
)
def test_room_decides_among_candidates(loads, targets):
    known = dict(zip(["a1", "a2"], loads, strict=True))
    found = {choose(view(["a1", "a2"]), ["a1", "a2"], turn=turn, loads=known).target for turn in range(4)}
    assert sorted(found) == targets


@pytest.mark.parametrize(
    ("able", "wishes", "target"),
    [
        (["a1", "a2", "w1"], {}, "a2"),
        (["a1", "w1"], {}, "a1"),
        (["a1", "a2"], {"is_ordered": True}, "a1"),
        (["a1", "a2"], {"prefers_creator": True}, "a1"),
        (["a1", "a2"], {"is_for_leader": True}, "a1"),
    ],
)
def test_room_does_not_overrule_who_may(able, wishes, target):
    loads = {"a1": Load(1000, 2, 2), "a2": Load(3, 2, 2), "w1": Load(0, 0, 16)}
    assert choose(view(["a1", "a2"], ["w1"]), able, loads=loads, **wishes).target == target


# --- Why not the others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "text"),
    [
        (distribution.capability_of([], ["*"], []), distribution.NO_CONSUMER),
        (distribution.capability_of(["z"], ["*"], []), distribution.NO_CONSUMER),
        (distribution.capability_of([TOPIC], ["*"], [TOPIC]), "blacklisted"),
        (distribution.capability_of([TOPIC], ["z"], []), "not in whitelist"),
        (distribution.capability_of(["x/*"], ["*"], ["x/*"]), "blacklisted"),
        (DRAINING, "draining"),
        # The lists come first: it would not take the topic after the drain either.
        (distribution.capability_of([TOPIC], ["*"], [TOPIC], is_draining=True), "blacklisted"),
        (Capability(registered=(TOPIC,)), distribution.NOT_ANNOUNCED),
    ],
)
def test_every_instance_that_cannot_says_why(capability, text):
    choice = distribution.choose(
        view=view(["a1", "a2"]), capabilities={"a1": ABLE, "a2": capability}, topic=TOPIC, wishes=Wishes("a1")
    )
    assert [(reason.instance_label, reason.sling_id, reason.text) for reason in choice.reasons] == [
        ("a2:4502", "a2", text)
    ]


@pytest.mark.parametrize(
    ("able", "loads", "wishes", "other", "text"),
    [
        (["a1", "a2"], {}, {}, "a2", distribution.OTHERS_TURN),
        (["a1", "w1"], {}, {}, "w1", distribution.ELSEWHERE),
        (["a1", "w1"], {}, {"stays_in_cluster": True}, "w1", distribution.NOT_SENT_ON),
        (["a1", "a2"], {}, {"is_for_leader": True}, "a2", distribution.NOT_LEADER),
        (["a1", "a2"], {}, {"prefers_creator": True}, "a2", distribution.NOT_CREATOR),
        (["a1", "a2"], {}, {"is_ordered": True}, "a2", distribution.ORDERED),
        (
            ["a1", "a2"],
            {"a1": Load(slots=4), "a2": Load(running=1, slots=2)},
            {},
            "a2",
            "takes the topic too, but has 1 free slot, not 4",
        ),
        (
            ["a1", "a2"],
            {"a1": Load(slots=4), "a2": Load(waiting=9)},
            {},
            "a2",
            "takes the topic too, but has no free slots, not 4",
        ),
        (["a1", "a2"], {"a1": Load(3, 1), "a2": Load(4, 1)}, {}, "a2", distribution.MORE_WORK),
    ],
)
def test_every_instance_that_could_says_why_not(able, loads, wishes, other, text):
    choice = choose(view(["a1", "a2"], ["w1"]), able, loads=loads, **wishes)
    assert choice.target == "a1"
    assert reasons(choice)[other] == text


def test_reasons_speak_of_all_others_of_a_job_placed_before():
    loads = {"a1": Load(waiting=5), "a2": Load(), "a3": Load(waiting=9)}
    choice = choose(view(["a1", "a2", "a3"], ["w1"]), ["a1", "a2", "a3"], loads=loads)
    found = {reason.sling_id: reason.text for reason in choice.reasons_against("a1")}
    assert found == {
        "a2": distribution.FREER_NOW,
        "a3": distribution.MORE_WORK,
        "w1": distribution.NO_CONSUMER,
    }


# --- What is announced --------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("properties", "whitelist", "blacklist"),
    [
        ({}, ("*",), ()),
        ({distribution.WHITELIST: "a", distribution.BLACKLIST: "b"}, ("a",), ("b",)),
        ({distribution.ALLOWLIST: "a", distribution.DENYLIST: "b"}, ("a",), ("b",)),
        ({distribution.ALLOWLIST: "new", distribution.WHITELIST: "old"}, ("new",), ()),
        ({distribution.DENYLIST: "", distribution.BLACKLIST: "old"}, ("*",), ()),
        ({distribution.ALLOWLIST: ""}, ("*",), ()),
    ],
)
def test_lists_have_an_old_and_a_new_name(properties, whitelist, blacklist):
    capability = distribution.announced_capability(properties)
    assert (capability.whitelist, capability.blacklist) == (whitelist, blacklist)


def test_instance_that_announces_nothing_takes_nothing():
    assert distribution.announced_capability({}).why_not("a") == distribution.NO_CONSUMER


def test_drain_hides_what_the_lists_allow_and_keeps_it():
    capability = distribution.capability_of(["a", "b"], ["*"], ["b"], is_draining=True)
    assert (capability.announced, capability.allowed) == ((), ("a",))
    told = {distribution.REGISTERED_TOPICS: "a,b", distribution.DENYLIST: "b", distribution.DRAINING: "true"}
    assert distribution.announced_capability(told) == capability


@pytest.mark.parametrize(
    ("text", "slots"), [("", 1), ("4", 4), ("0", 1), ("-3", 1), ("2.5", 1), ("many", 1), ("²", 1), ("9" * 5000, 1)]
)
def test_number_of_slots_is_read_with_care(text, slots):
    assert distribution.announced_slots({distribution.SLOTS: text} if text else {}) == slots
