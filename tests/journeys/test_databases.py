"""The database is taken away, or fought for, while jobs run: what was accepted is done, and no page shows a scar."""

import http.cookiejar
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest

from config import demo
from tests import postgresql
from tests.journeys import pair as pairs
from tests.journeys.ledger import checker
from tests.journeys.pair import RECOVERY_SECONDS, Pair
from tests.journeys.world import eventually

pytestmark = [pytest.mark.journey, pytest.mark.timeout(200)]

WRITERS, EACH = 20, 15


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a PostgreSQL of this test alone, which may be restarted; yields its address."""
    binaries = postgresql.find_binaries()
    if binaries is None:
        if os.environ.get("OFFLOADING_TESTS_REQUIRE_ALL"):
            pytest.fail("No PostgreSQL on this machine (Debian: apt-get install postgresql).")
        pytest.skip("No PostgreSQL on this machine (Debian: apt-get install postgresql).")
    with postgresql.server(binaries) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        yield url


def restart(url: str, mode: str) -> None:
    """Restart the server as an operator does ("fast"), or as a crash does ("immediate")."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    control = [*postgresql.as_server_user(), str(postgresql.find_binaries() / "pg_ctl"), "-D", row[0], "-w", "-s"]
    log = str(Path(row[0]).parent / "log")
    subprocess.run([*control, "-l", log, "-m", mode, "restart"], check=True, stdout=subprocess.DEVNULL, cwd="/")


@dataclass
class Reader:
    """Somebody who is logged in and looks at the jobs all the time; `answers` are (asked at, status), 0 for none."""

    endpoint: str
    answers: list[tuple[float, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def looking(self) -> Iterator["Reader"]:
        self._log_in()
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def since(self, moment: float) -> list[int]:
        return [status for at, status in self.answers if at > moment]

    def _log_in(self) -> None:
        cookies = http.cookiejar.CookieJar()
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        with self._browser.open(self.endpoint + "login/", timeout=20) as response:
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', response.read().decode())
        assert token
        form = {"csrfmiddlewaretoken": token[1], "username": demo.USERNAME, "password": demo.PASSWORD}
        self._browser.open(self.endpoint + "login/", urlencode(form).encode(), timeout=20).close()

    def _look(self) -> None:
        while not self._stop.is_set():
            asked = time.monotonic()
            try:
                with self._browser.open(self.endpoint + "offloading/jobs/", timeout=20) as response:
                    # A page that sends somebody to log in again would have lost the session.
                    status = response.status if response.url.endswith("/jobs/") else 302
            except urllib.error.HTTPError as error:
                status = error.code
                error.close()
            except OSError:
                status = 0
            self.answers.append((asked, status))
            self._stop.wait(0.05)


def reader_of(pair: Pair, name: str) -> AbstractContextManager[Reader]:
    return Reader(pair.world.instance(name).endpoint).looking()


def test_postgresql_restarts_in_the_middle_of_the_work(tmp_path: Path, server: str):
    with pairs.running(tmp_path) as pair:
        adding = pair.adding(count=600, pace=20)
        with reader_of(pair, "one") as one, reader_of(pair, "two") as two:
            for mode in ("fast", "immediate"):
                eventually(lambda: len(pair.starts()) > 20, "the work is under way")
                time.sleep(2)
                assert {one.answers[-1][1], two.answers[-1][1]} == {200}
                restart(server, mode)
                back = time.monotonic()
                time.sleep(4)
                for reader in (one, two):
                    assert reader.since(back)
                    assert set(reader.since(back)) == {200}, (mode, reader.since(back))
            accepted = pair.accepted(adding)
        eventually(lambda: pair.unfinished() == 0, "all jobs are finished", seconds=60)
        found = pair.found(accepted)
        verdict = checker.judge(found, recovery_seconds=RECOVERY_SECONDS)
        assert len(accepted) == 600
        assert "database unreachable" in pair.log_text()  # so it was hit
        assert verdict.is_clean, verdict
        assert {found.states[job] for job in accepted} == {"SUCCEEDED"}


def test_twenty_writers_and_a_busy_instance_share_one_sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pairs.running(tmp_path, "one") as pair:
        adding = pair.adding(count=EACH, writers=WRITERS, longest=5)
        accepted = pair.accepted(adding)  # fails if a single writer was refused
        assert len(accepted) == WRITERS * EACH
        eventually(lambda: pair.unfinished() == 0, "all jobs are finished", seconds=60)
        found = pair.found(accepted)
        assert {found.states[job] for job in accepted} == {"SUCCEEDED"}
        assert checker.judge(found, recovery_seconds=RECOVERY_SECONDS).is_clean
        assert "database is locked" not in pair.log_text()
