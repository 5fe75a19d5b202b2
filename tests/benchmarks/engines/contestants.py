"""The engines as the benchmark sees them: opened in a folder of their own, fed, their workers held and released.

All have two worker processes. "Held" means that jobs can be added and none is worked on: for ours the workers are
stopped by a signal, for the others they are not there.
"""

import importlib.util
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psycopg

from config import demo
from tests.benchmarks.engines.group import Group, family, signal_all
from tests.benchmarks.engines.producer import Producer
from tests.journeys.world import World, descendants, free_ports, named

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PACKAGE = "tests.benchmarks.engines"
WORKERS = "2"


@dataclass
class Engine:
    """One engine on one database. `server` is the address of a PostgreSQL, or "" if there is none."""

    key: ClassVar[str]
    title: ClassVar[str]
    server: str
    folder: Path = field(init=False)
    environment: dict[str, str] = field(init=False, default_factory=dict)

    def missing(self) -> str:
        """Say what this machine lacks to run it; "" if nothing."""
        return ""

    @contextmanager
    def opened(self, folder: Path, **environment: str) -> Iterator["Engine"]:
        """Make its database and start what it needs; at the end everything is gone."""
        self.folder = folder
        folder.mkdir(parents=True)
        self.environment = {"PYTHONPATH": str(ROOT), "BENCH_STAMPS": str(folder / "stamps"), **environment}
        try:
            self.start()
            yield self
        except Exception:
            for log in sorted(folder.rglob("*log")):
                print(f"--- {self.key} {log.name}\n{demo.tail(log, 30)}")
            raise
        finally:
            self.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def producer(self) -> Producer:
        raise NotImplementedError

    def hold(self) -> None:
        """Let no worker work."""

    def release(self) -> None:
        """Let the workers work."""


