"""Ours with a full table: many finished jobs and many waiting ones, and what that costs where somebody waits for it.

The rows are copies of one real job each, made by the database. Two kinds of waiting ones: first those that are not due,
or whose queue is paused, beside which new jobs are worked off; then the same rows as plain queued ones, which are
worked off themselves.
"""

import contextlib
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.benchmarks.engines import visits
from tests.benchmarks.engines.contestants import OursPostgreSQL, OursSQLite
from tests.benchmarks.engines.group import cpu_seconds
from tests.benchmarks.engines.producer import Producer

ROUNDS = 3
# How long the waiting ones are worked off before it is looked at, and while it is; less if there are few, so that they
# are not gone before, at this many a second.
START_SECONDS = 0.3
WINDOW_SECONDS = 5
AS_FAST_AS = 15_000
# The finished ones are spread over this time before now, so that no clean-up of the history takes them away.
SPREAD_SECONDS = 72_000
_DIGITS = "0077777"
CLAIM = ("ready_queues", "claim")
SEARCHES = {"page": "", "search": f"Order {_DIGITS}", "search_nothing": "there is no such thing"}

PAUSED = {"queue": "bench paused", "topic": "bench/paused"}


class Sizes(Protocol):
    singles: int
    many: int
    waiting: int
    finished: int
    idle_seconds: int


def measure(engine: OursSQLite, folder: Path, sizes: Sizes) -> dict[str, float]:
    watch = folder / f"{engine.key}-watch"
    watch.mkdir()
    with engine.opened(folder / f"{engine.key}-backlog", BENCH_WATCH=str(watch)):
        with contextlib.closing(engine.producer()) as producer:
            producer.ask("pause", **PAUSED)
            found = {"empty": rate(engine, producer, sizes), **idle(engine, sizes.idle_seconds, "idle_empty")}
        engine.stop_instance()
        began = time.perf_counter()
        fill(engine, sizes)
        print(f"{engine.title}: table filled in {time.perf_counter() - began:.0f} s", flush=True)
        engine.start_instance()
        with contextlib.closing(engine.producer()) as producer:
            forget_calls(watch)
            found["beside"] = rate(engine, producer, sizes)
            found |= calls(watch, "beside")
            found |= idle(engine, sizes.idle_seconds, "idle_full")
            found |= pages(engine)
            forget_calls(watch)
            found["through"] = through(engine, producer)
            found |= calls(watch, "through")
    return found


def rate(engine: OursSQLite, producer: Producer, sizes: Sizes) -> float:
    """Return the jobs a second of which new ones are worked off, the median of some rounds."""
    rates = []
    for _ in range(ROUNDS):
        engine.hold()
        producer.ask("add_many", count=sizes.singles + sizes.many)
        engine.release()
        jobs, seconds = producer.ask("drain", seconds=240)
        rates.append(jobs / seconds)
    return statistics.median(rates)


def through(engine: OursSQLite, producer: Producer) -> float:
    """Make the waiting rows plain queued ones and look how many of them are worked off in a while; jobs a second."""
    engine.hold()
    main = engine.ask("SELECT queue FROM offloading_job WHERE topic = 'bench/noop' LIMIT 1")[0][0]
    execute(
        engine,
        f"UPDATE offloading_job SET not_before = NULL, queue = '{main}'"
        f" WHERE topic IN ('bench/later', '{PAUSED['topic']}')",
    )
    settle(engine)
    full = left_of(engine)
    engine.release()
    producer.ask("add", count=1)  # whoever waits hears of it
    time.sleep(START_SECONDS)
    # Counting a hundred thousand rows takes long enough to disturb: twice, and no more.
    before, began = left_of(engine), time.perf_counter()
    time.sleep(min(WINDOW_SECONDS, full / AS_FAST_AS))
    after, ended = left_of(engine), time.perf_counter()
    return (before - after) / (ended - began)


def left_of(engine: OursSQLite) -> int:
    return int(engine.ask("SELECT count(*) FROM offloading_job WHERE state = 'QUEUED'")[0][0])


def idle(engine: OursSQLite, seconds: int, key: str) -> dict[str, float]:
    """Return the CPU that an instance without work takes, in per cent of a core: its engine, and its web process."""
    time.sleep(3)
    processes = engine.processes()
    web = processes.pop("web", 0)
    before, web_before = cpu_seconds(list(processes.values())), cpu_seconds([web])
    time.sleep(seconds)
    used, web_used = cpu_seconds(list(processes.values())) - before, cpu_seconds([web]) - web_before
    return {key: 100 * used / seconds, f"{key}_web": 100 * web_used / seconds}


def pages(engine: OursSQLite) -> dict[str, float]:
    """Return the milliseconds to the first byte of the Jobs page, p95, plain and with searches."""
    with contextlib.closing(visits.Visitor(engine.world.instance("bench").port)) as visitor:
        return {key: visitor.first_byte("/offloading/jobs/", q=words) for key, words in SEARCHES.items()}


# --- The watch over claims --------------------------------------------------------------------------------------------


def forget_calls(watch: Path) -> None:
    for path in watch.glob("*.calls"):
        path.write_text("")


