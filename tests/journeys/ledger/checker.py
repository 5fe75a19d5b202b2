"""Says whether jobs were lost, or their effects applied more than once, from what was found when all was over. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

FINAL = {"SUCCEEDED", "STOPPED", "GIVEN_UP", "ERROR", "DROPPED"}
TAKEN_BACK = {"LOST", "CRASHED", "FENCED"}
MAX_CRASHES = 3


@dataclass(frozen=True)
class Blow:
    """What was done to an instance, and when: seconds since the epoch."""

    kind: str
    sling_id: str
    at: float


@dataclass(frozen=True)
class Attempt:
    """One attempt as the database tells it; times in seconds since the epoch, `ended_at` None while it runs."""

    job: str
    fence: int
    sling_id: str
    started_at: float
    ended_at: float | None
    outcome: str


@dataclass(frozen=True)
class Found:
    """What was there at the end: `accepted` ids, `states` by id, `entries` = the job of each effect."""

    accepted: frozenset[str]
    states: dict[str, str]
    attempts: tuple[Attempt, ...]
    entries: tuple[str, ...]
    blows: tuple[Blow, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is wrong, by job. `slow` are seconds from a blow until the job could be claimed again."""

    lost: frozenset[str]
    doubled: frozenset[str]
    untrue: frozenset[str]
    open: frozenset[str]
    slow: dict[str, float]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.untrue or self.open or self.slow)


def judge(found: Found, *, recovery_seconds: float) -> Verdict:
    """Judge what was found; no job may take longer than `recovery_seconds` to be claimable after a blow."""
    effects = Counter(found.entries)
    succeeded = Counter(each.job for each in found.attempts if each.outcome == "SUCCEEDED")
    taken_back = Counter(each.job for each in found.attempts if each.outcome in TAKEN_BACK)
    return Verdict(
        lost=frozenset(
            job
            for job in found.accepted
            if found.states.get(job) not in FINAL
            # Set aside is an end, but one that has to be deserved.
            or (found.states[job] != "SUCCEEDED" and taken_back[job] < MAX_CRASHES)
        ),
        doubled=frozenset(job for job, count in effects.items() if count > 1),
        untrue=frozenset(
            job
            for job, state in found.states.items()
            if not (state == "SUCCEEDED") == bool(effects[job]) == (succeeded[job] == 1)
        ),
        open=frozenset(each.job for each in found.attempts if not each.outcome),
        slow={job: seconds for job, seconds in recoveries(found) if seconds > recovery_seconds},
    )


def recoveries(found: Found) -> Iterable[tuple[str, float]]:
    """Yield each job that was taken back after a blow to its holder, and how long that took from the blow."""
    for each in found.attempts:
        if each.outcome not in TAKEN_BACK or each.ended_at is None:
            continue
        hits = [
            blow.at
            for blow in found.blows
            if blow.sling_id == each.sling_id and each.started_at <= blow.at <= each.ended_at
        ]
        if hits:
            yield each.job, each.ended_at - min(hits)
