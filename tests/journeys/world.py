"""A real topology for the journeys: the demo's two installations, on free ports, in a temporary folder.

Real processes, real HTTP, real databases: what a journey sees is what an operator would see.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

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
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last seen: {value!r}")
        time.sleep(0.1)


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


@dataclass
class World:
    """The running topology: three instances that can be looked into, killed and started again."""

    folder: Path
    instances: list[demo.DemoInstance]
    extra: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        return self.instance(name).environment(self.folder, "the key of the journeys") | self.extra

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
        """Read straight from an installation's database, past all code of ours."""
        database = self.folder / installation / "offloading.sqlite3"
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def blobs(self, installation: str) -> list[Path]:
        return [path for path in (self.folder / installation / "blobs").rglob("*") if path.is_file()]

    def members(self, name: str) -> set[str]:
        """Return the sling ids that the instance's own installation knows: its members and what was announced."""
        installation = self.instance(name).installation
        found = {row[0] for row in self.ask(installation, "SELECT sling_id FROM topology_instance")}
        for (body,) in self.ask(installation, "SELECT body FROM topology_announcement"):
            found |= {one["slingId"] for one in json.loads(body).get("localClusterView", {}).get("instances", [])}
        return found

    def wait_until_joined(self, seconds: float = 30) -> None:
        everyone = {self.sling_id(instance.name) for instance in self.instances}
        for name in ["author-1", "worker-1"]:
            eventually(lambda name=name: self.members(name) >= everyone, f"{name} knows all instances", seconds)
