"""The outbox of the live screens: leaving hints, from any process, and reading them where browsers are connected.

A hint is part of the transaction that it tells of, so there is none for a change that did not happen and none is
forgotten for one that did. It says that something changed and never what: whoever may see it fetches it again.
"""

import time
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from config.live.models import Hint

KEPT = timedelta(minutes=10)
PRUNE_EVERY = 500  # hints
# Of what changes many times a second, a process leaves one hint in so many seconds; the tail tells it again afterwards.
OFTEN_SECONDS = 0.25
_left_at: dict[str, float] = {}


@dataclass(frozen=True)
class _Said:
    """Stands among a transaction's on-commit calls to show that it has left this hint; a rolled back savepoint takes
    it away together with the row."""

    kind: str
    key: str

    def __call__(self) -> None:
        """Do nothing: the row is already there."""


def hint(kind: str, key: str = "") -> None:
    """Tell every connected browser, once the transaction is committed, that something of `kind` changed.

    `key` names it: the id of a job, the path of an asset. The same hint twice in one transaction is one.
    """
    connection = transaction.get_connection()
    if connection.in_atomic_block:
        said = _Said(kind, key)
        if any(call == said for _savepoints, call, _robust in connection.run_on_commit):
            return
        transaction.on_commit(said)
    row = Hint.objects.create(kind=kind, key=key)
    if row.pk % PRUNE_EVERY == 0:
        Hint.objects.filter(created_at__lt=Now() - KEPT).delete()


def hint_often(kind: str) -> None:
    """Do as `hint`, but not if this process told of `kind` a moment ago: who heard that looks once more a little later.

    So a flood of changes costs a few rows a second, and the last of them is seen all the same.
    """
    if time.monotonic() - _left_at.get(kind, 0.0) < OFTEN_SECONDS:
        return
    hint(kind)
    # Only what is committed was told.
    transaction.on_commit(lambda: _left_at.update({kind: time.monotonic()}))


def latest() -> int:
    """Return the number of the last hint; what comes after it is news."""
    return Hint.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def since(number: int) -> list[Hint]:
    """Return the hints with higher numbers, in their order."""
    return list(Hint.objects.filter(pk__gt=number).order_by("pk"))
