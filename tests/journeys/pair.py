"""Two instances of one installation with the ledger app, for the journeys that hit them: one database, a home each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from config import demo
from tests.journeys.ledger.checker import Attempt, Blow, Found
from tests.journeys.world import World, databases, descendants, eventually, free_ports, named

ROOT = Path(__file__).resolve().parent.parent.parent
HEARTBEAT_SECONDS = 0.5
TIMEOUT_SECONDS = 2.5
# The heartbeat's timeout and two more beats; and what a machine that has more to do than it can is late by.
RECOVERY_SECONDS = TIMEOUT_SECONDS + 2 * HEARTBEAT_SECONDS + 1
NAMES = ("one", "two")
DATA = "data"


class Pair:
    """The two instances, what happened to them, and what became of their jobs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.blows: list[Blow] = []
        self._adders: list[subprocess.Popen[str]] = []

    def start(self, *names: str) -> None:
        """Start instances without waiting for them; see `wait_until_up`."""
        for name in names:
            self.world.processes[name] = demo.start(
                self.world.instance(name), self.world.environment(name), self.world.log(name)
            )

    def wait_until_up(self, *names: str) -> None:
        for name in names:
            process = self.world.processes[name]
            demo.wait_until_up(self.world.instance(name), process, self.world.log(name))
            eventually(lambda pid=process.pid: len(self.of_kind(pid, "worker")) == 2, f"{name} has its workers")

    def tree(self, name: str) -> list[int]:
        pid = self.world.processes[name].pid
        return [pid, *descendants(pid)]

    @staticmethod
    def of_kind(pid: int, kind: str) -> list[int]:
        """Return the processes below `pid` that are called `kind`, or `kind` and a number."""
        return [each for name, each in sorted(named(pid).items()) if name.split()[0] == kind]

    # --- Blows ------------------------------------------------------------------------------------------------------

    def note(self, kind: str, name: str) -> None:
        self.blows.append(Blow(kind, self.world.sling_id(name), time.time()))

    def kill_one(self, name: str, kind: str, choice: int) -> bool:
        """End one process as the kernel's out-of-memory killer would; return whether there was one of that kind."""
        found = self.of_kind(self.world.processes[name].pid, kind)
        if not found:
            return False
        self.note(kind, name)
        with suppress(ProcessLookupError):
            os.kill(found[choice % len(found)], signal.SIGKILL)
        return True

    def kill_all(self, name: str) -> None:
        """End a whole instance as a power cut would."""
        self.note("instance", name)
        self.world.kill(name)

    def freeze(self, name: str, seconds: float) -> None:
        """Stop all processes of an instance for a while; its workers are the first to go on."""
        tree = self.tree(name)
        try:
            self.stop_between_writes(tree)
            self.note("freeze", name)
            time.sleep(seconds)
            signal_all(self.of_kind(tree[0], "worker"), signal.SIGCONT)
            time.sleep(HEARTBEAT_SECONDS)
        finally:
            signal_all(tree, signal.SIGCONT)

    def freeze_worker(self, name: str, seconds: float, choice: int) -> None:
        """Stop one worker for a while: its instance lives on, and so does its claim."""
        found = self.of_kind(self.world.processes[name].pid, "worker")
        if not found:
            return
        worker = found[choice % len(found)]
        try:
            self.stop_between_writes([worker])
            time.sleep(seconds)
        finally:
            signal_all([worker], signal.SIGCONT)

    def stop_between_writes(self, pids: list[int]) -> None:
        """Stop processes at a moment when none of them has SQLite's one write lock: nobody could write but they."""
        for _ in range(20):
            signal_all(pids, signal.SIGSTOP)
            if self.world.is_writable(DATA):
                return
            signal_all(pids, signal.SIGCONT)
            time.sleep(0.05)
        raise AssertionError("the processes were in the midst of a write 20 times")

    # --- Jobs -------------------------------------------------------------------------------------------------------

    def adding(self, **options: int) -> subprocess.Popen[str]:
        """Start a process that adds jobs and prints their ids; see `ledger.insistent` for the options."""
        told = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-W", "ignore", "-m", "tests.journeys.ledger.insistent", *told]
        with self.world.log("adder").open("ab") as log:
            adding = subprocess.Popen(
                command, env=self.world.environment("one"), stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._adders.append(adding)
        return adding

    def close(self) -> None:
        """End all processes at once."""
        for adding in self._adders:
            if adding.poll() is None:
                adding.kill()
                adding.communicate()
        for name in self.world.processes:
            signal_all(self.tree(name), signal.SIGCONT)
            self.world.kill(name)

    def add(self, **options: int) -> list[str]:
        """Add jobs from a process that is no part of the instances; return the ids of those that were accepted."""
        return self.accepted(self.adding(**options))

    @staticmethod
    def accepted(adding: subprocess.Popen[str], seconds: float = 120) -> list[str]:
        """Wait for a process that adds; return the ids of the jobs that were accepted."""
        added, _ = adding.communicate(timeout=seconds)
        assert adding.returncode == 0
        return added.split()

    def unfinished(self) -> int:
        return self.ask("SELECT count(*) FROM offloading_job WHERE state IN ('QUEUED', 'ACTIVE')")[0][0]

    def is_busy(self, name: str) -> bool:
        """Say whether the instance runs a job that has some time to go."""
        return bool(
            self.ask(
                "SELECT 1 FROM offloading_attempt a JOIN offloading_job j ON j.id = a.job_id"
                " WHERE a.outcome = '' AND a.instance = ? AND j.state = 'ACTIVE' AND j.title = ''"
                " AND CAST(j.properties AS text) LIKE '%\"seconds\": 1%'",
                self.world.sling_id(name),
            )
        )

    def starts(self) -> list[str]:
        """Return the id of the job of each start of a consumer, whatever came of it."""
        path = self.world.folder / DATA / "starts.log"
        return [line.split()[0].replace("-", "") for line in path.read_text().splitlines()] if path.exists() else []

    def ask(self, statement: str, *parameters: object) -> list[tuple]:
        return self.world.ask(DATA, statement, *parameters)

    def found(self, accepted: list[str]) -> Found:
        """Read from the database what there is to judge."""
        jobs = self.ask("SELECT id, state FROM offloading_job")
        epoch = "extract(epoch FROM {})" if self.world.databases else "(julianday({}) - 2440587.5) * 86400"
        rows = self.ask(
            f"SELECT job_id, fence, instance, {epoch.format('started_at')}, {epoch.format('ended_at')}, outcome"
            " FROM offloading_attempt"
        )
        attempts = (
            Attempt(plain(job), fence, instance, float(began), None if ended is None else float(ended), outcome)
            for job, fence, instance, began, ended, outcome in rows
        )
        entries = (job for (job,) in self.ask("SELECT job FROM ledger_entry"))
        return Found(
            frozenset(accepted),
            {plain(job): state for job, state in jobs},
            tuple(attempts),
            tuple(entries),
            tuple(self.blows),
        )

    def log_text(self) -> str:
        return "".join(self.world.log(name).read_text() for name in NAMES if self.world.log(name).exists())


@contextmanager
def running(folder: Path, *names: str, **settings: str) -> Iterator[Pair]:
    """Start the pair, or the instances of it that are named; all is gone at the end."""
    instances = [demo.DemoInstance(name, DATA, port) for name, port in zip(NAMES, free_ports(2), strict=True)]
    extra = {
        "DJANGO_SETTINGS_MODULE": "tests.journeys.settings",
        "PYTHONPATH": str(ROOT),
        "OFFLOADING_WORKERS": "2",
        "OFFLOADING_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        **settings,
    }
    with databases([DATA]) as addresses:
        world = World(folder, instances, extra, addresses)
        pair = Pair(world)
        try:
            prepare(world)
            pair.start(*(names or NAMES))
            pair.wait_until_up(*(names or NAMES))
            yield pair
        finally:
            pair.close()
            show_ends(world)


def prepare(world: World) -> None:
    """Make the database, with the table of effects: no constraint in it, or the fence would not be needed."""
    environment = world.environment("one")
    demo.prepare(environment)
    table = "CREATE TABLE ledger_entry (job varchar(32), fence bigint)"
    code = f"from django.db import connection; connection.cursor().execute({table!r})"
    made = demo.manage("shell", "--no-imports", "-c", code, environment=environment)
    assert made.returncode == 0, made.stderr


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def show_ends(world: World) -> None:
    for path in sorted((world.folder / "logs").glob("*.log")):
        print(f"--- {path.name}\n{demo.tail(path, 60)}")  # noqa: T201  captured by pytest


def plain(job_id: object) -> str:
    return str(job_id).replace("-", "")
