"""Adds to PgQueuer; with the argument `work` it is one of its workers."""

import asyncio
import json
import os
import sys
from datetime import timedelta

import psycopg
from pgqueuer import PgQueuer
from pgqueuer.db import PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from tests.benchmarks.engines import producer, stamps

BATCH = 10


async def connect() -> PsycopgDriver:
    return PsycopgDriver(await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True))


async def work() -> None:
    queue = PgQueuer(await connect())

    @queue.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        stamps.note(json.loads(job.payload or b"{}").get("stamp"))

    await queue.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=30))


def main() -> None:
    loop = asyncio.Runner()
    queries = Queries(loop.run(connect()))
    if not loop.run(queries.schema_is_installed()):
        loop.run(queries.install())

    def add(properties: producer.Properties) -> None:
        loop.run(queries.enqueue("nothing", json.dumps(properties).encode()))

    def add_many(many: list[producer.Properties]) -> None:
        payloads: list[bytes | None] = [json.dumps(each).encode() for each in many]
        loop.run(queries.enqueue(["nothing"] * len(many), payloads, [0] * len(many)))

    def left() -> int:
        return sum(each.count for each in loop.run(queries.queue_size()))

    producer.serve(add=add, add_many=add_many, left=left)


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        import uvloop

        uvloop.run(work())
    else:
        main()