def calls(watch: Path, when: str) -> dict[str, float]:
    """Return the milliseconds of each function of `claims`, p50 and p95; and p95 of what one claim takes, as "claim".

    One claim is the look for queues with jobs in them, and the claim of some of one queue.
    """
    found: dict[str, float] = {}
    for path in sorted(watch.glob("*.calls")):
        rows = [tuple(map(int, line.split())) for line in path.read_text().splitlines()]
        for kind, values in {
            path.stem: [nanoseconds / 1e6 for nanoseconds, count in rows if count],
            f"{path.stem}, nothing there": [nanoseconds / 1e6 for nanoseconds, count in rows if not count],
        }.items():
            if values:
                found |= {f"{when} {kind} p50": statistics.median(values), f"{when} {kind} p95": p95(values)}
    found[f"{when}_claim"] = sum(found.get(f"{when} {name} p95", 0.0) for name in CLAIM)
    return found


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))] if values else 0.0


# --- The rows ---------------------------------------------------------------------------------------------------------


def fill(engine: OursSQLite, sizes: Sizes) -> None:
    """Copy one finished job, with its attempt, a million times; and as one that waits, a hundred thousand times."""
    is_server = isinstance(engine, OursPostgreSQL)
    template = engine.ask("SELECT id FROM offloading_job WHERE state = 'SUCCEEDED' LIMIT 1")[0][0]
    began = time.time() - SPREAD_SECONDS
    step = SPREAD_SECONDS / (sizes.finished + 1)
    at = f"({began} + n * {step})"
    instant = instant_of(at, is_server)
    finished = {
        "id": id_of(at, "7000", is_server),
        "title": "'Order ' || " + ("lpad(n::text, 7, '0')" if is_server else "printf('%07d', n)"),
        "topic": "'bench/kind-' || (n % 20)",
        "state": "CASE WHEN n % 100 = 0 THEN 'ERROR' ELSE 'SUCCEEDED' END",
        "family": "CASE WHEN n % 100 = 0 THEN 'family-' || (n % 7) ELSE '' END",
        **dict.fromkeys(("created_at", "queued_at", "rank_at", "started_at", "finished_at"), instant),
    }
    later = instant_of(f"({time.time()} + 86400 + n)", is_server)
    waiting = finished | {
        "id": id_of(at, "7001", is_server),
        "topic": f"CASE WHEN n % 2 = 0 THEN 'bench/later' ELSE '{PAUSED['topic']}' END",
        "queue": f"CASE WHEN n % 2 = 0 THEN t.queue ELSE '{PAUSED['queue']}' END",
        "state": "'QUEUED'",
        "family": "''",
        "not_before": f"CASE WHEN n % 2 = 0 THEN {later} END",
        "started_at": "NULL",
        "finished_at": "NULL",
        "result_message": "''",
    }
    copy(engine, "offloading_job", finished, f"t.id = {literal(template)}", sizes.finished)
    copy(engine, "offloading_job", waiting, f"t.id = {literal(template)}", sizes.waiting)
    attempt = {name: f"t.{name}" for name in columns(engine, "offloading_attempt") if name != "id"}
    attempt |= {"job_id": "j.id", "started_at": "j.started_at", "ended_at": "j.finished_at"}
    execute(
        engine,
        f"INSERT INTO offloading_attempt ({', '.join(attempt)}) SELECT {', '.join(attempt.values())}"
        f" FROM offloading_attempt t, offloading_job j WHERE t.job_id = {literal(template)}"
        " AND j.topic LIKE 'bench/kind-%'",
    )
    settle(engine)


def copy(engine: OursSQLite, table: str, changes: dict[str, str], where: str, count: int) -> None:
    names = {name: f"t.{name}" for name in columns(engine, table)} | changes
    if isinstance(engine, OursPostgreSQL):
        numbers = f"SELECT generate_series(1, {count}) AS n"
    else:
        numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"
    execute(
        engine,
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(names.values())}"
        f" FROM {table} t, ({numbers}) AS numbers WHERE {where}",
    )


def columns(engine: OursSQLite, table: str) -> list[str]:
    if isinstance(engine, OursPostgreSQL):
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
    else:
        query = "SELECT name FROM pragma_table_info(?)"
    return [name for (name,) in engine.ask(query, table)]


def literal(job_id: Any) -> str:
    return f"'{job_id}'"


def instant_of(seconds: str, is_server: bool) -> str:
    return f"to_timestamp({seconds})" if is_server else f"strftime('%Y-%m-%d %H:%M:%f000', {seconds}, 'unixepoch')"


def id_of(seconds: str, version: str, is_server: bool) -> str:
    """Return the expression of an id like ours: rising with time."""
    if is_server:
        head = f"lpad(to_hex(({seconds} * 1000)::bigint), 12, '0')"
        return f"({head} || '{version}8' || lpad(to_hex(n), 15, '0'))::uuid"
    return f"printf('%012x{version}8%015x', CAST({seconds} * 1000 AS INTEGER), n)"


def execute(engine: OursSQLite, statement: str) -> None:
    if isinstance(engine, OursPostgreSQL):
        with psycopg.connect(engine.url, autocommit=True) as server:
            server.execute(statement)
        return
    path = engine.folder / "bench" / "offloading.sqlite3"
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        connection.execute(statement)


def settle(engine: OursSQLite) -> None:
    """Do at once what a PostgreSQL in operation does by itself within a minute (autovacuum). SQLite does nothing."""
    if isinstance(engine, OursPostgreSQL):
        execute(engine, "VACUUM ANALYZE")
        execute(engine, "CHECKPOINT")
