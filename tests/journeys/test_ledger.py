"""Two instances work while their processes are killed and frozen at random: no job is lost, no effect comes twice.

Each seed is another story. As many run as OFFLOADING_TESTS_LEDGER_SEEDS says (20 = all), fewer if the time is over.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.journeys import pair as pairs
from tests.journeys.ledger import checker
from tests.journeys.pair import HEARTBEAT_SECONDS, NAMES, RECOVERY_SECONDS, TIMEOUT_SECONDS, Pair
from tests.journeys.world import eventually, within

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

SEEDS = int(os.environ.get("OFFLOADING_TESTS_LEDGER_SEEDS", "3"))
# What all seeds together may take before the next one is left out, when not all of them were asked for.
BUDGET_SECONDS = 240
JOBS = 2_000
PACE_MS = 12  # so that there is work all the time
FROZEN_SECONDS = TIMEOUT_SECONDS + 4 * HEARTBEAT_SECONDS
KINDS = ["worker", "worker", "slot", "pusher", "monitor", "cluster", "agent", "instance", "freeze", "freeze worker"]


@pytest.fixture(scope="module")
def began() -> float:
    return time.monotonic()


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_and_nothing_is_applied_twice(tmp_path: Path, began: float, seed: int):
    if seed >= SEEDS:
        pytest.skip(f"OFFLOADING_TESTS_LEDGER_SEEDS is {SEEDS}")
    if SEEDS < 20 and time.monotonic() - began > BUDGET_SECONDS:
        pytest.skip(f"{BUDGET_SECONDS} s are over")
    chance = random.Random(seed)
    with pairs.running(tmp_path) as pair:
        accepted = story(pair, chance, JOBS)
        eventually(lambda: pair.unfinished() == 0, "all jobs are finished", seconds=120)
        found = pair.found(accepted)
        verdict = checker.judge(found, recovery_seconds=RECOVERY_SECONDS)
        tell(pair, found)
        assert len(accepted) >= JOBS
        assert verdict.is_clean, verdict
        # The blows hit: consumers ran more than once, and what came too late was refused and shown.
        assert len(pair.starts()) > len(set(pair.starts()))
        assert any(attempt.outcome in ("LOST", "FENCED") for attempt in found.attempts)
        assert "late result refused" in pair.log_text()


def test_without_the_fence_the_same_check_would_notice(tmp_path: Path):
    settings = {"DJANGO_SETTINGS_MODULE": "tests.journeys.unfenced.settings"}
    with pairs.running(tmp_path, **settings) as pair:
        accepted = pair.add(count=50)
        accepted += freeze(pair, "one")
        eventually(lambda: pair.unfinished() == 0, "all jobs are finished", seconds=60)
        verdict = checker.judge(pair.found(accepted), recovery_seconds=RECOVERY_SECONDS)
        assert verdict.doubled
        assert not verdict.lost


def story(pair: Pair, chance: random.Random, jobs: int) -> list[str]:
    """Add jobs from a process of its own while one blow follows the other; return the ids of all that were accepted."""
    adding = pair.adding(count=jobs, seed=chance.randrange(2**31), pace=PACE_MS)
    kinds = list(KINDS)
    chance.shuffle(kinds)
    accepted: list[str] = []
    for kind in kinds:
        time.sleep(chance.uniform(0.2, 1.5))
        accepted += strike(pair, chance, kind, chance.choice(NAMES))
    pair.wait_until_up(*NAMES)
    return accepted + pair.accepted(adding)


def strike(pair: Pair, chance: random.Random, kind: str, name: str) -> list[str]:
    """Do one thing to an instance; return the jobs that were added for it."""
    if kind == "freeze":
        pair.wait_until_up(name)
        return freeze(pair, name)
    if kind == "freeze worker":
        pair.freeze_worker(name, FROZEN_SECONDS, chance.randrange(8))
        return []
    if kind == "instance":
        pair.kill_all(name)
        time.sleep(chance.uniform(0, 2 * TIMEOUT_SECONDS))
        pair.start(name)
        return []
    # "agent" is gone and comes again within a second; of the others some may be about to.
    eventually(lambda: pair.kill_one(name, kind, chance.randrange(8)), f"{name} has a {kind}")
    return []


def freeze(pair: Pair, name: str) -> list[str]:
    """Freeze an instance in the middle of a long job, for longer than its lease."""
    accepted: list[str] = []
    for _ in range(10):
        accepted += pair.add(count=6, shortest=1_000, longest=1_500, priority=100)  # before all that waits
        if within(5, lambda: pair.is_busy(name)):  # or the other instance had more room
            pair.freeze(name, FROZEN_SECONDS)
            return accepted
    raise AssertionError(f"{name} ran none of 60 long jobs")


def tell(pair: Pair, found: checker.Found) -> None:
    """Say what happened, for whoever reads the output of a failed test, or of one that passed, with -rP."""
    recoveries = sorted(seconds for _, seconds in checker.recoveries(found))
    outcomes: dict[str, int] = {}
    for attempt in found.attempts:
        outcomes[attempt.outcome] = outcomes.get(attempt.outcome, 0) + 1
    print(  # noqa: T201  captured by pytest
        f"{len(found.accepted)} jobs, {len(pair.starts())} starts, attempts {outcomes},"
        f" {len(recoveries)} recoveries, the slowest {max(recoveries, default=0):.2f} s,"
        f" blows {[f'{blow.kind} {blow.at % 1000:.1f}' for blow in found.blows]}"
    )