class OnPostgreSQL(Engine):
    """What engines on PostgreSQL share: a database of their own."""

    def missing(self) -> str:
        return "" if self.server else "no PostgreSQL server on this machine (Debian: apt-get install postgresql)"

    def make_database(self) -> str:
        name = f"bench_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.server.rpartition("/")[0] + "/" + name

    def drop_database(self, url: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


# --- Ours -------------------------------------------------------------------------------------------------------------


class OursSQLite(Engine):
    key = "ours-sqlite"
    title = "Offloading, SQLite"
    world: World

    def start(self) -> None:
        instance = demo.DemoInstance("bench", "bench", free_ports(1)[0])
        settings = {
            "DJANGO_SETTINGS_MODULE": f"{PACKAGE}.ours_settings",
            "OFFLOADING_WORKERS": WORKERS,
            "LOG_LEVEL": "WARNING",
            **self.environment,
        }
        self.world = World(self.folder, [instance], settings, self.databases())
        demo.prepare(self.world.environment("bench"))
        self.start_instance()

    def databases(self) -> dict[str, str]:
        return {}

    def start_instance(self) -> None:
        """Start the instance and wait until it has run a job."""
        self.world.start("bench")
        producer = self.producer()
        try:
            producer.ask("add", count=20)
            producer.ask("drain", seconds=60)
        finally:
            producer.close()

    def stop_instance(self) -> None:
        if self.world.processes:
            self.release()
        demo.stop(list(self.world.processes.values()))

    def stop(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.stop_instance()
        finally:
            for process in self.world.processes.values():
                signal_all(family(process.pid), signal.SIGKILL)

    def producer(self) -> Producer:
        return Producer(f"{PACKAGE}.ours_producer", self.world.environment("bench"))

    def hold(self) -> None:
        signal_all(self.workers(), signal.SIGSTOP)

    def release(self) -> None:
        signal_all(self.workers(), signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self.world.processes["bench"].pid

    def processes(self) -> dict[str, int]:
        """Return its processes by name, the supervisor among them."""
        return {"supervisor": self.pid, **named(self.pid)}

    def workers(self) -> list[int]:
        """Return all that executes: what is neither the agent nor the web process nor below them."""
        others = [pid for name, pid in named(self.pid).items() if name in ("agent", "web")]
        below = [pid for other in others for pid in descendants(other)]
        return [pid for pid in descendants(self.pid) if pid not in others and pid not in below]

    def ask(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.world.ask("bench", statement, *parameters)


class OursPostgreSQL(OursSQLite, OnPostgreSQL):
    key = "ours-postgresql"
    title = "Offloading, PostgreSQL"
    url = ""

    def databases(self) -> dict[str, str]:
        self.url = self.make_database()
        return {"bench": self.url}

    def stop(self) -> None:
        super().stop()
        if self.url:
            self.drop_database(self.url)
            self.url = ""


# --- The others -------------------------------------------------------------------------------------------------------


class DjangoQSQLite(Engine):
    key = "q2-sqlite"
    title = "django-q2 tuned, SQLite"
    cluster: Group | None = None

    def start(self) -> None:
        self.environment |= {"DJANGO_SETTINGS_MODULE": f"{PACKAGE}.q2_settings", "DATABASE_URL": self.database()}
        migrate = Group([*self.manage, "migrate", "--verbosity", "0"], self.environment, self.folder / "log")
        wait_for_end(migrate, self.folder / "log")

    @property
    def manage(self) -> list[str]:
        return [sys.executable, "-W", "ignore", "-m", "django"]

    def database(self) -> str:
        return f"sqlite:///{self.folder / 'q2.sqlite3'}"

    def stop(self) -> None:
        self.hold()

    def producer(self) -> Producer:
        return Producer(f"{PACKAGE}.q2_producer", self.environment)

    def hold(self) -> None:
        if self.cluster is not None:
            self.cluster.stop()
        self.cluster = None

    def release(self) -> None:
        self.cluster = Group([*self.manage, "qcluster"], self.environment, self.folder / "log")


class DjangoQPostgreSQL(DjangoQSQLite, OnPostgreSQL):
    key = "q2-postgresql"
    title = "django-q2 tuned, PostgreSQL"
    url = ""

    def database(self) -> str:
        self.url = self.make_database()
        return self.url

    def stop(self) -> None:
        super().stop()
        if self.url:
            self.drop_database(self.url)
            self.url = ""


class CeleryRedis(Engine):
    key = "celery"
    title = "Celery, Redis, acks_late"
    redis: Group | None = None
    worker: Group | None = None

    def missing(self) -> str:
        if importlib.util.find_spec("celery") is None:
            return "celery is not installed (make bench installs it)"
        return "" if shutil.which("redis-server") else "no redis-server on this machine (Debian: apt-get install redis)"

    def start(self) -> None:
        port = str(free_ports(1)[0])
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.redis = Group(command, {}, self.folder / "redis.log")
        self.environment["BENCH_REDIS"] = f"redis://127.0.0.1:{port}/0"
        wait_for_redis(self.environment["BENCH_REDIS"])

    def stop(self) -> None:
        self.hold()
        if self.redis is not None:
            self.redis.stop()
        self.redis = None

    def producer(self) -> Producer:
        return Producer(f"{PACKAGE}.celery_producer", self.environment)

    def hold(self) -> None:
        if self.worker is not None:
            self.worker.stop()
        self.worker = None

    def release(self) -> None:
        quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", f"{PACKAGE}.celery_producer", "worker"]
        self.worker = Group([*command, "--concurrency", WORKERS, *quiet], self.environment, self.folder / "log")


class PgQueuer(OnPostgreSQL):
    key = "pgqueuer"
    title = "PgQueuer, 2 processes, batch 10"
    url = ""
    workers: tuple[Group, ...] = ()

    def missing(self) -> str:
        if importlib.util.find_spec("pgqueuer") is None:
            return "pgqueuer is not installed (make bench installs it)"
        return super().missing()

    def start(self) -> None:
        self.url = self.environment["DATABASE_URL"] = self.make_database()

    def stop(self) -> None:
        self.hold()
        if self.url:
            self.drop_database(self.url)
            self.url = ""

    def producer(self) -> Producer:
        return Producer(f"{PACKAGE}.pgqueuer_producer", self.environment)

    def hold(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers = ()

    def release(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", f"{PACKAGE}.pgqueuer_producer", "work"]
        self.workers = tuple(Group(command, self.environment, self.folder / "log") for _ in range(int(WORKERS)))


ALL: tuple[type[Engine], ...] = (
    OursSQLite,
    OursPostgreSQL,
    DjangoQSQLite,
    DjangoQPostgreSQL,
    CeleryRedis,
    PgQueuer,
)


def wait_for_end(group: Group, log: Path) -> None:
    if group.wait(60):
        raise RuntimeError(f"A command of the benchmark failed:\n{demo.tail(log)}")


def wait_for_redis(url: str) -> None:
    from redis import ConnectionError as NotThere
    from redis import Redis

    for _ in range(100):
        try:
            Redis.from_url(url).ping()
            return
        except NotThere:
            time.sleep(0.1)
    raise RuntimeError("redis-server did not answer within 10 s")
