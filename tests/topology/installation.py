"""A real installation as far as the topology goes: a database, a web process and an agent, for journeys."""

import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

from tests.journeys.world import eventually, free_ports

ROOT = Path(__file__).resolve().parent.parent.parent
SHORT = {
    "OFFLOADING_HEARTBEAT_SECONDS": "0.3",
    "OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS": "3",
    "OFFLOADING_CONNECTOR_PING_SECONDS": "0.3",
    "OFFLOADING_CONNECTOR_TIMEOUT_SECONDS": "3",
}


class Installation:
    """One instance with a database of its own."""

    def __init__(self, home: Path, *, template: Path, **settings: str) -> None:
        home.mkdir()
        shutil.copy(template, home / "offloading.sqlite3")
        self.sling_id = str(uuid.uuid4())
        (home / "sling.id").write_text(self.sling_id)
        self.home = home
        self.port = free_ports(1)[0]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOADING_")}
        clean.pop("DATABASE_URL", None)
        self.environment = clean | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": str(ROOT),
            "OFFLOADING_HOME": str(home),
            "OFFLOADING_PORT": str(self.port),
            **SHORT,
            **settings,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def connector(self) -> str:
        return f"http://127.0.0.1:{self.port}/libs/sling/topology/connector"

    def start_web(self) -> None:
        self._start("web", "uvicorn", "config.asgi:application", "--port", str(self.port), "--log-level", "warning")

    def start_agent(self, **settings: str) -> None:
        self._start("agent", "tests.topology.agent", OFFLOADING_RUNTIME_ID=str(uuid.uuid4()), **settings)

    def _start(self, name: str, module: str, *arguments: str, **settings: str) -> None:
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self.environment | settings,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def end(self, name: str, *, kill: bool = False) -> None:
        process = self.processes.pop(name)
        if kill:
            process.kill()
        else:
            process.terminate()
        process.wait(20)

    def close(self) -> None:
        for name in tuple(self.processes):
            self.end(name, kill=True)

    def log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def ask(self, statement: str) -> list[tuple]:
        with closing(sqlite3.connect(self.home / "offloading.sqlite3", timeout=10)) as database:
            return database.execute(statement).fetchall()

    # --- What to look at ----------------------------------------------------------------------------------------------

    def announced(self) -> dict[str, bool]:
        """Return who announced itself here, and whether it is trusted."""
        return {
            owner: bool(trusted)
            for owner, trusted in self.ask("SELECT owner_id, is_trusted FROM topology_announcement")
        }

    def refused(self) -> list[tuple[str, str]]:
        return self.ask("SELECT kind, reason FROM topology_refusal")

    def status(self) -> str:
        return "".join(status for (status,) in self.ask("SELECT status FROM topology_connector"))

    def wait_for(self, look, what: str) -> None:
        eventually(look, what, 30)
