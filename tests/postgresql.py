"""Runs a command against a PostgreSQL server of its own: `python -m tests.postgresql pytest …`.

Uses the server named by DATABASE_URL if that is a PostgreSQL; otherwise makes one in a temporary folder with the
`initdb` of the machine and removes it at the end. Without either it says so and ends well: SQLite alone is a complete
installation, and whoever has no PostgreSQL need not install one to work on this project.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path


def find_binaries() -> Path | None:
    """Return the folder of the newest `initdb` of this machine, or None."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(installed, key=lambda path: int(path.parts[-3]), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve())
    return found[0].parent if found else None


def as_server_user() -> list[str]:
    """PostgreSQL refuses to run as root; then its own user does it."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def server(binaries: Path, *, is_durable: bool = False):
    """Run a throw-away server on a free loopback port; yields its DATABASE_URL.

    Tests have no need of a database that outlives the machine; with `is_durable` each commit waits for the disk.
    """
    folder = Path(tempfile.mkdtemp(prefix="offloading-pg-"))
    prefix = as_server_user()
    if prefix:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    sizes = "-c max_connections=200 -c shared_buffers=" + ("256MB" if is_durable else "64MB -c fsync=off")
    options = f"-h 127.0.0.1 -p {port} -k {folder} {sizes}"
    control = [*prefix, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-s"]

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    make = ["initdb", "-A", "trust", "-U", "offloading", "-E", "UTF8", "--locale=C", "-D"]
    try:
        run(*prefix, str(binaries / make[0]), *make[1:], str(data))
        run(*control, "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgres://offloading@127.0.0.1:{port}/postgres"
        finally:
            run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def main(command: list[str]) -> int:
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return subprocess.call(command)
    binaries = find_binaries()
    if binaries is None:
        sys.stdout.write("PostgreSQL: skipped, no server on this machine (Debian: apt-get install postgresql)\n")
        return 0
    # Ended from outside, it still takes its server along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with server(binaries) as url:
        return subprocess.call(command, env={**os.environ, "DATABASE_URL": url})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
