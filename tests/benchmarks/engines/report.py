"""What the benchmark found, as the page docs/reference/performance.md: figures, ratios, and the targets beside them."""

import datetime
import importlib.metadata
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.benchmarks.engines.profiles import Profile

Figures = dict[str, float]
PACKAGES = ("django", "psycopg", "django-q2", "celery", "redis", "pgqueuer")
COLUMNS = {"add": "added one by one /s", "add_many": "added in bulk /s", "drain": "worked off /s",
           "p50": "idle start p50 ms", "p95": "p95 ms"}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """`medians`, `full` (the full table) and `profiles` by the keys of engines; `left_out` maps those to reasons."""

    medians: dict[str, Figures]
    full: dict[str, Figures]
    profiles: dict[str, Profile]
    left_out: dict[str, str]
    titles: dict[str, str]


@dataclass(frozen=True)
class Target:
    """What we want: `measured` gives the figure, or fails with KeyError where this run does not have it."""

    text: str
    measured: Callable[[Result], float]
    limit: float
    is_upper: bool = False

    def row(self, result: Result) -> str:
        sign = "≤" if self.is_upper else "≥"
        try:
            value = self.measured(result)
        except KeyError:
            return f"| {self.text} | {sign} {figure(self.limit)} | not measured | |"
        is_met = value <= self.limit if self.is_upper else value >= self.limit
        return f"| {self.text} | {sign} {figure(self.limit)} | {figure(value)} | {'yes' if is_met else '**no**'} |"


def ratio(key: str, mine: str, theirs: str) -> Callable[[Result], float]:
    return lambda result: result.medians[mine][key] / result.medians[theirs][key]


def median(key: str, mine: str) -> Callable[[Result], float]:
    return lambda result: result.medians[mine][key]


def full(key: str, mine: str) -> Callable[[Result], float]:
    return lambda result: result.full[mine][key]


def share(key: str, mine: str) -> Callable[[Result], float]:
    return lambda result: result.full[mine][key] / result.full[mine]["empty"]


def on_both(
    text: str, measured: Callable[[str], Callable[[Result], float]], limit: float, *, is_upper: bool
) -> list[Target]:
    names = {"ours-sqlite": "SQLite", "ours-postgresql": "PostgreSQL"}
    return [Target(f"{text}, {name}", measured(key), limit, is_upper) for key, name in names.items()]


TARGETS = [
    Target("added one by one, PostgreSQL : bare INSERT + COMMIT", ratio("add", "ours-postgresql", "bare"), 0.5),
    *on_both("added in bulk /s", lambda key: median("add_many", key), 20_000, is_upper=False),
    Target("worked off, PostgreSQL : Celery", ratio("drain", "ours-postgresql", "celery"), 3),
    Target("worked off, PostgreSQL : PgQueuer", ratio("drain", "ours-postgresql", "pgqueuer"), 0.5),
    Target("worked off, SQLite : django-q2 on SQLite", ratio("drain", "ours-sqlite", "q2-sqlite"), 1.5),
    *on_both("idle start p50 ms", lambda key: median("p50", key), 6, is_upper=True),
    *on_both("idle start p95 ms", lambda key: median("p95", key), 15, is_upper=True),
    *on_both("full table: claim p95 ms", lambda key: full("beside_claim", key), 20, is_upper=True),
    *on_both("full queue: claim p95 ms", lambda key: full("through_claim", key), 20, is_upper=True),
    *on_both("full table: Jobs page p95 ms", lambda key: full("page", key), 300, is_upper=True),
    *on_both("full table: Jobs page, search p95 ms", lambda key: full("search", key), 300, is_upper=True),
    *on_both("same, search without a match", lambda key: full("search_nothing", key), 300, is_upper=True),
    *on_both("full table: worked off beside it : empty", lambda key: share("beside", key), 0.8, is_upper=False),
    *on_both("full queue: worked off : empty", lambda key: share("through", key), 0.8, is_upper=False),
    *on_both("idle CPU of the engine, % of a core", lambda key: full("idle_full", key), 1, is_upper=True),
]


def medians(rows: list[Figures]) -> Figures:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def one_line(figures: Figures) -> str:
    return ", ".join(f"{COLUMNS.get(key, key)} {figure(value)}" for key, value in figures.items())


def write(result: Result, *, rounds: int, server: str, is_durable: bool) -> str:
    """Return the page."""
    disk = DURABLE if is_durable else NOT_DURABLE
    facts = {"machine": machine(server), "date": datetime.date.today().isoformat(), "disk": disk}
    parts = [HEAD.format(rounds=rounds, flush=flush_ms(), **facts)]
    parts += [engines_table(result), targets_table(result), full_table(result)]
    parts += [profile_text(result.titles[key], profile) for key, profile in result.profiles.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


HEAD = """# Performance

Written by `make bench` (`python -m tests.benchmarks.jobs`); nothing here was typed in. The same job for every
engine: it does nothing and has about 200 bytes of JSON; two worker processes each; {rounds} rounds, every one in
another order, the table shows medians. Figures of one run on one machine can be compared with each other, and with
nothing else.

{machine}

Measured on {date}. {disk} The disk took {flush:.2f} ms to flush 8 KiB at the end of the run."""
DURABLE = "Every commit of PostgreSQL and of SQLite waited for the disk; Redis wrote nothing to disk."
NOT_DURABLE = (
    "Every commit of SQLite waited for the disk; PostgreSQL (fsync off) did not, and Redis wrote nothing to disk."
)
FLUSHES = 100


def flush_ms() -> float:
    """Return the median of the milliseconds that the disk under the temporary folder takes to make a write durable."""
    waits = []
    with tempfile.TemporaryFile() as file:
        for _ in range(FLUSHES):
            began = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 8192, 0)
            os.fdatasync(file.fileno())
            waits.append(1000 * (time.perf_counter() - began))
    return statistics.median(waits)


