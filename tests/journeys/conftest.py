"""What the journeys share: a running topology and a real browser, each made once a module."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from config import demo
from tests.journeys.world import World, databases, free_ports

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two author instances on one database and a worker, joined; with short waits, so that a journey is quick."""
    folder = tmp_path_factory.mktemp("world")
    short = {
        "OFFLOADING_HEARTBEAT_SECONDS": "0.5",
        "OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS": "4",
        "OFFLOADING_CONNECTOR_PING_SECONDS": "1",
        "OFFLOADING_CONNECTOR_TIMEOUT_SECONDS": "6",
    }
    instances = demo.instances(free_ports(3))
    with databases({instance.installation for instance in instances}) as addresses:
        world = World(folder, instances, short, addresses)
        try:
            world.prepare()
            world.start("author-1", "author-2", "worker-1")
            world.wait_until_joined()
            yield world
        finally:
            world.stop()
            show_logs(world)


def show_logs(world: World) -> None:
    """Put the ends of the logs where pytest shows them when a journey failed."""
    for path in sorted((world.folder / "logs").glob("*.log")):
        print(f"--- {path.name}\n{demo.tail(path, 40)}")  # noqa: T201  captured by pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Without one the browser journeys are skipped, except where nothing may be left out."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("OFFLOADING_TESTS_REQUIRE_ALL"):
            pytest.fail("No Chromium on this machine (Debian: apt-get install chromium).")
        pytest.skip("No Chromium on this machine (Debian: apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A page of the first author instance, with its person logged in."""
    context = browser.new_context(base_url=world.instance("author-1").endpoint, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    log_in(page)
    yield page
    context.close()


def log_in(page: Page) -> None:
    page.goto("/login/")
    page.get_by_label("Username").fill(demo.USERNAME)
    page.get_by_label("Password").fill(demo.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/topology/")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures made here, in several formats and EXIF orientations. The upright picture is red above, blue below."""
    from tests.journeys.pictures import make_photos

    return make_photos(tmp_path_factory.mktemp("photos"))
