"""One real instance with the ledger app, for the journeys about its processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.journeys.world import eventually, free_ports, named

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = [
    "agent",
    "cluster",
    "web",
    *(f"{role} {number}" for number in (1, 2) for role in ("slot", "worker", "pusher", "monitor")),
]


class Instance:
    """An instance of an installation of its own: started, looked into, killed part by part."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = free_ports(1)[0]
        self.log = home / "instance.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOADING_")}
        inherited.pop("DATABASE_URL", None)
        self.environment = inherited | {
            "DJANGO_SETTINGS_MODULE": "tests.journeys.settings",
            "PYTHONPATH": str(ROOT),
            "OFFLOADING_HOME": str(home),
            "OFFLOADING_PORT": str(self.port),
            "OFFLOADING_WORKERS": "2",
            "OFFLOADING_HEARTBEAT_SECONDS": "0.5",
            "OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS": "4",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._adder: subprocess.Popen[str] | None = None

    # --- Its life ---------------------------------------------------------------------------------------------------

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, check=False, timeout=60
        )

    def start(self) -> None:
        if self._process is not None:
            self._process.wait(30)  # the former run
        with self.log.open("ab") as log:
            command = [sys.executable, str(ROOT / "manage.py"), "runinstance"]
            self._process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        eventually(lambda: set(self.processes()) >= set(PROCESSES) and self.is_member(), "all processes run")

    def terminate(self, seconds: float = 30) -> int:
        """Stop it as an operator does; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def close(self) -> None:
        for process in (self._adder, self._process):
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()
        if self._adder is not None:
            self._adder.stdin.close()
            self._adder.stdout.close()

    # --- Its processes ----------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def processes(self) -> dict[str, int]:
        return named(self.pid)

    def kill(self, name: str) -> None:
        """End one process as the kernel's out-of-memory killer would, and wait until another has its place."""
        pid = self.processes()[name]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.processes().get(name, pid) != pid, f"{name} is replaced")

    def answers(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/login/", timeout=10) as response:
            return response.status == 200

    # --- Its jobs ---------------------------------------------------------------------------------------------------

    def add(self, topic: str = "ledger/write", seconds: float = 0) -> str:
        """Add a job from a process that is no part of the instance; return its id."""
        return self.add_timed(topic, seconds)[0]

    def add_timed(self, topic: str = "ledger/write", seconds: float = 0) -> tuple[str, float]:
        if self._adder is None:
            command = [sys.executable, "-m", "tests.journeys.ledger.adder"]
            self._adder = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        self._adder.stdin.write(f"{topic} {seconds}\n")
        self._adder.stdin.flush()
        job_id, added_at = self._adder.stdout.readline().split()
        return job_id, float(added_at)

    def ask(self, statement: str, *parameters: object) -> list[tuple]:
        connection = sqlite3.connect(f"file:{self.home / 'offloading.sqlite3'}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def is_member(self) -> bool:
        return bool(self.ask("SELECT 1 FROM topology_instance WHERE heartbeat_at IS NOT NULL"))

    def state(self, job_id: str) -> str:
        return self.ask("SELECT state FROM offloading_job WHERE id = ?", job_id)[0][0]

    def outcomes(self, job_id: str) -> list[str]:
        """Return how the attempts at a job ended, in their order; "" for one that runs."""
        rows = self.ask("SELECT outcome FROM offloading_attempt WHERE job_id = ? ORDER BY fence", job_id)
        return [outcome for (outcome,) in rows]

    def starts(self) -> list[str]:
        """Return the id of the job of each start of a consumer."""
        path = self.home / "starts.log"
        return [line.split()[0].replace("-", "") for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, job_id: str, state: str = "SUCCEEDED") -> None:
        eventually(lambda: self.state(job_id) == state, f"job {job_id} is {state}, not {self.state(job_id)}")

    def wait_for_start(self, job_id: str, times: int = 1) -> None:
        eventually(lambda: self.starts().count(job_id) >= times, f"job {job_id} started")
