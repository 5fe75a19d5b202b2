"""Our job engine beside others, in one run on one machine: the same job that does nothing, about 200 bytes of JSON.

    python -m tests.benchmarks.jobs [--only ours-postgresql,celery] [--rounds 3] [--quick] [--no-fsync] …

Every round takes the engines in another order; the table shows medians. Writes docs/reference/performance.md, unless
it ran only in part. What the machine does not have is left out, with a word.
"""

import argparse
import contextlib
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import postgresql
from tests.benchmarks.engines import backlog, contestants, group, profiles, report, stamps
from tests.benchmarks.engines.bare import Bare

ENGINES: tuple[type[contestants.Engine], ...] = (*contestants.ALL, Bare)
OURS = (contestants.OursSQLite, contestants.OursPostgreSQL)


@dataclass(frozen=True)
class Sizes:
    """How many jobs of each kind. `waiting` and `finished` are those of the full table."""

    singles: int = 1_000
    many: int = 4_000
    stamps: int = 100
    waiting: int = 100_000
    finished: int = 1_000_000
    idle_seconds: int = 30


QUICK = Sizes(500, 1_500, 30, 10_000, 100_000, 10)


def measure(engine: contestants.Engine, folder: Path, sizes: Sizes, seed: int) -> report.Figures:
    """One round of one engine: jobs a second when added one by one, in bulk, worked off; milliseconds to the start."""
    with engine.opened(folder):
        if isinstance(engine, Bare):
            return engine.rates(sizes.singles, sizes.many)
        with contextlib.closing(engine.producer()) as producer:
            engine.hold()
            producer.ask("add", count=50)
            found = {
                "add": sizes.singles / producer.ask("add", count=sizes.singles),
                "add_many": sizes.many / producer.ask("add_many", count=sizes.many),
            }
            engine.release()
            jobs, seconds = producer.ask("drain", seconds=240)
            found["drain"] = jobs / seconds
            return found | latency(engine, producer, sizes.stamps, seed)


def latency(engine: contestants.Engine, producer: contestants.Producer, count: int, seed: int) -> report.Figures:
    """Return the milliseconds from before each add to the start of its consumer, while nothing else is there."""
    began = producer.ask("stamp", count=count, seed=seed)
    producer.ask("drain", seconds=60)
    started = stamps.read(Path(engine.environment["BENCH_STAMPS"]))
    waits = sorted((started[number] - at) / 1e6 for number, at in enumerate(began))
    return {"p50": statistics.median(waits), "p95": waits[int(0.95 * len(waits))]}


@contextlib.contextmanager
def server(*, is_durable: bool) -> Iterator[str]:
    """Yield the address of a PostgreSQL; "" if there is none on this machine."""
    binaries = postgresql.find_binaries()
    if binaries is None:
        yield ""
        return
    with postgresql.server(binaries, is_durable=is_durable) as url:
        yield url


def compare(engines: list[contestants.Engine], folder: Path, sizes: Sizes, rounds: int) -> dict[str, report.Figures]:
    """Return the medians of each engine."""
    found: dict[str, list[report.Figures]] = {engine.key: [] for engine in engines}
    for number in range(rounds):
        turn = number % max(len(engines), 1)
        for engine in engines[turn:] + engines[:turn]:
            figures = measure(engine, folder / f"{engine.key}-{number}", sizes, seed=number)
            found[engine.key].append(figures)
            print(f"round {number + 1} {engine.title}: {report.one_line(figures)}", flush=True)
    return {key: report.medians(rows) for key, rows in found.items() if rows}


def main() -> int:
    arguments = parse()
    sizes = QUICK if arguments.quick else Sizes()
    wanted = [kind for kind in ENGINES if not arguments.only or kind.key in arguments.only]
    with server(is_durable=not arguments.no_fsync) as url, tempfile.TemporaryDirectory(prefix="bench-") as made:
        folder = Path(made)
        engines = [kind(url) for kind in wanted]
        left_out = {engine.key: engine.missing() for engine in engines if engine.missing()}
        for key, reason in left_out.items():
            print(f"{key}: skipped, {reason}")
        engines = [engine for engine in engines if engine.key not in left_out]
        medians = compare(engines, folder, sizes, arguments.rounds)
        ours = [engine for engine in engines if isinstance(engine, OURS)]
        full = {} if arguments.no_backlog else {engine.key: backlog.measure(engine, folder, sizes) for engine in ours}
        profile = (
            {} if arguments.no_profile else {engine.key: profiles.measure(engine, folder, sizes) for engine in ours}
        )
        result = report.Result(medians, full, profile, left_out, {kind.key: kind.title for kind in ENGINES})
        text = report.write(result, rounds=arguments.rounds, server=url, is_durable=not arguments.no_fsync)
    print(text)
    if not (arguments.no_write or arguments.only or arguments.quick or arguments.no_fsync):
        (contestants.ROOT / "docs/reference/performance.md").write_text(text)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [kind.key for kind in ENGINES]
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer jobs, a tenth of the full table")
    parser.add_argument("--no-write", action="store_true", help="print, and leave the page as it is")
    parser.add_argument("--no-backlog", action="store_true", help="without the full table")
    parser.add_argument("--no-profile", action="store_true", help="without the profile")
    parser.add_argument("--no-fsync", action="store_true", help="PostgreSQL does not wait for the disk (SQLite does)")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(names):
        parser.error(f"There is no engine {', '.join(sorted(unknown))}. There are: {', '.join(names)}")
    return arguments


if __name__ == "__main__":
    # Ended from outside, it still takes everything along that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    finally:
        group.kill_all()
