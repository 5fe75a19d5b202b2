"""Carries hints from the outbox table to the browsers that this web process serves, while there are any.

Numbers are given out before transactions commit, so a hint may turn up below one that was already read. Each look
therefore goes a few numbers back and remembers what it has told. What is missed all the same costs little: browsers
fetch everything again every half minute.
"""

import asyncio
import logging
import time

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import Error, connection

from config.live import outbox
from config.live.models import Hint

logger = logging.getLogger(__name__)

GROUP = "live"
LOOK_SECONDS = 0.25
AFTER_ERROR_SECONDS = 2.0
LOOK_BACK = 200  # numbers
# What receivers.py leaves with `hint_often`, and when it is told again: later than the next hint could come.
OFTEN = frozenset({"jobs"})
ECHO_SECONDS = 2 * outbox.OFTEN_SECONDS
MOST_KEYS = 100  # in one message; more is as good as "all of them", and the kinds say that


class Tail:
    """One task that reads the outbox, started by the first browser and ended by the last."""

    def __init__(self) -> None:
        self._browsers = 0
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Count one more browser. Returns when no later hint can escape it."""
        self._browsers += 1
        if self._task is None:
            look = Look(await sync_to_async(outbox.latest)())
            # Somebody else may have come first while this one waited for the database.
            self._task = self._task or asyncio.create_task(self._run(look))

    def leave(self) -> None:
        self._browsers -= 1
        if self._browsers == 0 and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, look: "Look") -> None:
        echo = Echo()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                # One thread serves all looks, so its connection is kept from one to the next.
                hints = await sync_to_async(look.news)()
            except Error:
                logger.warning("outbox not readable", exc_info=True)
                await sync_to_async(connection.close)()
                await asyncio.sleep(AFTER_ERROR_SECONDS)
                continue
            hints += echo.after(hints, time.monotonic())
            try:
                if hints:
                    await get_channel_layer().group_send(GROUP, message(hints))
            except Exception:
                # Whatever it is, a server away or a bug: nobody would start this task anew.
                logger.warning("browsers not reached", exc_info=True)
                await asyncio.sleep(AFTER_ERROR_SECONDS)


class Look:
    """Remembers which hints were told."""

    def __init__(self, latest: int) -> None:
        self._latest = latest
        # What stood there at the start counts as told.
        self._told = set(range(max(0, latest - LOOK_BACK), latest + 1))

    def news(self) -> list[Hint]:
        """Return the hints that turned up since the last call."""
        found = [hint for hint in outbox.since(self._latest - LOOK_BACK) if hint.pk not in self._told]
        self._latest = max([self._latest, *(hint.pk for hint in found)])
        self._told = {pk for pk in self._told | {hint.pk for hint in found} if pk > self._latest - LOOK_BACK}
        return found


class Echo:
    """Tells of what changes often once more after it was told, for changes that left no hint of their own."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def after(self, hints: list[Hint], now: float) -> list[Hint]:
        """Take in what is told at `now`; return what is to be told again."""
        due = [kind for kind, at in self._due.items() if at <= now]
        for kind in due:
            del self._due[kind]
        for hint in hints:
            if hint.kind in OFTEN:
                self._due[hint.kind] = now + ECHO_SECONDS
        told = {hint.kind for hint in hints}
        return [Hint(kind=kind) for kind in due if kind not in told]


def message(hints: list[Hint]) -> dict[str, object]:
    """Return the channel message for the consumers: what changed, each once."""
    keys = sorted({hint.key for hint in hints if hint.key})
    return {
        "type": "live.hints",
        "kinds": sorted({hint.kind for hint in hints}),
        "keys": keys if len(keys) <= MOST_KEYS else [],
    }


tail = Tail()
