"""The dispatcher's dealings with the database: writing how jobs ended and claiming the next ones, in one transaction.

It keeps what could not be written, in memory, until it can be; it never loses an ending to a database that is away, and
never lets one ending that cannot be written keep the others from it.
"""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from django.db import InterfaceError, OperationalError, transaction

from offloading import capabilities, exceptions
from offloading.jobs import claims, configuration, hand, outcomes, processors, queues, recovery
from offloading.jobs.claims import Claim, Holder
from offloading.jobs.hand import Given, Hand, Pace
from offloading.jobs.outcomes import Ending, Kind
from offloading.models import QueueConfiguration

logger = logging.getLogger(__name__)

_PRIORITIES: dict[str, int] = {
    QueueConfiguration.Priority.MAX.value: 0,
    QueueConfiguration.Priority.NORM.value: 1,
    QueueConfiguration.Priority.MIN.value: 2,
}
# How old what is known of the switches of this instance may be. A switch says so, see `forget`; this is for lost words.
_CAPABILITY_SECONDS = 5.0
# Under load, how often it is looked when the next job is due that waits for a time.
_LOOK_AHEAD_SECONDS = 0.05
# While all slots are busy, how often it is looked whether one should be cleared for a job that killed a worker before.
_SUSPECTS_SECONDS = 1.0
# For how long a queue from which nothing can be claimed is left alone.
_FAILED_SECONDS = 5.0
# In one transaction.
_MOST_ENDINGS = 500
_DATABASE_AWAY = (OperationalError, InterfaceError)


