"""Cleaning the history up among a million finished jobs, while somebody else writes: how quick, and who waits how long.

    DATABASE_URL=… python -m tests.benchmarks.history [ROWS [EXPIRED [LOG_BYTES]]]

Needs a database of its own, which it migrates and fills. Every job has an attempt with a log of LOG_BYTES. A second
process writes one row after the other all the time; how long the longest took is how long anything is held.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("OFFLOADING_HOME", tempfile.mkdtemp(prefix="history-"))

CHUNK = 5_000
STATES = ("SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "ERROR", "GIVEN_UP", "DROPPED", "STOPPED")


def fill(rows: int, expired: int, log_bytes: int) -> None:
    """Add jobs whose `expired` oldest are due, states and ages mixed."""
    from django.db import transaction
    from django.utils import timezone

    from offloading.jobs import ids
    from offloading.models import Attempt, Job

    now, log = timezone.now(), "x" * log_bytes
    for first in range(0, rows, CHUNK):
        jobs = []
        for number in range(first, min(first + CHUNK, rows)):
            age = (
                timedelta(days=200, seconds=-number) if number < expired else timedelta(hours=10, seconds=-number / 50)
            )
            job = Job(id=ids.uuid7(), topic=f"bench/{number % 20}", queue="q", application="here", target="here")
            job.state, job.finished_at, job.properties = STATES[number % len(STATES)], now - age, {"n": number}
            jobs.append(job)
        with transaction.atomic():
            Job.objects.bulk_create(jobs)
            Attempt.objects.bulk_create(
                Attempt(job=job, fence=1, instance="here", instance_label="here:4502", outcome="SUCCEEDED", log=log)
                for job in jobs
            )


def write(stop, results) -> None:
    """Be somebody who adds jobs all the time, one in each transaction."""
    django.setup()
    from django.db import connection

    from offloading.jobs import ids
    from offloading.models import Job

    connection.ensure_connection()
    times = []
    while not stop.is_set():
        started = time.perf_counter()
        Job.objects.create(id=ids.uuid7(), topic="bench/write", queue="q", application="here")
        times.append(time.perf_counter() - started)
        time.sleep(0.002)
    results.put(sorted(times))


def measure(seconds_of: str, act) -> None:
    # Not forked: it would share our connection to the database.
    apart = multiprocessing.get_context("spawn")
    stop, results = apart.Event(), apart.Queue()
    writer = apart.Process(target=write, args=(stop, results))
    writer.start()
    time.sleep(5)
    started = time.perf_counter()
    said = act()
    took = time.perf_counter() - started
    stop.set()
    times = results.get()
    writer.join()
    half, most = times[len(times) // 2], times[int(len(times) * 0.999)]
    print(f"{seconds_of}: {said} in {took:.1f} s; writes {len(times)}, median {half * 1000:.1f} ms, ", end="")
    print(f"99.9 % {most * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms")


def main(rows: int = 1_000_000, expired: int = 100_000, log_bytes: int = 1_000) -> None:
    from django.core.management import call_command

    from offloading.jobs import history
    from offloading.models import Job

    call_command("migrate", verbosity=0)
    if not Job.objects.exists():
        started = time.perf_counter()
        fill(rows, expired, log_bytes)
        print(f"filled with {rows} jobs in {time.perf_counter() - started:.0f} s")
    measure("nothing", lambda: time.sleep(10) or "waited")
    held = []
    delete = history._delete

    def timed(*args):
        deleted = delete(*args)
        held.append(deleted)
        return deleted

    history._delete = timed
    measure("clean-up", lambda: f"{history.clean_up(limit_seconds=600)} jobs deleted")
    longest = sorted(each.seconds for each in held)
    busy = sum(longest)
    print(f"{len(held)} transactions, median {longest[len(longest) // 2] * 1000:.1f} ms, longest ", end="")
    print(f"{longest[-1] * 1000:.0f} ms, {busy:.1f} s in all, {sum(each.rows for each in held) / busy:.0f} rows/s")
    measure("nothing to do", lambda: f"{history.clean_up(limit_seconds=600)} jobs deleted")


if __name__ == "__main__":
    django.setup()
    main(*(int(argument) for argument in sys.argv[1:]))
