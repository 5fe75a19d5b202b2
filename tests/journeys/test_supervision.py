"""No death of a process stops an instance: real processes, killed one after the other, each job applied once."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.instance import PROCESSES, Instance
from tests.journeys.world import descendants, eventually

pytestmark = pytest.mark.journey


def make(home: Path, **settings: str) -> Instance:
    instance = Instance(home, **settings)
    migrated = instance.manage("migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    return instance


@pytest.fixture(scope="module")
def instance(tmp_path_factory) -> Iterator[Instance]:
    """One instance that all the killing happens to: it must still be well at the end."""
    instance = make(tmp_path_factory.mktemp("instance"))
    try:
        instance.start()
        yield instance
    finally:
        instance.close()
        show(instance)


@pytest.fixture
def own_instance(tmp_path) -> Iterator[Instance]:
    """An instance of this test alone, migrated and not started; running jobs get one second when it stops."""
    instance = make(tmp_path, OFFLOADING_STOP_SECONDS="2")
    try:
        yield instance
    finally:
        instance.close()
        show(instance)


def show(instance: Instance) -> None:
    print(instance.log.read_text() if instance.log.exists() else "(no log)")  # noqa: T201  captured by pytest


def works(instance: Instance) -> None:
    """Run more jobs than there are slots; each is started once, succeeds once, and has its effect."""
    jobs = [instance.add() for _ in range(4)]
    for job in jobs:
        instance.wait_for(job)
        assert instance.outcomes(job) == ["SUCCEEDED"]
        assert instance.starts().count(job) == 1


def test_a_job_runs(instance):
    works(instance)


@pytest.mark.parametrize("name", PROCESSES)
def test_idle_process_that_is_killed_is_replaced(instance, name):
    instance.wait_until_whole()
    instance.kill(name)
    works(instance)
    assert instance.answers()


@pytest.mark.parametrize("number", [1, 2])
def test_idle_worker_may_die_again_and_again(instance, number):
    # The one that waits for a task holds the lock of its queue: with queues shared by workers this stops all work.
    for _ in range(3):
        instance.wait_until_whole()
        instance.kill(f"worker {number}")
        works(instance)


@pytest.mark.parametrize("name", ["worker", "pusher", "monitor", "slot", "cluster", "agent"])
def test_death_in_the_middle_of_a_job_costs_an_attempt_and_no_more(instance, name):
    instance.wait_until_whole()
    jobs = [instance.add(seconds=1.5), instance.add(seconds=1.5)]
    for job in jobs:
        instance.wait_for_start(job)
    instance.kill(name if name in ("cluster", "agent") else f"{name} 1")
    for job in jobs:
        instance.wait_for(job)
        assert instance.outcomes(job).count("SUCCEEDED") == 1
    ended = [instance.outcomes(job)[0] for job in jobs]
    assert ("LOST" if name == "agent" else "CRASHED") in ended
    # A slot's death is the affair of that slot: the other one's job went on.
    assert name in ("cluster", "agent") or "SUCCEEDED" in ended


def test_web_may_die_while_jobs_run(instance):
    instance.wait_until_whole()
    job = instance.add(seconds=1)
    instance.wait_for_start(job)
    instance.kill("web")
    assert instance.answers()
    instance.wait_for(job)
    assert instance.outcomes(job) == ["SUCCEEDED"]


def test_job_that_kills_its_worker_is_set_aside_at_the_third_time(instance):
    instance.wait_until_whole()
    poison, harmless = instance.add("ledger/poison"), instance.add()
    instance.wait_for(poison, "ERROR")
    assert instance.outcomes(poison) == ["CRASHED"] * 3
    assert instance.starts().count(poison) == 3
    instance.wait_for(harmless)
    works(instance)


def test_stop_lets_the_running_job_end_and_claims_no_more(own_instance):
    own_instance.start()
    running = [own_instance.add(seconds=1), own_instance.add(seconds=1)]
    for job in running:
        own_instance.wait_for_start(job)
    waiting = own_instance.add()
    assert own_instance.terminate() == 0
    assert [own_instance.outcomes(job) for job in running] == [["SUCCEEDED"]] * 2
    assert (own_instance.state(waiting), own_instance.outcomes(waiting)) == ("QUEUED", [])
    assert not own_instance.is_member()
    assert " WARNING " not in own_instance.log.read_text()
    own_instance.start()
    own_instance.wait_for(waiting)


def test_job_that_outlasts_the_stop_is_given_back(own_instance):
    own_instance.start()
    job = own_instance.add(seconds=20)
    own_instance.wait_for_start(job)
    assert own_instance.terminate() == 0
    assert (own_instance.state(job), own_instance.outcomes(job)) == ("QUEUED", ["RELEASED"])
    assert own_instance.ask("SELECT fence, crash_count FROM offloading_job") == [(2, 0)]


def test_second_stop_ends_at_once(own_instance):
    own_instance.environment["OFFLOADING_STOP_SECONDS"] = "60"
    own_instance.start()
    own_instance.wait_for_start(own_instance.add(seconds=60))
    family = descendants(own_instance.pid)
    os.kill(own_instance.pid, signal.SIGTERM)
    time.sleep(0.5)
    own_instance.terminate(seconds=5)
    eventually(lambda: not alive(family), "all processes ended", seconds=5)


def test_nothing_outlives_a_killed_instance_and_the_next_run_takes_its_job(own_instance):
    own_instance.start()
    job = own_instance.add(seconds=3)
    own_instance.wait_for_start(job)
    family = descendants(own_instance.pid)
    assert len(family) == len(PROCESSES)
    os.kill(own_instance.pid, signal.SIGKILL)
    eventually(lambda: not alive(family), "all processes ended", seconds=5)
    own_instance.start()
    own_instance.wait_for(job)
    assert own_instance.outcomes(job) == ["LOST", "SUCCEEDED"]


def test_second_process_on_the_same_home_is_refused(instance):
    refused = instance.manage("runinstance")
    assert refused.returncode == 2
    assert f"{instance.home} is in use by process {instance.pid}" in refused.stderr
    works(instance)


def test_taken_port_is_a_clear_error(own_instance):
    with socket.create_server(("127.0.0.1", own_instance.port)):
        refused = own_instance.manage("runinstance")
    assert refused.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{own_instance.port}" in refused.stderr


def test_missing_migrations_are_a_clear_error(tmp_path):
    refused = Instance(tmp_path).manage("runinstance")
    assert refused.returncode == 2
    assert "manage.py migrate" in refused.stderr


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in status(pid)]


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"
