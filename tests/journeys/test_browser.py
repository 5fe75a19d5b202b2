"""The product's main job, as its operator and its editor see it: look at the topology, switch a topic, drop photos."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.journeys.pictures import is_upright
from tests.journeys.screens import SECONDS, card, drop, make_folder, row_of, switch, wait_for_state
from tests.journeys.world import World, eventually

pytestmark = pytest.mark.journey
RENDITIONS = {
    "cq5dam.thumbnail.48.48.png": (48, 48),
    "cq5dam.thumbnail.140.100.png": (140, 100),
    "cq5dam.thumbnail.319.319.png": (319, 319),
    "cq5dam.web.1280.1280.jpeg": (1280, 1280),
}


def test_topology_shows_both_clusters_and_all_instances(page: Page, world: World):
    page.goto("/topology/")
    clusters = page.locator("[data-cluster]")
    expect(clusters).to_have_count(2, timeout=20 * SECONDS)
    for number in range(2):
        page.goto("/topology/")
        page.locator("[data-cluster] a").nth(number).click()
        expect(page.locator("main")).to_contain_text("Cluster View")
        expect(page.locator("main")).to_contain_text("Leader")
    for name in ["author-1", "author-2", "worker-1"]:
        page.goto(f"/topology/instances/{world.sling_id(name)}/")
        table = page.get_by_role("table").first
        for key in [
            "com.adobe.granite.offloading.infrastructure.osgiconsole.path",
            "job.consumermanager.whitelist",
            "org.apache.sling.instance.endpoints",
            "com.adobe.granite.offloading.job.registeredtopics",
            "org.apache.sling.event.jobs.consumer.topics",
        ]:
            expect(table).to_contain_text(key)
        expect(table).to_contain_text(world.instance(name).endpoint)


def test_topics_have_one_button_per_instance(page: Page, world: World):
    page.goto("/offloading/")
    for name in ["author-1", "author-2", "worker-1"]:
        row = row_of(page, world, name)
        port = world.instance(name).port
        expect(row).to_contain_text(f"127.0.0.1:{port} ({world.sling_id(name)})", timeout=20 * SECONDS)
        expect(row.get_by_role("button", name=re.compile("^Disable"))).to_be_visible()


def test_worker_processes_what_the_author_may_not(page: Page, world: World, photos: list[Path]):
    switch(page, world, "author-1", "Disable")
    switch(page, world, "author-2", "Disable")
    switch(page, world, "worker-1", "Enable")
    folder = make_folder(page, "offloaded")
    drop(page, photos)
    wait_for_state(page, photos, "processed")

    for photo in photos:
        page.goto(folder)
        card(page, photo).get_by_role("link").first.click()
        expect(page.locator("main")).to_contain_text(f"127.0.0.1:{world.instance('worker-1').port}")
        check_renditions(page, photo)
    page.goto("/offloading/jobs/?state=SUCCEEDED")
    expect(page.locator("main")).to_contain_text(photos[0].name)
    eventually(lambda: nothing_left(world), "no asset, blob or payload is left on the worker")


def check_renditions(page: Page, photo: Path) -> None:
    """Every rendition is there, upright, in its box, and not larger than the original."""
    with Image.open(photo) as original:
        longest, is_bilevel = max(original.size), original.mode == "1"
    for name, (width, height) in RENDITIONS.items():
        link = page.locator(f'a[href*="{name.removesuffix(".jpeg")}"]').first
        answer = page.request.get(link.get_attribute("href"))
        assert answer.ok
        picture = Image.open(io.BytesIO(answer.body()))
        assert picture.width <= width and picture.height <= height
        assert max(picture.size) <= longest
        assert picture.width > picture.height, f"{photo.name} {name} lies on its side"
        assert is_upright(io.BytesIO(answer.body())) or is_bilevel


def nothing_left(world: World) -> bool:
    assets = world.ask("worker", "SELECT path FROM content_node WHERE primary_type = 'dam:Asset'")
    payload = world.ask("worker", "SELECT path FROM content_node WHERE path LIKE '/var/offloading/_%'")
    full = world.ask("worker", "SELECT id FROM offloading_job WHERE origin <> '' AND properties <> '{}'")
    return not assets and not payload and not full and not world.blobs("worker")


def test_author_processes_what_the_worker_may_not(page: Page, world: World, photos: list[Path]):
    switch(page, world, "worker-1", "Disable")
    switch(page, world, "author-1", "Enable")
    switch(page, world, "author-2", "Enable")
    before = world.ask("author", "SELECT count(*) FROM offloading_transfer")
    make_folder(page, "at-home")
    drop(page, photos)
    wait_for_state(page, photos, "processed")
    assert world.ask("author", "SELECT count(*) FROM offloading_transfer") == before


def test_nobody_takes_the_topic_until_one_instance_is_enabled(page: Page, world: World, photos: list[Path]):
    for name in ["author-1", "author-2", "worker-1"]:
        switch(page, world, name, "Disable")
    folder = make_folder(page, "waiting")
    photo = photos[0]
    drop(page, [photo])
    expect(card(page, photo)).to_contain_text("No instance takes", timeout=20 * SECONDS, ignore_case=True)
    card(page, photo).get_by_role("link").first.click()
    for name in ["author-1", "author-2", "worker-1"]:
        expect(page.locator("main")).to_contain_text(f"127.0.0.1:{world.instance(name).port}")
    expect(page.locator("main")).to_contain_text("blacklisted")

    switch(page, world, "author-2", "Enable")
    page.goto(folder)
    wait_for_state(page, [photo], "processed", seconds=10)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "bomb"])
def test_bad_pictures_fail_where_the_person_is(page: Page, world: World, tmp_path: Path, photos: list[Path], kind: str):
    switch(page, world, "author-1", "Enable")
    bad = tmp_path / f"{kind}.jpg"
    bad.write_bytes(bad_bytes(kind, photos[0]))
    make_folder(page, f"bad-{kind}")
    drop(page, [bad, photos[1]])
    if kind == "empty":
        expect(page.locator("main")).to_contain_text(re.compile("empty|no bytes|0 bytes", re.I), timeout=20 * SECONDS)
        expect(card(page, bad)).to_have_count(0)
    else:
        wait_for_state(page, [bad], "failed")
        expect(card(page, bad).get_by_role("button", name="Retry")).to_be_visible()
    wait_for_state(page, [photos[1]], "processed")


def bad_bytes(kind: str, photo: Path) -> bytes:
    whole = photo.read_bytes()
    if kind == "truncated":
        return whole[: len(whole) // 2]
    if kind == "bomb":  # the header of the good picture, its size replaced by 60,000 x 60,000
        start = whole.index(b"\xff\xc0") + 5
        return whole[:start] + (60_000).to_bytes(2, "big") * 2 + whole[start + 4 :]
    return b"" if kind == "empty" else b"These are words, not a picture.\n" * 20
