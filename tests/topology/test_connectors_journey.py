"""Two installations with real processes and real HTTP between them, in both modes of the connectors."""

import os
import subprocess
import sys

import pytest

from tests.topology.installation import ROOT, Installation

pytestmark = [pytest.mark.journey]

KEY = {"OFFLOADING_CONNECTOR_SHARED_KEY": "the key of both"}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with all tables, made once and copied for each installation."""
    home = tmp_path_factory.mktemp("template")
    clean = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, env=clean | {"OFFLOADING_HOME": str(home)}, cwd=ROOT, check=True, timeout=100)
    return home / "offloading.sqlite3"


@pytest.fixture
def start(tmp_path, template):
    """Return a function that starts an installation; all of them end with the test."""
    started = []

    def make(name, **settings):
        installation = Installation(tmp_path / name, template=template, **settings)
        started.append(installation)
        installation.start_web()
        installation.start_agent()
        return installation

    yield make
    for installation in started:
        installation.close()


def test_two_installations_with_a_shared_key_trust_each_other(start):
    author = start("author", **KEY)
    worker = start("worker", OFFLOADING_CONNECTOR_URLS=author.connector, **KEY)

    # Each sees the other, and believes it.
    author.wait_for(lambda: author.announced() == {worker.sling_id: True}, "the worker announced itself")
    worker.wait_for(lambda: worker.announced() == {author.sling_id: True}, "the author answered")
    worker.wait_for(lambda: worker.status() == "ok, in use", "the connector is in use")

    # What changes is told at once. A restarted agent is the same instance with other properties.
    worker.end("agent", kill=True)
    worker.start_agent(OFFLOADING_NAME="renamed")
    body = "SELECT body FROM topology_announcement"
    author.wait_for(lambda: "renamed" in str(author.ask(body)), "the author hears of the new name")

    # An author that is gone for good is gone from the worker's topology, and the connector says why.
    author.end("web", kill=True)
    worker.wait_for(lambda: worker.status() == "not ok (cannot connect)", "the connector says so")
    worker.wait_for(lambda: worker.announced() == {}, "the author is forgotten")

    # Back again, it is found again; and whoever leaves says farewell.
    author.start_web()
    worker.wait_for(lambda: worker.announced() == {author.sling_id: True}, "the author is back")
    author.wait_for(lambda: author.announced() != {}, "the worker is back")
    worker.end("agent")
    assert author.announced() == {}
    assert worker.announced() == {}
    assert (author.refused(), worker.refused()) == ([], [])


def test_without_a_shared_key_the_allowlist_decides_and_nobody_is_trusted(start):
    author = start("author", OFFLOADING_CONNECTOR_WHITELIST="127.0.0.0/30")
    worker = start("worker", OFFLOADING_CONNECTOR_URLS=author.connector)
    author.wait_for(lambda: author.announced() == {worker.sling_id: False}, "the worker announced itself")
    worker.wait_for(lambda: worker.announced() == {author.sling_id: False}, "the author answered")


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (KEY, {"OFFLOADING_CONNECTOR_SHARED_KEY": "another"}, "The shared key is a different one."),
        (KEY, {}, "The message is not signed."),
        ({"OFFLOADING_CONNECTOR_WHITELIST": "10.0.0.0/8"}, {}, "The caller is not in the allowlist."),
    ],
    ids=["wrong key", "no key", "not in the allowlist"],
)
def test_stranger_is_refused_and_the_refusal_is_seen_on_both_sides(start, ours, theirs, reason):
    author = start("author", **ours)
    stranger = start("stranger", OFFLOADING_CONNECTOR_URLS=author.connector, **theirs)
    author.wait_for(lambda: author.refused() == [("connector", reason)], "the refusal is recorded")
    count = "SELECT count FROM topology_refusal"
    author.wait_for(lambda: author.ask(count)[0][0] >= 3, "each attempt is counted")
    assert stranger.status().startswith("not ok (HTTP Status-Code: 404, probably refused")
    assert (author.announced(), stranger.announced()) == ({}, {})
    assert author.log("web").read_text().count("refused") == 1
    assert author.log("web").read_text().count("Not Found") == 0
    assert stranger.log("agent").read_text().count("connector failed") == 1


def test_second_member_of_a_cluster_stands_by_and_both_share_what_they_hear(start, tmp_path):
    author = start("author", **KEY)
    first = start("first", OFFLOADING_CONNECTOR_URLS=author.connector, **KEY)
    first.wait_for(lambda: first.status() == "ok, in use", "the first is connected")

    second_home = tmp_path / "second"
    second_home.mkdir()
    (second_home / "sling.id").write_text("second")
    # The same database, so the same cluster, with a home and a connector of its own.
    first._start(
        "second agent",
        "tests.topology.agent",
        OFFLOADING_HOME=str(second_home),
        OFFLOADING_DATA=str(first.home),
        OFFLOADING_RUNTIME_ID="second-run",
    )
    body = "SELECT body FROM topology_announcement"
    author.wait_for(lambda: all(each in str(author.ask(body)) for each in ("second", first.sling_id)), "both are seen")
    statuses = "SELECT status FROM topology_connector ORDER BY status"
    one_of_two = [("ok, in use",), ("ok, unused (loop or duplicate): standby",)]
    first.wait_for(lambda: first.ask(statuses) == one_of_two, "one of them stands by")

    # When the one in use is gone, the other takes its place once the author has forgotten the first.
    [in_use] = author.announced()
    agents = {first.sling_id: "agent", "second": "second agent"}
    first.end(agents.pop(in_use), kill=True)
    author.wait_for(lambda: list(author.announced()) == list(agents), "the other took over")
