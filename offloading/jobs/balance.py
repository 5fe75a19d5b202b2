"""Which waiting jobs move to instances that have nothing to do. Pure: counts go in, moves come out.

An instance that is far behind gives the difference to those that are idle, so that all have the same work for each of
their slots. What it gives are the jobs that it would run last. Nothing goes to and fro: who was given jobs has no free
slot any more, and who gave them is far behind no more; so the same counts, moved, give no second move.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offloading.jobs.distribution import Load

# Who has fewer waiting jobs for each slot than this keeps them: they start soon, and a move costs more than the wait.
MOST_WAITING_PER_SLOT = 4
# By how much the one must be behind the other.
FACTOR = 2


@dataclass(frozen=True)
class Pile:
    """Waiting jobs of one instance that are alike, and which others in its cluster could have them."""

    target: str
    queue: str
    topic: str
    count: int
    takers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """The last `count` jobs of a pile go to instance `to`."""

    pile: Pile
    to: str
    count: int


def could_give(loads: Mapping[str, Load]) -> list[str]:
    """Return the instances that are far behind another one, the most behind first. Mostly there is none."""
    behind = [each for each, load in loads.items() if any(is_far_behind(load, other) for other in loads.values())]
    return sorted(behind, key=lambda each: (-loads[each].waiting / loads[each].slots, each))


def is_far_behind(one: Load, other: Load) -> bool:
    """Say whether `one` waits for its slots while `other` waits for work."""
    waits = one.waiting / one.slots
    return other.free > 0 and waits > MOST_WAITING_PER_SLOT and waits > FACTOR * other.waiting / other.slots


def plan(loads: Mapping[str, Load], piles: Iterable[Pile]) -> list[Move]:
    """Return the moves that even out the work. `piles` are what may move, of the instances that `could_give`."""
    by_target: defaultdict[str, list[Pile]] = defaultdict(list)
    for pile in piles:
        by_target[pile.target].append(pile)
    work = Counter({sling_id: load.waiting + load.running for sling_id, load in loads.items()})
    moves: list[Move] = []
    for giver in could_give(loads):
        # The largest first: few moves of many jobs.
        for pile in sorted(by_target[giver], key=lambda each: (-each.count, each.queue, each.topic)):
            takers = [each for each in pile.takers if each in loads and is_far_behind(loads[giver], loads[each])]
            moves += _divide(pile, takers, loads, work)
    return moves


def _divide(pile: Pile, takers: list[str], loads: Mapping[str, Load], work: Counter[str]) -> list[Move]:
    """Give to each of the takers what it lacks of the common level, as far as the pile goes; `work` keeps the account.

    Those that are above the level already have no part in it.
    """
    takers = sorted(takers, key=lambda each: (work[each] / loads[each].slots, each))
    while takers and work[takers[-1]] / loads[takers[-1]].slots >= _level(pile.target, takers, loads, work):
        takers.pop()
    level = _level(pile.target, takers, loads, work)
    left = pile.count
    moves = []
    for taker in takers:
        count = min(math.floor(level * loads[taker].slots) - work[taker], left)
        if count > 0:
            moves.append(Move(pile, taker, count))
            work[taker] += count
            work[pile.target] -= count
            left -= count
    return moves


def _level(giver: str, takers: list[str], loads: Mapping[str, Load], work: Counter[str]) -> float:
    """Return the work for each slot that giver and takers would have if they shared all of it."""
    sharing = [giver, *takers]
    return sum(work[each] for each in sharing) / sum(loads[each].slots for each in sharing)
