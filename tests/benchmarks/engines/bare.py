"""What PostgreSQL itself takes: the statements of a job engine in psycopg, on a table and with the indexes of ours."""

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from config import demo
from tests.benchmarks.engines import producer
from tests.benchmarks.engines.contestants import OnPostgreSQL
from tests.journeys.world import World, free_ports

BATCH = 20
# What a job of ours has in the columns that the database fills in for nobody; other text is empty, other numbers are 0.
SAMPLE: dict[str, object] = {
    "topic": "bench/noop",
    "queue": "<main queue>",
    "state": "QUEUED",
    "target": str(uuid.UUID(int=1)),
    "application": str(uuid.UUID(int=1)),
}


class Bare(OnPostgreSQL):
    """No engine: there is nothing to hold or to release, and no worker process."""

    key = "bare"
    title = "bare statements in psycopg"
    url = ""

    def start(self) -> None:
        self.url = self.make_database()
        instance = demo.DemoInstance("bare", "bare", free_ports(1)[0])
        demo.prepare(World(self.folder, [instance], {}, {"bare": self.url}).environment("bare"))

    def stop(self) -> None:
        if self.url:
            self.drop_database(self.url)
            self.url = ""

    def rates(self, singles: int, many: int) -> dict[str, float]:
        """Return adds a second one by one and in bulk, and claims with their ends a second."""
        with psycopg.connect(self.url) as connection:
            connection.execute("CREATE TABLE bare (LIKE offloading_job INCLUDING ALL)")
            connection.commit()
            table = Table(connection)
            table.insert(50)
            return {
                "add": singles / _seconds(lambda: table.insert(singles)),
                "add_many": many / _seconds(lambda: table.copy(many)),
                "drain": (singles + many) / _seconds(table.claim_and_finish),
            }


@dataclass
class Table:
    connection: psycopg.Connection[Any]
    columns: list[str] = field(init=False)
    sample: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        rows = self.connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = 'bare' AND is_nullable = 'NO' AND column_default IS NULL"
        ).fetchall()
        self.sample = {name: SAMPLE.get(name, "" if "char" in kind or kind == "text" else 0) for name, kind in rows}
        self.columns = list(self.sample)

    def row(self, number: int) -> tuple[object, ...]:
        own = {"id": uuid.uuid4(), "properties": json.dumps(producer.properties(number))}
        return tuple((self.sample | own).values())

    def insert(self, count: int) -> None:
        """INSERT and COMMIT, one by one."""
        statement = sql.SQL("INSERT INTO bare ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, self.columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(self.columns)),
        )
        for number in range(count):
            self.connection.execute(statement, self.row(number))
            self.connection.commit()

    def copy(self, count: int) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        with self.connection.cursor().copy(sql.SQL("COPY bare ({}) FROM STDIN").format(columns)) as copy:
            for number in range(count):
                copy.write_row(self.row(number))
        self.connection.commit()

    def claim_and_finish(self) -> None:
        """Claim 20 and commit, finish them and commit, until there are none."""
        while True:
            claimed = self.connection.execute(
                "UPDATE bare SET state = 'ACTIVE', fence = fence + 1, claimed_by = 'run', started_at = now()"
                " WHERE id IN (SELECT id FROM bare WHERE state = 'QUEUED' AND not_before IS NULL AND target = %s"
                " AND queue = %s ORDER BY rank_at, id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id",
                (SAMPLE["target"], SAMPLE["queue"], BATCH),
            ).fetchall()
            self.connection.commit()
            if not claimed:
                return
            self.connection.execute(
                "UPDATE bare SET state = 'SUCCEEDED', claimed_by = '', finished_at = now()"
                " WHERE id = ANY(%s) AND state = 'ACTIVE'",
                ([job_id for (job_id,) in claimed],),
            )
            self.connection.commit()


def _seconds(act: Any) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
