"""Two installations, real processes, real HTTP: jobs go over with their payload, results come home, whatever dies."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.instance import Instance
from tests.journeys.world import descendants, eventually

pytestmark = pytest.mark.journey

TOPIC = "freight/stamp"
FREIGHT = {
    "DJANGO_SETTINGS_MODULE": "tests.journeys.freight.settings",
    "OFFLOADING_CONNECTOR_SHARED_KEY": "the key of the journeys",
    "OFFLOADING_CONNECTOR_PING_SECONDS": "0.5",
    "OFFLOADING_CONNECTOR_TIMEOUT_SECONDS": "5",
    # Small blocks, so that a transfer has many steps to die between.
    "OFFLOADING_TRANSPORT_BLOCK_BYTES": str(64 * 1024),
}


class Side:
    """One installation with one instance, and a process inside of it that does what the journey asks for."""

    def __init__(self, home: Path, **settings: str) -> None:
        home.mkdir()
        self.instance = Instance(home, **FREIGHT, **settings)
        migrated = self.instance.manage("migrate", "--verbosity", "0")
        assert migrated.returncode == 0, migrated.stderr
        self._driver: subprocess.Popen[str] | None = None

    def do(self, *request: object):
        if self._driver is None:
            command = [sys.executable, "-m", "tests.journeys.freight.driver"]
            self._driver = subprocess.Popen(
                command, env=self.instance.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        self._driver.stdin.write(json.dumps(request) + "\n")
        self._driver.stdin.flush()
        return json.loads(self._driver.stdout.readline())

    def kill(self) -> None:
        """End the whole instance at once, as a power cut would."""
        for pid in [self.instance.pid, *descendants(self.instance.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        if self._driver is not None:
            self._driver.stdin.close()
            self._driver.wait()
            self._driver.stdout.close()
        self.instance.close()
        print(self.instance.log.read_text() if self.instance.log.exists() else "(no log)")  # noqa: T201  for pytest

    @property
    def sling_id(self) -> str:
        return (self.instance.home / "sling.id").read_text().strip()

    def transfer(self, job: str, direction: str) -> dict[str, object]:
        names = ["state", "is_sender", "bytes_total", "bytes_moved", "blobs_moved", "tries", "error", "fence"]
        statement = f"SELECT {', '.join(names)} FROM offloading_transfer WHERE job_id = ? AND direction = ?"
        rows = self.instance.ask(statement + " ORDER BY fence DESC", job, direction)
        return dict(zip(names, rows[0], strict=True)) if rows else {}


class Pair:
    """The origin, which takes no job of the topic, and the target, which does."""

    def __init__(self, folder: Path) -> None:
        self.origin = Side(folder / "origin")
        connector = f"http://127.0.0.1:{self.origin.instance.port}/libs/sling/topology/connector"
        self.target = Side(folder / "target", OFFLOADING_CONNECTOR_URLS=connector)

    def start(self) -> None:
        self.origin.instance.start()
        self.target.instance.start()
        self.wait_until_joined()
        self.origin.do("switch", "", TOPIC, "disable")

    def wait_until_joined(self) -> None:
        for side, other in ((self.origin, self.target), (self.target, self.origin)):
            eventually(lambda side=side, other=other: other.sling_id in side.do("instances"), "the two know each other")

    def close(self) -> None:
        self.origin.close()
        self.target.close()

    def ends(self, job: str, state: str = "SUCCEEDED", seconds: float = 40) -> None:
        eventually(lambda: self.origin.instance.state(job) == state, f"job {job} is {state}", seconds)

    def is_stamped(self, node: str, digest: str) -> None:
        """The node came home, with its original as it was and the right bytes, backwards, beside it."""
        assert self.origin.do("read", node) == {"jcr:data": digest, "stamped": True}
        stamped = self.origin.do("read", f"{node}/stamped")["jcr:data"]
        assert self.bytes_of(stamped) == self.bytes_of(digest)[::-1]

    def bytes_of(self, digest: str) -> bytes:
        data = (self.origin.instance.home / "blobs" / digest[:2] / digest[2:]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        return data

    def target_is_clean(self, job: str) -> None:
        """Nothing but history stays at the target."""
        target = self.target
        eventually(lambda: target.transfer(job, "BACK").get("state") in ("DONE", "FENCED"), "the target has its answer")
        assert target.do("children", "/var/offloading") == []
        assert target.instance.ask("SELECT properties FROM offloading_job WHERE id = ?", job) == [("{}",)]
        folder = target.instance.home / "blobs"
        eventually(lambda: not [path for path in folder.rglob("*") if path.is_file()], "no blob is left")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


def test_job_goes_over_with_its_payload_and_comes_home(pair):
    digest = pair.origin.do("put", "/photo", 300_000, "photo")
    job = pair.origin.do("add", "/photo")
    pair.ends(job)
    pair.is_stamped("/photo", digest)
    pair.target_is_clean(job)
    for side, direction, is_sender in (
        ("origin", "OUT", 1),
        ("target", "OUT", 0),
        ("target", "BACK", 1),
        ("origin", "BACK", 0),
    ):
        transfer = getattr(pair, side).transfer(job, direction)
        assert (transfer["state"], transfer["is_sender"]) == ("DONE", is_sender)
        assert transfer["bytes_moved"] == 300_000
    label = f"127.0.0.1:{pair.target.instance.port}"
    [story] = pair.origin.instance.ask(
        "SELECT instance_label, outcome, log, started_at, ended_at FROM offloading_attempt WHERE job_id = ?", job
    )
    assert story[:3] == (label, "SUCCEEDED", "stamped /photo\n")
    assert story[3] < story[4]


def test_agents_appear_on_both_sides_by_themselves(pair):
    for side, other in ((pair.origin, pair.target), (pair.target, pair.origin)):
        path = f"/etc/replication/agents.author/offloading_{other.sling_id}/jcr:content"
        agent = eventually(lambda side=side, path=path: side.do("read", path), "the agent is there")
        assert agent["transportUri"] == f"http://127.0.0.1:{other.instance.port}/bin/receive"


def test_small_job_takes_no_longer_than_its_hops(pair):
    pair.origin.do("put", "/small", 1000, "small")
    took = []
    for _ in range(10):
        started = time.monotonic()
        job = pair.origin.do("add", "/small")
        while pair.origin.instance.state(job) != "SUCCEEDED":
            time.sleep(0.002)
        took.append(time.monotonic() - started)
    median = sorted(took)[len(took) // 2]
    print(f"there and back: median {median * 1000:.0f} ms, slowest {max(took) * 1000:.0f} ms")  # noqa: T201  for people
    assert median < 3


def test_many_jobs_at_once_all_come_home(pair):
    jobs = []
    for number in range(12):
        pair.origin.do("put", f"/many-{number}", 50_000, f"many {number % 4}")
        jobs.append(pair.origin.do("add", f"/many-{number}"))
    for job in jobs:
        pair.ends(job)
    for number in range(12):
        assert pair.origin.do("read", f"/many-{number}")["stamped"] is True


@pytest.mark.parametrize(("side", "process"), [("origin", "agent"), ("target", "web"), ("target", "agent")])
def test_transfer_survives_the_death_of_a_process(pair, side, process):
    node = f"/big-{side}-{process}"
    digest = pair.origin.do("put", node, 12_000_000, node)
    job = pair.origin.do("add", node)
    eventually(lambda: (pair.origin.transfer(job, "OUT").get("bytes_moved") or 0) > 1_000_000, "it is under way")
    getattr(pair, side).instance.kill(process)
    pair.ends(job)
    pair.is_stamped(node, digest)
    # What had arrived was not sent again, but for the blocks that were on their way.
    assert pair.origin.transfer(job, "OUT")["bytes_moved"] < 13_000_000


def test_target_that_dies_in_mid_job_and_comes_back_does_it_once(pair):
    digest = pair.origin.do("put", "/phoenix", 100_000, "phoenix")
    job = pair.origin.do("add", "/phoenix", 3)
    eventually(lambda: job in pair.target.instance.starts(), "the job runs over there")
    pair.target.kill()
    pair.target.instance.start()
    pair.ends(job)
    pair.is_stamped("/phoenix", digest)
    pair.target_is_clean(job)


def test_target_that_is_away_for_long_loses_the_job_and_may_get_it_again(pair):
    digest = pair.origin.do("put", "/long", 100_000, "long")
    job = pair.origin.do("add", "/long", 2)
    eventually(lambda: job in pair.target.instance.starts(), "the job runs over there")
    first = pair.origin.transfer(job, "OUT")["fence"]
    pair.target.kill()
    eventually(lambda: pair.origin.instance.state(job) == "QUEUED", "the job was taken back")
    pair.target.instance.start()
    pair.ends(job)
    assert pair.origin.transfer(job, "OUT")["fence"] > first
    pair.is_stamped("/long", digest)
    pair.target_is_clean(job)
    outcomes = pair.origin.instance.outcomes(job)
    assert outcomes.count("SUCCEEDED") == 1


def test_original_that_is_replaced_meanwhile_is_never_overwritten(pair):
    path = "/asset"
    pair.origin.do("put", path, 10, "asset")
    pair.origin.do("put", f"{path}/renditions", 10, "folder")
    pair.origin.do("put", f"{path}/renditions/original", 100_000, "first")
    job = pair.origin.do("add", path, 2)
    eventually(lambda: job in pair.target.instance.starts(), "the job runs over there")
    second = pair.origin.do("put", f"{path}/renditions/original", 100_000, "second")
    pair.ends(job, "ERROR")
    [(message,)] = pair.origin.instance.ask("SELECT result_message FROM offloading_job WHERE id = ?", job)
    assert "was replaced meanwhile" in message
    assert pair.origin.do("read", f"{path}/renditions/original") == {"jcr:data": second}
    assert pair.origin.do("read", f"{path}/stamped") is None
    assert pair.origin.transfer(job, "BACK")["state"] == "FENCED"
    pair.target_is_clean(job)


def test_topic_is_switched_over_there_from_here(pair):
    target = pair.target.sling_id

    def command() -> tuple:
        [row] = pair.origin.instance.ask(
            "SELECT sent_at IS NOT NULL, confirmed_at IS NOT NULL, error FROM offloading_switchcommand"
            " ORDER BY requested_at DESC LIMIT 1"
        )
        return row

    pair.origin.do("switch", target, TOPIC, "disable")
    eventually(lambda: command() == (1, 1, ""), "the target has confirmed", 10)
    [(by,)] = pair.target.instance.ask("SELECT changed_by FROM offloading_topicsettings")
    assert by == f"journey at 127.0.0.1:{pair.origin.instance.port}"
    pair.origin.do("put", "/later", 1000, "later")
    job = pair.origin.do("add", "/later")
    time.sleep(1)
    assert pair.origin.instance.ask("SELECT state, target FROM offloading_job WHERE id = ?", job) == [("QUEUED", "")]
    pair.origin.do("switch", target, TOPIC, "enable")
    pair.ends(job)
    assert command() == (1, 1, "")


def test_nothing_was_refused_in_all_this(pair):
    for side in (pair.origin, pair.target):
        assert side.instance.ask("SELECT kind, reason FROM topology_refusal") == []
