"""A real topology for the journeys: the demo's two installations, on free ports, in a temporary folder.

Real processes, real HTTP, real databases: what a journey sees is what an operator would see. Where DATABASE_URL names a
PostgreSQL server, each installation has a database of its own on it; otherwise a SQLite file.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from config import demo

T = TypeVar("T")
TOPIC = "com/adobe/granite/workflow/offloading"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((demo.HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def eventually(look: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Return the first true value of `look`; fail with `what` and the last value seen when the time is over."""
    value = within(seconds, look)
    if not value:
        raise AssertionError(f"not within {seconds} s: {what}; last seen: {value!r}")
    return value


def within(seconds: float, look: Callable[[], T]) -> T:
    """Return the first true value of `look`, or the last one that it had when the time was over."""
    deadline = time.monotonic() + seconds
    while not (value := look()) and time.monotonic() <= deadline:
        time.sleep(0.1)
    return value


def descendants(pid: int) -> list[int]:
    """Return the live processes below `pid`, from the kernel's table."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def named(pid: int) -> dict[str, int]:
    """Return the processes below a supervisor, by the names that `ps` shows."""
    found = {}
    for below in descendants(pid):
        try:
            found[Path(f"/proc/{below}/comm").read_text().strip()] = below
        except OSError:
            continue
    return found


@contextmanager
def databases(installations: Iterable[str]) -> Iterator[dict[str, str]]:
    """Make a database for each of `installations` on the PostgreSQL of DATABASE_URL, and drop it at the end.

    Yields their addresses; nothing if there is no such server, for SQLite needs no making.
    """
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield {}
        return
    names = {installation: f"journey_{installation}_{uuid.uuid4().hex[:8]}" for installation in installations}
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names.values():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield {key: urlsplit(server)._replace(path=f"/{name}").geturl() for key, name in names.items()}
    finally:
        # With a connection of its own: a journey may have restarted the server.
        with psycopg.connect(server, autocommit=True) as connection:
            for name in names.values():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass
class World:
    """The running topology: three instances that can be looked into, killed and started again."""

    folder: Path
    instances: list[demo.DemoInstance]
    extra: dict[str, str] = field(default_factory=dict)
    databases: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        instance = self.instance(name)
        url = self.databases.get(instance.installation)
        database = {"DATABASE_URL": url} if url else {}
        return instance.environment(self.folder, "the key of the journeys") | database | self.extra

    def instance(self, name: str) -> demo.DemoInstance:
        return next(instance for instance in self.instances if instance.name == name)

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def prepare(self) -> None:
        for name in ["author-1", "worker-1"]:
            demo.prepare(self.environment(name))

    def start(self, *names: str) -> None:
        for name in names:
            self.processes[name] = demo.start(self.instance(name), self.environment(name), self.log(name))
        for name in names:
            demo.wait_until_up(self.instance(name), self.processes[name], self.log(name))

    def stop(self) -> None:
        demo.stop(list(self.processes.values()))

    def kill_process(self, name: str, role: str) -> None:
        """End one process of an instance, as the kernel's out-of-memory killer would."""
        os.kill(named(self.processes[name].pid)[role], signal.SIGKILL)

    def kill(self, name: str) -> None:
        """End a whole instance at once, as a power cut would."""
        process = self.processes[name]
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def sling_id(self, name: str) -> str:
        return (self.folder / name / "sling.id").read_text().strip()

    def ask(self, installation: str, statement: str, *parameters: object) -> list[tuple]:
        """Read straight from an installation's database, past all code of ours; `?` stands for a parameter."""
        url = self.databases.get(installation)
        if url:
            with psycopg.connect(url, autocommit=True) as server:
                return server.execute(statement.replace("%", "%%").replace("?", "%s"), parameters).fetchall()
        database = self.folder / installation / "offloading.sqlite3"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def is_writable(self, installation: str, seconds: float = 0.5) -> bool:
        """Say whether the database's one write lock can be had; PostgreSQL has none."""
        if installation in self.databases:
            return True
        with closing(sqlite3.connect(self.folder / installation / "offloading.sqlite3", timeout=seconds)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.rollback()
        return True

    def blobs(self, installation: str) -> list[Path]:
        return [path for path in (self.folder / installation / "blobs").rglob("*") if path.is_file()]

    def members(self, name: str) -> set[str]:
        """Return the sling ids that the instance's own installation knows: its members and what was announced."""
        installation = self.instance(name).installation
        found = {row[0] for row in self.ask(installation, "SELECT sling_id FROM topology_instance")}
        for (body,) in self.ask(installation, "SELECT CAST(body AS text) FROM topology_announcement"):
            found |= {one["slingId"] for one in json.loads(body).get("localClusterView", {}).get("instances", [])}
        return found

    def wait_until_joined(self, seconds: float = 30) -> None:
        everyone = {self.sling_id(instance.name) for instance in self.instances}
        for name in ["author-1", "worker-1"]:
            eventually(lambda name=name: self.members(name) >= everyone, f"{name} knows all instances", seconds)
