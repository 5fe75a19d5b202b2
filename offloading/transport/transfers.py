"""The life of a Transfer row: who is at it, how far it is, when it is tried again, and how it ended.

Every change is one guarded UPDATE, so that of two agents that reach for a transfer one gets it, and one that lost it
notices. What is sent, and to whom, is up to sender and returns.
"""

import logging
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Case, F, Q, QuerySet, When, Window
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now, RowNumber

from offloading.models import Transfer
from offloading.transport import manifest
from topology import identity, wakeup

log = logging.getLogger(__name__)

State = Transfer.State
OPEN = (State.WAITING, State.SENDING)

_FIRST_DELAY_SECONDS = 0.5
MOST_DELAY_SECONDS = 60.0


class TransferLost(Exception):
    """This process no longer holds the transfer: somebody else has taken it, or ended it."""


@dataclass(frozen=True)
class Due:
    """A transfer that may be tried now, after so many tries before."""

    id: int
    peer: str
    tries: int


def ready() -> QuerySet[Transfer]:
    """Return the query for the transfers to send that nobody is at and whose time has come."""
    is_time = Q(next_try_at=None) | Q(next_try_at__lte=Now())
    return Transfer.objects.filter(is_time, is_sender=True, state=State.WAITING)


def due(*, without_peers: Collection[str], each: int) -> list[Due]:
    """Return transfers that may be tried now: new ones before those that failed before, the oldest first.

    Of each peer come at most `each` of both sorts, so that however many wait for one, they hide none for another.
    """
    has_failed = Case(When(tries__gt=0, then=1), default=0)
    place = Window(RowNumber(), partition_by=[F("peer"), has_failed], order_by="id")
    found = ready().exclude(peer__in=without_peers).annotate(place=place, has_failed=has_failed).filter(place__lte=each)
    return [Due(*row) for row in found.order_by("has_failed", "id").values_list("id", "peer", "tries")]


def take(transfer_id: int) -> Transfer | None:
    """Hold a transfer for this run, or return None if somebody else was quicker."""
    taken = ready().filter(id=transfer_id)
    if not taken.update(state=State.SENDING, claimed_by=identity.runtime_id(), tries=F("tries") + 1):
        return None
    return Transfer.objects.select_related("job").get(id=transfer_id)


def release_lost(*, live_runs: Iterable[str], busy: Collection[int]) -> int:
    """Give back the transfers of runs that are over, and of this run those that it is not `busy` with."""
    held = Transfer.objects.filter(is_sender=True, state=State.SENDING)
    is_lost = ~Q(claimed_by__in=live_runs) | (Q(claimed_by=identity.runtime_id()) & ~Q(id__in=busy))
    count = held.filter(is_lost).update(state=State.WAITING, claimed_by="", next_try_at=None)
    if count:
        log.warning("transfers taken over", extra={"count": count})
    return count


def expect(transfer: Transfer, entries: list[manifest.Entry], **more: Any) -> None:
    """Note the manifest of a held transfer, and what it would move if nothing of it were there."""
    sizes = manifest.sizes(entries)
    transfer.manifest = {"entries": entries, **more}
    transfer.blobs_total, transfer.bytes_total = len(sizes), sum(sizes.values())
    _update(
        transfer,
        manifest=transfer.manifest,
        blobs_total=transfer.blobs_total,
        bytes_total=transfer.bytes_total,
    )


def progress(transfer: Transfer, *, blobs: int, moved_bytes: int) -> None:
    """Add to the account of what has travelled. Raises `TransferLost`."""
    transfer.blobs_moved += blobs
    transfer.bytes_moved += moved_bytes
    _update(transfer, blobs_moved=F("blobs_moved") + blobs, bytes_moved=F("bytes_moved") + moved_bytes)


def finish(transfer: Transfer) -> None:
    """The other side has it."""
    _update(transfer, state=State.DONE, claimed_by="", error="", next_try_at=None, finished_at=Now())
    _say("transfer done", transfer)


def fence(transfer: Transfer, reason: str) -> None:
    """It came too late, or is of no use any more: kept as it is, with the reason."""
    _update(transfer, state=State.FENCED, claimed_by="", error=reason, next_try_at=None, finished_at=Now())
    _say("transfer too late", transfer, reason=reason)


def park(transfer: Transfer, reason: str) -> None:
    """Trying again by itself would change nothing: a person has to look."""
    _update(transfer, state=State.PARKED, claimed_by="", error=reason, next_try_at=None)
    log.warning("transfer parked", extra=_facts(transfer) | {"reason": reason})


def postpone(transfer: Transfer, reason: str, *, most_seconds: float = MOST_DELAY_SECONDS) -> None:
    """Try again later, each time later than the time before."""
    seconds = delay_seconds(transfer.tries, most_seconds)
    _update(transfer, state=State.WAITING, claimed_by="", error=reason, next_try_at=in_seconds(seconds))
    _say("transfer postponed", transfer, reason=reason, seconds=round(seconds, 1))


def put_back(transfer: Transfer) -> None:
    """Leave it to whoever comes next, because this process ends."""
    _update(transfer, state=State.WAITING, claimed_by="", next_try_at=None)


def delay_seconds(tries: int, most: float = MOST_DELAY_SECONDS) -> float:
    """Return how long to wait after `tries` tries: doubled each time, and spread, so that many do not come at once."""
    doubled: float = _FIRST_DELAY_SECONDS * 2 ** min(max(tries - 1, 0), 20)
    return min(doubled, most) * random.uniform(0.8, 1.2)


def retry(*, transfer_id: int) -> bool:
    """Try a waiting or parked transfer at once; False if there was nothing to try."""
    again = Transfer.objects.filter(id=transfer_id, is_sender=True, state__in=(State.WAITING, State.PARKED))
    count = again.update(state=State.WAITING, next_try_at=None, tries=0)
    if count:
        wakeup.notify("transport")
    return bool(count)


def hurry(*, peers: Iterable[str]) -> int:
    """Try what waits for these peers now: they are there again, or have moved."""
    waiting = Transfer.objects.filter(is_sender=True, state=State.WAITING, peer__in=list(peers))
    return waiting.exclude(next_try_at=None).update(next_try_at=None)


def in_seconds(seconds: float) -> CombinedExpression:
    """Return the database's time, so many seconds from now."""
    return Now() + timedelta(seconds=seconds)


def _update(transfer: Transfer, **changes: Any) -> None:
    held = Transfer.objects.filter(id=transfer.id, state=State.SENDING, claimed_by=transfer.claimed_by)
    if not held.update(**changes):
        raise TransferLost(f"Transfer {transfer.id} is in other hands")
    if "state" in changes:
        transfer.state = changes["state"]


def _say(event: str, transfer: Transfer, **facts: Any) -> None:
    log.info(event, extra=_facts(transfer) | facts)


def _facts(transfer: Transfer) -> dict[str, Any]:
    return {
        "job": transfer.job_id,
        "fence": transfer.fence,
        "way": transfer.direction,
        "peer": transfer.peer_label or transfer.peer,
        "bytes": transfer.bytes_moved,
    }
