"""Where the time of ours goes while it works jobs off: counters first, then a profile, which itself takes time."""

import contextlib
import pstats
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.benchmarks.engines.contestants import ROOT, OursPostgreSQL, OursSQLite
from tests.benchmarks.engines.group import cpu_seconds, family
from tests.benchmarks.engines.producer import Producer

ROWS = 14


class Sizes(Protocol):
    singles: int
    many: int


@dataclass
class Profile:
    """`cpu` is milliseconds of each process for a job; `server` what PostgreSQL counted for a job; `rows` name, for the
    dispatcher's thread and the worker, functions with their share in per cent and their calls for a job."""

    rate: float
    cpu: dict[str, float]
    server: dict[str, float] = field(default_factory=dict)
    rows: dict[str, list[tuple[str, float, float]]] = field(default_factory=dict)


def measure(engine: OursSQLite, folder: Path, sizes: Sizes) -> Profile:
    with engine.opened(folder / f"{engine.key}-counters"):
        found = count(engine, sizes)
    profiles = folder / f"{engine.key}-profiles"
    profiles.mkdir()
    with engine.opened(folder / f"{engine.key}-profile", BENCH_PROFILE=str(profiles)):
        with contextlib.closing(engine.producer()) as producer:
            jobs, _ = drain(engine, producer, sizes)
        engine.stop_instance()
        for name, pattern in {"dispatcher": "dispatcher.profile", "worker": "worker-*.profile"}.items():
            files = [str(path) for path in profiles.glob(pattern)]
            found.rows[name] = top(files, jobs) if files else []
    return found


def count(engine: OursSQLite, sizes: Sizes) -> Profile:
    with contextlib.closing(engine.producer()) as producer:
        processes = engine.processes()
        before = {name: cpu_seconds([pid]) for name, pid in processes.items()}
        server = Server(engine.url) if isinstance(engine, OursPostgreSQL) else None
        jobs, seconds = drain(engine, producer, sizes)
        cpu = {name: 1000 * (cpu_seconds([pid]) - before[name]) / jobs for name, pid in processes.items()}
        counted = {name: value / jobs for name, value in server.since().items()} if server else {}
    return Profile(jobs / seconds, {name: value for name, value in cpu.items() if value >= 0.005}, counted)


def drain(engine: OursSQLite, producer: Producer, sizes: Sizes) -> tuple[int, float]:
    engine.hold()
    producer.ask("add_many", count=sizes.singles + sizes.many)
    engine.release()
    jobs, seconds = producer.ask("drain", seconds=400)
    return jobs, seconds


class Server:
    """What a PostgreSQL has counted since this was made."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before = self._read()

    def since(self) -> dict[str, float]:
        return {name: value - self._before[name] for name, value in self._read().items()}

    def _read(self) -> dict[str, float]:
        query = (
            "SELECT pg_backend_pid(), xact_commit, tup_inserted, tup_updated, pg_current_wal_lsn() - '0/0'"
            " FROM pg_stat_database WHERE datname = current_database()"
        )
        with psycopg.connect(self._url, autocommit=True) as server:
            pid, commits, inserted, updated, wal = one(server.execute(query).fetchone())
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu = cpu_seconds(family(int(stat[1])))
        return {
            "transactions": commits,
            "rows inserted": inserted,
            "rows updated": updated,
            "WAL bytes": float(wal),
            "server CPU ms": 1000 * cpu,
        }


def one(row: Any) -> Any:
    assert row is not None
    return row


def top(files: list[str], jobs: int) -> list[tuple[str, float, float]]:
    """Return the functions in which most of the time was spent, waiting left out: (name, per cent, calls a job)."""
    stats = pstats.Stats(*files).stats  # type: ignore[attr-defined]
    busy = {key: row for key, row in stats.items() if not is_waiting(key[2])}
    total = sum(row[2] for row in busy.values()) or 1.0
    rows = sorted(busy.items(), key=lambda item: -item[1][2])[:ROWS]
    return [(named(key), 100 * row[2] / total, row[1] / jobs) for key, row in rows]


def is_waiting(function: str) -> bool:
    return any(
        word in function for word in ("select.epoll", "'poll'", "select.poll", "time.sleep", "'recv'", "acquire")
    )


def named(key: tuple[str, int, str]) -> str:
    """Return a name that reads the same on every machine."""
    path, _, function = key
    if path == "~":
        return re.sub(r" at 0x\w+", "", function.strip("<>"))
    short = re.sub(r"^.*/(site-packages|python3\.\d+)/", "", path.replace(f"{ROOT}/", ""))
    return f"{short.removesuffix('.py').replace('/', '.')}:{function}"