def machine(server: str) -> str:
    """Say what this ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    if server:
        with psycopg.connect(server) as connection:
            versions.append(
                f"PostgreSQL {connection.info.server_version // 10_000}.{connection.info.server_version % 100}"
            )
    if shutil.which("redis-server"):
        said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
        versions.append("Redis " + said.partition("v=")[2].partition(" ")[0])
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"Machine: {os.cpu_count()} × {model}, {memory:.0f} GiB, {platform.system()}. {', '.join(versions)}."


def engines_table(result: Result) -> str:
    lines = [f"| engine | {' | '.join(COLUMNS.values())} |", "| --- |" + " ---: |" * len(COLUMNS)]
    for key, row in result.medians.items():
        cells = [figure(row[column]) if column in row else "-" for column in COLUMNS]
        lines.append(f"| {result.titles[key]} | {' | '.join(cells)} |")
    lines += [f"| {result.titles[key]} | left out: {reason} |{' |' * 4}" for key, reason in result.left_out.items()]
    return "## Side by side\n\n" + "\n".join(lines) + "\n\n" + ENGINES_NOTE


ENGINES_NOTE = """*Added*: from another process, while no worker works. In bulk: in one call, where there is one
(django-q2 has none: one transaction). *Worked off*: 5,000 queued jobs, from the first look that
finds one finished until none is left. *Idle start*: from before the add to the start of the
consumer, 100 jobs with pauses of 50 to 150 ms. PgQueuer runs such jobs as coroutines in the process
that fetches them; ours, Celery and django-q2 in processes of their own. The bare statements are one
process: INSERT and COMMIT, COPY, and claim + finish 20 at a time, on a table with the columns and
indexes of ours."""


def targets_table(result: Result) -> str:
    lines = ["| target | wanted | measured | met |", "| --- | ---: | ---: | --- |"]
    return "## Targets\n\n" + "\n".join(lines + [target.row(result) for target in TARGETS])


# A call that is quicker is not shown by itself.
WORTH_TELLING_MS = 1.0
FULL_ROWS = {
    "empty": "worked off, empty table /s",
    "beside": "worked off beside the waiting and the finished ones /s",
    "through": "worked off of the waiting ones themselves /s",
    "beside_claim": "one claim beside them, p95 ms",
    "through_claim": "one claim of them, p95 ms",
    "page": "Jobs page, first byte p95 ms",
    "search": "Jobs page, search with one match, p95 ms",
    "search_nothing": "Jobs page, search without a match, p95 ms",
    "idle_empty": "idle CPU of the engine, empty table, % of a core",
    "idle_full": "idle CPU of the engine, full table, % of a core",
    "idle_full_web": "idle CPU of the web process, % of a core",
}


def is_call(row: str) -> bool:
    return row.startswith(("beside ", "through "))


def full_table(result: Result) -> str:
    if not result.full:
        return ""
    keys = list(result.full)
    lines = [f"| | {' | '.join(result.titles[key] for key in keys)} |", "| --- |" + " ---: |" * len(keys)]
    # The functions of `claims`, by name: what a run has of them is what that engine calls.
    calls = sorted(
        {row for key in keys for row, value in result.full[key].items() if is_call(row) and value >= WORTH_TELLING_MS}
    )
    for row, text in {**FULL_ROWS, **{row: f"{row} ms" for row in calls}}.items():
        cells = [figure(result.full[key][row]) if row in result.full[key] else "-" for key in keys]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "## With a full table\n\n" + FULL_NOTE + "\n\n" + "\n".join(lines)


FULL_NOTE = """1,000,000 finished jobs with an attempt each, and 100,000 waiting ones. Half of these are not due,
and the queue of the others is paused: new jobs are worked off beside them (median of 3). Then all
are plain queued jobs, and it is counted how many of them are worked off in 5 seconds. The idle
engine is the supervisor, the agent with its threads (heartbeat, topology, upkeep, transport,
dispatcher …) and all processes of the worker slots, over 30 seconds; the web process is given by
itself. The time of a claim is taken inside the agent, around the calls of `offloading.jobs.claims`:
the look for queues with jobs in them, and the claim of some of one queue with its commit."""


def profile_text(title: str, profile: Profile) -> str:
    lines = [f"## Profile: {title}", ""]
    lines += [f"Where the time goes while jobs are worked off, here {figure(profile.rate)} a second.", ""]
    lines += ["| process | CPU ms a job |", "| --- | ---: |"]
    lines += [f"| {name} | {value:.3f} |" for name, value in sorted(profile.cpu.items(), key=lambda item: -item[1])]
    if profile.server:
        lines += [
            "",
            "PostgreSQL, for a job: " + ", ".join(f"{figure(v)} {name}" for name, v in profile.server.items()) + ".",
        ]
    for thread, rows in profile.rows.items():
        if rows:
            lines += ["", f"| {thread}: function | own time % | calls a job |", "| --- | ---: | ---: |"]
            lines += [f"| `{name}` | {percent:.1f} | {calls:.2f} |" for name, percent, calls in rows]
    return "\n".join(lines)
