"""Who belongs to a cluster view, in which order, and who leads it. Pure.

The order is the order of joining. Whoever is in the former view keeps its place, newcomers go to the end, and the first
one leads: a newcomer can never depose a leader, not even with a join number that was drawn early and committed late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One stay of an instance in the cluster. After an absence it comes back as another member, with a new number."""

    sling_id: str
    join_number: int


def arrange(former: Sequence[Member], live: Iterable[Member]) -> tuple[Member, ...]:
    """Return the members of the next view: those who stay, in their order, then the newcomers by join number."""
    present = set(live)
    staying = tuple(member for member in former if member in present)
    newcomers = sorted(present.difference(staying), key=lambda member: (member.join_number, member.sling_id))
    return staying + tuple(newcomers)


def leader(members: Sequence[Member]) -> Member:
    """Return the one that leads. Raises ValueError for an empty view: it cannot be established."""
    if not members:
        raise ValueError("A view without members has no leader.")
    return members[0]
