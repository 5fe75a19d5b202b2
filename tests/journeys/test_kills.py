"""Photos go to the worker while its processes are killed: every asset ends processed, once, and its page tells."""

import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.journeys.pictures import upright
from tests.journeys.screens import card, drop, make_folder, switch, wait_for_state
from tests.journeys.world import World, eventually, named

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def heavy(tmp_path_factory) -> list[Path]:
    """Pictures that take a worker a second or more: PNG cannot be shrunk while it is read."""
    folder = tmp_path_factory.mktemp("heavy")
    made = [folder / f"heavy-{number}.png" for number in range(3)]
    upright(500, 400).resize((10_000, 8_000), Image.Resampling.NEAREST).save(made[0], compress_level=1)
    for path in made[1:]:
        path.write_bytes(made[0].read_bytes())
    return made


def only_the_worker(page: Page, world: World) -> None:
    switch(page, world, "author-1", "Disable")
    switch(page, world, "author-2", "Disable")
    switch(page, world, "worker-1", "Enable")


def wait_until_busy(world: World) -> None:
    """Wait until the worker runs an ingestion, and a moment longer, so that it is in the middle of it."""
    running = "SELECT count(*) FROM offloading_attempt WHERE outcome = '' AND instance = ?"
    eventually(lambda: world.ask("worker", running, world.sling_id("worker-1"))[0][0], "the worker is busy")
    time.sleep(0.3)


def attempts(world: World, photo: Path, folder: str) -> list[str]:
    """Return how the attempts at a photo's offloaded job ended, as the origin knows it, in their order."""
    rows = world.ask(
        "author",
        "SELECT a.outcome FROM offloading_attempt a JOIN offloading_job j ON a.job_id = j.id"
        " WHERE j.topic = 'com/adobe/granite/workflow/offloading' AND CAST(j.properties AS text) LIKE ?"
        " ORDER BY a.fence",
        f"%/{folder}/{photo.name}%",
    )
    return [outcome for (outcome,) in rows]


def processed_once(page: Page, world: World, photos: list[Path], folder: str) -> None:
    wait_for_state(page, photos, "processed", seconds=90)
    for photo in photos:
        assert attempts(world, photo, folder).count("SUCCEEDED") == 1
        done = world.ask(
            "author", "SELECT count(*) FROM content_node WHERE path LIKE ?", f"%/{folder}/{photo.name}/%/cq5dam%.png"
        )
        assert done[0][0] >= 3
    left = "SELECT count(*) FROM content_node WHERE path LIKE '/var/offloading/_%'"
    eventually(lambda: world.ask("worker", left)[0][0] == 0, "no payload is left on the worker")


@pytest.mark.parametrize("role", ["worker 1", "worker 2", "pusher 1", "cluster"])
def test_idle_process_dies_before_the_photos_come(page: Page, world: World, photos: list[Path], role: str):
    only_the_worker(page, world)
    eventually(lambda: role in named(world.processes["worker-1"].pid), f"{role} runs")
    world.kill_process("worker-1", role)
    folder = f"idle-{role.replace(' ', '-')}"
    make_folder(page, folder)
    drop(page, photos)
    processed_once(page, world, photos, folder)


@pytest.mark.parametrize("role", ["worker 1", "cluster", "agent"])
def test_busy_process_dies_and_the_page_shows_both_attempts(page: Page, world: World, heavy: list[Path], role: str):
    only_the_worker(page, world)
    eventually(lambda: role in named(world.processes["worker-1"].pid), f"{role} runs")
    folder = f"busy-{role.replace(' ', '-')}"
    address = make_folder(page, folder)
    drop(page, heavy)
    wait_until_busy(world)
    world.kill_process("worker-1", role)
    processed_once(page, world, heavy, folder)
    show_attempts(page, world, heavy, folder, address)


def test_whole_worker_dies_in_mid_job_and_comes_back(page: Page, world: World, heavy: list[Path]):
    only_the_worker(page, world)
    address = make_folder(page, "instance")
    drop(page, heavy)
    wait_until_busy(world)
    world.kill("worker-1")
    world.start("worker-1")
    processed_once(page, world, heavy, "instance")
    show_attempts(page, world, heavy, "instance", address)


def test_whole_worker_dies_and_stays_away_until_the_author_helps_itself(page: Page, world: World, heavy: list[Path]):
    only_the_worker(page, world)
    make_folder(page, "away")
    drop(page, heavy)
    wait_until_busy(world)
    world.kill("worker-1")
    try:
        address = page.url
        switch(page, world, "author-1", "Enable")
        page.goto(address)
        processed_at_home(page, world, heavy)
    finally:
        world.start("worker-1")
    world.wait_until_joined()
    processed_once(page, world, heavy, "away")


def processed_at_home(page: Page, world: World, photos: list[Path]) -> None:
    wait_for_state(page, photos, "processed", seconds=90)
    for photo in photos:
        assert attempts(world, photo, "away")[-1] == "SUCCEEDED"


def show_attempts(page: Page, world: World, photos: list[Path], folder: str, address: str) -> None:
    """At least one photo had a failed attempt, and its page shows it beside the one that counted."""
    ended = {photo: attempts(world, photo, folder) for photo in photos}
    hit = [photo for photo in photos if len(ended[photo]) > 1]
    assert hit, f"no attempt was hit: {ended}"
    page.goto(address)
    card(page, hit[0]).get_by_role("link").first.click()
    expect(page.locator("main")).to_contain_text(f"{len(ended[hit[0]])} attempts")
    expect(page.locator("main")).to_contain_text("succeeded", ignore_case=True)
