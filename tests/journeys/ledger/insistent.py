"""Adds jobs as a program would that must not lose any: what the database did not take is added again.

Each job works for some milliseconds, and its id is printed once its commit was answered with success: from then on it
must not get lost. With --writers, so many processes do that at the same time, --count jobs each, and none tries again.
"""

import argparse
import os
import random
import sys
import time

import django

PAUSE_SECONDS = 0.2


def add(wanted: argparse.Namespace, seed: int, *, insists: bool) -> None:
    from django.db import DatabaseError, InterfaceError, connection

    from offloading.jobs import manager

    chance, began = random.Random(seed), time.monotonic()
    for number in range(wanted.count):
        time.sleep(max(began + number * wanted.pace / 1000 - time.monotonic(), 0))
        properties = {"seconds": chance.uniform(wanted.shortest, wanted.longest) / 1000}
        while True:
            try:
                job = manager.add_job("ledger/entry", properties, priority=wanted.priority)
            except (DatabaseError, InterfaceError):
                if not insists:
                    raise
                connection.close()
                time.sleep(PAUSE_SECONDS)
            else:
                break
        # One write for a line: several processes share this output.
        os.write(1, f"{job.id.hex}\n".encode())


def fork_writers(wanted: argparse.Namespace) -> int:
    """Let processes add at once; return how many of them failed."""
    from django import db

    db.connections.close_all()
    children = []
    for number in range(wanted.writers):
        child = os.fork()
        if child == 0:
            try:
                add(wanted, number, insists=False)
            except BaseException as error:
                print(f"writer {number}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201  for the test's output
                os._exit(1)
            os._exit(0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


def read() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shortest", type=float, default=1, help="milliseconds")
    parser.add_argument("--longest", type=float, default=20, help="milliseconds")
    parser.add_argument("--pace", type=float, default=0, help="milliseconds from one add to the next, if it can")
    parser.add_argument("--priority", type=int, default=0)
    parser.add_argument("--writers", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    django.setup()
    arguments = read()
    if arguments.writers:
        sys.exit(fork_writers(arguments))
    add(arguments, arguments.seed, insists=True)