class Feeder:
    """What one run of this instance has to write, and what it may claim."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._pace = Pace()
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self._endings: list[Ending] = []
        self._crashed: list[Claim] = []
        self._unbegun: list[Claim] = []
        # Queues from which an error kept jobs from being claimed, and until when they are left alone.
        self._failed_until: dict[str, float] = {}
        self._takes: Callable[[str], bool] = claims.takes_everything
        self._takes_until = self._looked_ahead_at = self._looked_for_suspects_at = 0.0
        # The slot that is given nothing until it is empty.
        self._cleared = ""
        # By time.monotonic(): when the next job that waits for a time is due.
        self.next_due = float("inf")

    # --- What is to be written ------------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        return bool(self._endings or self._crashed or self._unbegun)

    def ended(self, given: Given, ending: Ending) -> None:
        """Take in how a job ended."""
        self._pace.note(given.claim.queue, ending.seconds)
        if ending.kind != Kind.APPLIED:
            self._endings.append(ending)

    def crashed(self, claim: Claim) -> None:
        """Take in that the worker died in the middle of a job."""
        self._crashed.append(claim)

    def never_begun(self, claim: Claim) -> None:
        """Take in that a claimed job was not begun and will not be: it is put back."""
        self._unbegun.append(claim)

    def given_back(self, claim: Claim, message: str) -> None:
        """Take in that a job was begun, or may have been, and could not go on through no fault of its own."""
        self._endings.append(Ending(claim.job_id, claim.fence, Kind.RELEASED, message))

    def takes_long(self, given: Given, seconds: float) -> None:
        """Take in that a job runs longer than those of its queue use to."""
        self._pace.note(given.claim.queue, seconds)

    def forget(self) -> None:
        """Look anew at what this instance may do."""
        self._takes_until = 0.0

    # --- Exchanging -----------------------------------------------------------------------------------------------

    def exchange(self, hands: Mapping[str, Hand], closed: Sequence[Hand] = ()) -> list[tuple[str, Given]]:
        """Write what ended, and claim what there is room for: return which slot gets what.

        `closed` are hands that take nothing more; what is in them counts in its queue still.
        Raises what the database raises; then nothing of the transaction was written, and everything is kept.
        """
        self._write_odd_ends()
        endings = self._endings[:_MOST_ENDINGS]
        if not endings:
            return self._feed(hands, closed)
        try:
            with transaction.atomic():
                outcomes.write_all(endings)
                fed = self._feed(hands, closed)
        except _DATABASE_AWAY:
            raise
        except Exception:
            logger.exception("endings not written together, trying one by one", extra={"count": len(endings)})
            self._write_apart(endings)
            return []
        del self._endings[: len(endings)]
        return fed

    def write(self) -> None:
        """Write what ended, and claim nothing."""
        while self.has_news:
            self.exchange({})

    def _write_odd_ends(self) -> None:
        while self._crashed:
            claim = self._crashed[0]
            # A fence that is stale: its outcome was written just before the end.
            with _not_blocking("crash not written", claim), contextlib.suppress(exceptions.StaleFence):
                recovery.crashed(job_id=claim.job_id, fence=claim.fence)
            del self._crashed[0]
        if self._unbegun:
            with _not_blocking("jobs not put back", self._unbegun[0]):
                for claim in claims.unclaim(self._unbegun):
                    self.given_back(claim, "It was asked to stop before it began.")
            self._unbegun.clear()

    def _write_apart(self, endings: list[Ending]) -> None:
        for ending in endings:
            try:
                outcomes.write_all([ending])
            except _DATABASE_AWAY:
                raise
            except Exception:
                logger.exception("ending not written", extra={"job": ending.job_id, "fence": ending.fence})
                message = "Its outcome could not be stored. The instance's log says why."
                with _not_blocking("job left as it is", ending):
                    outcomes.write_all([Ending(ending.job_id, ending.fence, Kind.CANCELLED, message)])
            self._endings.remove(ending)

    # --- Claiming -------------------------------------------------------------------------------------------------

    def _feed(self, hands: Mapping[str, Hand], closed: Sequence[Hand]) -> list[tuple[str, Given]]:
        """Claim for each queue in turn, as long as there is room."""
        if not hands:
            return []
        self._promote()
        self._clear_one(hands)
        closed = [*closed, *(each for key, each in hands.items() if key == self._cleared)]
        planned = {key: each.copy() for key, each in hands.items() if key != self._cleared}
        fed: list[tuple[str, Given]] = []
        now = time.monotonic()
        for name in self._queues():
            if now < self._failed_until.get(name, 0.0):
                continue
            try:
                fed += self._feed_from(name, planned, closed)
            except _DATABASE_AWAY:
                raise
            except Exception:
                logger.exception("nothing claimed from a queue, going on without it", extra={"queue": name})
                self._failed_until[name] = now + _FAILED_SECONDS
        return fed

    def _clear_one(self, hands: Mapping[str, Hand]) -> None:
        """Let one slot run empty while a job waits that only an empty one may have: in a flood none is by itself."""
        if self._cleared not in hands or not hands[self._cleared]:
            self._cleared = ""
        now = time.monotonic()
        if not all(hands.values()) or now - self._looked_for_suspects_at < _SUSPECTS_SECONDS:
            return
        self._looked_for_suspects_at = now
        if not self._cleared and claims.has_suspects(self._holder.instance):
            self._cleared = min(hands, key=lambda key: len(hands[key].given))

    def _queues(self) -> list[str]:
        """Return the queues in which something waits: by their priority, and taking turns among equals."""
        names = claims.ready_queues(self._holder.instance)
        if len(names) < 2:
            return names
        turn = next(self._turn) % len(names)
        in_turn = names[turn:] + names[:turn]
        return sorted(in_turn, key=lambda name: _PRIORITIES.get(configuration.named(name).priority, 1))

    def _feed_from(self, name: str, hands: dict[str, Hand], closed: Sequence[Hand]) -> list[tuple[str, Given]]:
        settings = configuration.named(name)
        running = sum(each.claim.queue == name for held in (*hands.values(), *closed) for each in held.given)
        window = self._pace.window(name)
        parallel = queues.parallel(settings, processors.count())
        room = hand.room(hands.values(), window=window, parallel=parallel, running=running, closed=len(closed))
        if not room:
            return []
        claimed = claims.claim(
            target=self._holder.instance,
            queue=queues.Queue(name, settings),
            limit=room,
            holder=self._holder,
            takes=self._what_it_takes(),
            with_suspects=any(not held for held in hands.values()),
        )
        return self._deal(claimed, hands, window, settings.time_limit_seconds)

    def _deal(
        self, claimed: list[Claim], hands: dict[str, Hand], window: int, time_limit_seconds: float
    ) -> list[tuple[str, Given]]:
        """Give each job to the slot with the fewest."""
        now = time.monotonic()
        fed = []
        for claim in claimed:
            fitting = [key for key, held in hands.items() if held.fits(claim, window)]
            if not fitting:
                self._unbegun.append(claim)
                continue
            key = min(fitting, key=lambda each: len(hands[each].given))
            own = claim.time_limit_seconds
            given = Given(next(self._numbers), claim, time_limit_seconds if own is None else own)
            self._pace.weigh(claim.queue, given.bytes)
            hands[key].take(given, now)
            fed.append((key, given))
        return fed

    def _promote(self) -> None:
        """Let in what has come due since `look_ahead`."""
        if time.monotonic() >= self.next_due:
            claims.promote(self._holder.instance)

    def look_ahead(self) -> None:
        """Find out when the next job is due that waits for a time. Said after claiming: nothing has to wait for it."""
        now = time.monotonic()
        if now - self._looked_ahead_at >= _LOOK_AHEAD_SECONDS or now >= self.next_due:
            self._looked_ahead_at = now
            seconds = claims.seconds_to_next_due(self._holder.instance)
            # What is due and cannot be let in, having no slot or being locked, is tried again, but not incessantly.
            self.next_due = float("inf") if seconds is None else now + max(seconds, _LOOK_AHEAD_SECONDS / 5)
        else:
            # What has just been written may be due sooner than all that was known then.
            self.next_due = min(self.next_due, self._looked_ahead_at + _LOOK_AHEAD_SECONDS)

    def _what_it_takes(self) -> Callable[[str], bool]:
        if time.monotonic() >= self._takes_until:
            self._takes = capabilities.of_this_process(self._holder.instance).takes
            self._takes_until = time.monotonic() + _CAPABILITY_SECONDS
        return self._takes


@contextlib.contextmanager
def _not_blocking(failure: str, about: Claim | Ending) -> Iterator[None]:
    """Go over what cannot be written: the job is still held then, and known to nobody, until the dispatcher finds it so
    and tries to give it back."""
    try:
        yield
    except _DATABASE_AWAY:
        raise
    except Exception:
        logger.exception(failure, extra={"job": about.job_id, "fence": about.fence})
