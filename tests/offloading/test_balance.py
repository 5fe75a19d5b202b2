"""Which jobs move to idle instances: the rule as a table, and what becomes of it when it is applied again and again."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offloading.jobs import balance
from offloading.jobs.balance import Pile
from offloading.jobs.distribution import Load


def pile(target, count, *takers, topic="t"):
    return Pile(target, "q", topic, count, takers)


def moves(loads, *piles):
    return [(move.pile.target, move.pile.topic, move.to, move.count) for move in balance.plan(loads, piles)]


@pytest.mark.parametrize(
    ("one", "other", "is_behind"),
    [
        (Load(100, 2, 2), Load(0, 0, 2), True),
        # More than four for each slot
        (Load(9, 2, 2), Load(0, 0, 2), True),
        (Load(8, 2, 2), Load(0, 0, 2), False),
        (Load(8, 1, 1), Load(0, 0, 2), True),
        # The other has to have a free slot.
        (Load(100, 2, 2), Load(0, 2, 2), False),
        (Load(100, 2, 2), Load(2, 0, 2), False),
        (Load(100, 2, 2), Load(1, 0, 2), True),
        # An instance with few slots is as far behind with fewer jobs.
        (Load(30, 8, 8), Load(0, 0, 8), False),
        (Load(33, 8, 8), Load(0, 0, 8), True),
    ],
)
def test_who_is_far_behind(one, other, is_behind):
    assert balance.is_far_behind(one, other) is is_behind


@pytest.mark.parametrize(
    ("loads", "piles", "expected"),
    [
        # The work is the same for each slot afterwards.
        ({"a": Load(98, 2, 2), "b": Load(0, 0, 2)}, [pile("a", 98, "b")], [("a", "t", "b", 50)]),
        ({"a": Load(98, 2, 2), "b": Load(0, 0, 6)}, [pile("a", 98, "b")], [("a", "t", "b", 75)]),
        (
            {"a": Load(90, 0, 1), "b": Load(0, 0, 1), "c": Load(0, 0, 1)},
            [pile("a", 90, "b", "c")],
            [("a", "t", "b", 30), ("a", "t", "c", 30)],
        ),
        # Who does not take the topic, or has no free slot, gets nothing.
        ({"a": Load(90, 0, 1), "b": Load(0, 0, 1), "c": Load(0, 0, 1)}, [pile("a", 90, "c")], [("a", "t", "c", 45)]),
        (
            {"a": Load(90, 0, 1), "b": Load(0, 1, 1), "c": Load(0, 0, 1)},
            [pile("a", 90, "b", "c")],
            [("a", "t", "c", 45)],
        ),
        ({"a": Load(90, 0, 1), "b": Load(0, 0, 1)}, [pile("a", 90)], []),
        # No more than there is; the largest pile first.
        (
            {"a": Load(30, 0, 1), "b": Load(0, 0, 1)},
            [pile("a", 10, "b", topic="small"), pile("a", 12, "b", topic="large")],
            [("a", "large", "b", 12), ("a", "small", "b", 3)],
        ),
        # What cannot move counts as work, too.
        ({"a": Load(100, 0, 1), "b": Load(0, 0, 1)}, [pile("a", 5, "b")], [("a", "t", "b", 5)]),
        # Two that are far behind share the one that is idle.
        (
            {"a": Load(60, 0, 1), "b": Load(30, 0, 1), "c": Load(0, 0, 1)},
            [pile("a", 60, "c"), pile("b", 30, "c")],
            [("a", "t", "c", 30)],
        ),
        ({"a": Load(4, 2, 1), "b": Load(0, 0, 1)}, [pile("a", 4, "b")], []),
        ({}, [], []),
    ],
)
def test_moves(loads, piles, expected):
    assert moves(loads, *piles) == expected


NAMES = ("a", "b", "c", "d")


@st.composite
def clusters(draw):
    """Draw what four instances have to do, by topic, and who takes which topic."""
    slots = {each: draw(st.integers(1, 16)) for each in NAMES}
    running = {each: draw(st.integers(0, slots[each])) for each in NAMES}
    able = {topic: draw(st.sets(st.sampled_from(NAMES), min_size=1)) for topic in ("x", "y", "z")}
    waiting = {(each, topic): draw(st.integers(0, 500)) for topic, takers in able.items() for each in sorted(takers)}
    return slots, running, able, waiting


def pictured(slots, running, able, waiting):
    totals = Counter()
    for (sling_id, _), count in waiting.items():
        totals[sling_id] += count
    loads = {each: Load(totals[each], running[each], slots[each]) for each in NAMES}
    piles = [
        Pile(each, "q", topic, count, tuple(sorted(able[topic] - {each})))
        for (each, topic), count in waiting.items()
        if count
    ]
    return loads, piles


def applied(waiting, planned):
    after = Counter(waiting)
    for move in planned:
        after[move.pile.target, move.pile.topic] -= move.count
        after[move.to, move.pile.topic] += move.count
    return after


@given(clusters())
def test_moves_are_of_jobs_that_are_there_and_go_to_who_takes_them(cluster):
    _, _, able, waiting = cluster
    planned = balance.plan(*pictured(*cluster))
    after = applied(waiting, planned)
    assert min(after.values(), default=0) >= 0
    assert sum(after.values()) == sum(waiting.values())
    assert all(move.count > 0 and move.to in able[move.pile.topic] for move in planned)


@given(clusters())
def test_nothing_goes_back(cluster):
    """As long as nothing is done, jobs only go from those that are behind to others, and soon no more."""
    slots, running, able, waiting = cluster
    ways = set()
    for _ in range(12):
        planned = balance.plan(*pictured(slots, running, able, waiting))
        if not planned:
            break
        ways |= {(move.pile.target, move.to) for move in planned}
        waiting = applied(waiting, planned)
    else:
        pytest.fail("jobs are moved without an end")
    assert not ways & {(to, giver) for giver, to in ways}


def worked_off(speed):
    """Have three instances, one of which comes late, do 3,000 jobs; `speed(instance)` is jobs a slot in ten seconds.

    Returns for each job the instances it waited at, one after the other.
    """
    slots = {"a": 2, "b": 4, "c": 2}
    waiting = {"a": list(range(3000)), "b": [], "c": []}
    visits = {job: ["a"] for job in range(3000)}
    rounds = 0
    while any(waiting.values()):
        there = ["a", "b", "c"] if rounds >= 5 else ["a", "b"]
        loads = {each: Load(len(waiting[each]), min(len(waiting[each]), slots[each]), slots[each]) for each in there}
        piles = [pile(each, len(waiting[each]), *(set(there) - {each})) for each in there]
        for move in balance.plan(loads, piles):
            giver = move.pile.target
            waiting[giver], given = waiting[giver][: -move.count], waiting[giver][-move.count :]
            waiting[move.to] += given
            for job in given:
                visits[job].append(move.to)
        for each in there:
            waiting[each] = waiting[each][speed(each) * slots[each] :]
        rounds += 1
    return visits.values()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("is_steady", [True, False])
def test_few_jobs_move_twice(seed, is_steady):
    """Jobs go to who has run dry, and stay: whether each instance has its speed, or the speeds change all the time."""
    chance = random.Random(seed)
    speeds = {each: chance.randint(1, 30) for each in "abc"}
    visits = worked_off(speeds.__getitem__ if is_steady else lambda _: chance.randint(0, 30))
    moved = [len(been) - 1 for been in visits]
    assert max(moved) <= 5
    assert sum(moved) < 1.4 * len(moved)
    # They come back only to an instance that has run dry meanwhile.
    assert sum(len(set(been)) < len(been) for been in visits) < 0.25 * len(moved)
