"""What each worker slot of an instance has in hand, and how much more it may be given.

Pure: no clock, no socket, no database. A slot gets one job at a time while its queue's jobs are long or unknown; when
they are short it gets some ahead, so that it never waits for the next one, and never so many that one job which turns
out long keeps others waiting behind it: those are called back.
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from offloading.jobs.claims import Claim

# How much work, in seconds, a slot may have in hand, and how many jobs.
AHEAD_SECONDS = 0.05
MOST_AHEAD = 64
# A job that runs longer than this while others wait behind it has them called back.
STALLED_SECONDS = 0.1
# What a slot holds of messages it has not read must fit into a socket's buffer, or sending would wait for the reader.
AHEAD_BYTES = 64 * 1024
# How long after its time limit a worker may still be about to say so.
LIMIT_GRACE_SECONDS = 2.0
# How much the last job counts in the average.
_WEIGHT = 0.2


class Pace:
    """How long the jobs of each queue take, as a running average in seconds; a long one is believed at once.

    And how much room they take on the line to a worker, in bytes.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._bytes: dict[str, float] = {}

    def note(self, queue: str, seconds: float) -> None:
        before = self._seconds.get(queue, seconds)
        longer = seconds > 4 * before and seconds > AHEAD_SECONDS
        self._seconds[queue] = seconds if longer else before + _WEIGHT * (seconds - before)

    def window(self, queue: str) -> int:
        """Return how many jobs of `queue` one slot may have in hand."""
        seconds = self._seconds.get(queue)
        if seconds is None or seconds > AHEAD_SECONDS / 2:
            return 1
        fitting = int(AHEAD_BYTES / self._bytes.get(queue, 1)) + 1
        return min(MOST_AHEAD, int(AHEAD_SECONDS / max(seconds, 1e-6)), fitting)

    def weigh(self, queue: str, size: int) -> None:
        before = self._bytes.get(queue, size)
        self._bytes[queue] = before + _WEIGHT * (size - before)


@dataclass
class Given:
    """A job in the hand of a slot. `began_at` is when it became the first there, in the dispatcher's clock."""

    number: int
    claim: Claim
    limit_seconds: float = 0.0
    began_at: float = 0.0
    # Somebody asked it to stop; its worker is killed if it has not by then.
    stops_at: float | None = None
    # How long its message is, at most.
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.bytes = 300 + _length(self.claim.topic) + _length(self.claim.properties or "")

    @property
    def ends_at(self) -> float | None:
        """When its time is over, and its worker, which should have noticed, is killed."""
        return self.began_at + self.limit_seconds + LIMIT_GRACE_SECONDS if self.limit_seconds > 0 else None


def _length(text: str) -> int:
    """Return how long a text is within a message, which is JSON of ASCII letters alone."""
    return len(text) + text.count('"') + text.count("\\") if text.isascii() else len(json.dumps(text))


@dataclass
class Hand:
    """The jobs that one slot was given and has not ended, the running one first."""

    given: deque[Given] = field(default_factory=deque)
    is_called_back: bool = False
    bytes: int = 0
    suspects: int = 0

    def copy(self) -> "Hand":
        return Hand(deque(self.given), self.is_called_back, self.bytes, self.suspects)

    def __bool__(self) -> bool:
        return bool(self.given)

    @property
    def head(self) -> Given | None:
        return self.given[0] if self.given else None

    def room(self, window: int) -> int:
        """Return how many more jobs fit in."""
        if not self.given:
            return window
        if self.is_called_back or self.suspects:
            return 0
        return max(window - len(self.given), 0) if self.bytes < AHEAD_BYTES else 0

    def take(self, given: Given, now: float) -> None:
        if not self.given:
            given.began_at = now
        self.given.append(given)
        self._weigh(given, 1)

    def fits(self, claim: Claim, window: int) -> bool:
        """Say whether `claim` may be added: a job that killed a worker before runs with no other waiting behind it."""
        return not self.given or (not claim.crash_count and self.room(window) > 0)

    def end(self, number: int, now: float) -> Given | None:
        """Take out the job of that number; None if it is not here."""
        for each in self.given:
            if each.number == number:
                self.given.remove(each)
                self._weigh(each, -1)
                if self.given and not self.given[0].began_at:
                    self.given[0].began_at = now
                if not self.given:
                    self.is_called_back = False
                return each
        return None

    def is_stalled(self, now: float) -> bool:
        """Say whether the first job runs so long that those behind it should be called back."""
        return len(self.given) > 1 and not self.is_called_back and now - self.given[0].began_at > STALLED_SECONDS

    def _weigh(self, given: Given, sign: int) -> None:
        self.bytes += sign * given.bytes
        self.suspects += sign * (given.claim.crash_count > 0)


def room(hands: Iterable[Hand], *, window: int, parallel: int, running: int, closed: int = 0) -> int:
    """Return how many jobs of a queue may be claimed: `running` of them run already, of at most `parallel`.

    A queue that may use every slot fills their hands; one that may not gets each job a slot of its own. `closed` slots
    take nothing, but may be running jobs of the queue still.
    """
    slots = list(hands)
    if parallel >= len(slots) + closed:
        return sum(hand.room(window) for hand in slots)
    return max(min(parallel - running, sum(not hand for hand in slots)), 0)
