"""The demo: two installations on this machine, "author" (two instances, one database) and "worker" (one instance).

Each instance is a real `manage.py runinstance` with its own home, so what a person sees here is what runs elsewhere.
The same data is found again at the next start.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
USERNAME, PASSWORD = "admin", "offloading"
START_SECONDS = 60
STOP_SECONDS = 30
# The exit code of `runinstance` for what a new start would not mend: a taken port, a second process on one home.
CANNOT_RUN = 2


class DemoFailed(Exception):
    """The demo can't go on; the text says why and what to do."""


@dataclass(frozen=True)
class DemoInstance:
    """One instance of the demo: where it listens, what it is called, whose data it works on."""

    name: str
    installation: str
    port: int
    connects_to: int | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def environment(self, folder: Path, shared_key: str) -> dict[str, str]:
        """Return the environment that makes a process this instance. Nothing of the caller's own settings leaks in."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOADING_")}
        inherited.pop("DATABASE_URL", None)
        urls = [f"http://{HOST}:{self.connects_to}/libs/sling/topology/connector"] if self.connects_to else []
        return inherited | {
            "OFFLOADING_HOME": str(folder / self.name),
            "OFFLOADING_DATA": str(folder / self.installation),
            "OFFLOADING_HOST": HOST,
            "OFFLOADING_PORT": str(self.port),
            "OFFLOADING_NAME": self.name,
            "OFFLOADING_CONNECTOR_URLS": ",".join(urls),
            "OFFLOADING_CONNECTOR_SHARED_KEY": shared_key,
        }


def instances(ports: list[int]) -> list[DemoInstance]:
    first, second, worker = ports
    return [
        DemoInstance("author-1", "author", first),
        DemoInstance("author-2", "author", second),
        DemoInstance("worker-1", "worker", worker, connects_to=first),
    ]


def require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoFailed(
                f"Port {port} is taken. Stop what listens there (is another demo running?) or move the demo: "
                f"make demo DEMO_PORTS='{port + 100} {port + 101} {port + 110}'."
            ) from error


def read_or_make_key(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


def manage(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def prepare(environment: dict[str, str]) -> None:
    """Bring an installation's database up to date and give it its user. Safe to repeat."""
    migrated = manage("migrate", "--verbosity", "0", environment=environment)
    if migrated.returncode:
        raise DemoFailed(f"The database could not be prepared:\n{migrated.stderr.strip()}")
    user = {
        "DJANGO_SUPERUSER_USERNAME": USERNAME,
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "DJANGO_SUPERUSER_EMAIL": "admin@example.com",
    }
    created = manage("createsuperuser", "--noinput", environment=environment | user)
    if created.returncode and "already taken" not in created.stderr:
        raise DemoFailed(f"The user could not be made:\n{created.stderr.strip()}")


def start(instance: DemoInstance, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start an instance. In a session of its own, so that Ctrl-C reaches this process alone, which then stops all."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), "runinstance"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_until_up(instance: DemoInstance, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoFailed(f"{instance.name} ended while starting. The end of {log}:\n{tail(log)}")
        try:
            urllib.request.urlopen(instance.endpoint + "login/", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise DemoFailed(f"{instance.name} did not answer within {START_SECONDS} s. The end of {log}:\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Let every instance drain, all at the same time; end for good what is not gone in time."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
