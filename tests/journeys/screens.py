"""What a person does on the screens, for the journeys in the browser."""

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.journeys.world import TOPIC, World

SECONDS = 1_000  # playwright's times are in milliseconds


def row_of(page: Page, world: World, name: str, topic: str = TOPIC) -> Locator:
    """Return the Offloading Browser's row of an instance below a topic."""
    return page.locator(f'[data-topic="{topic}"] [data-instance="{world.sling_id(name)}"]')


def switch(page: Page, world: World, name: str, action: str) -> None:
    """Press Enable or Disable for an instance and wait until the row shows that it is so."""
    page.goto("/offloading/")
    row = row_of(page, world, name)
    button = row.get_by_role("button", name=re.compile(f"^{action}"))
    if button.count() == 0:
        return
    button.click()
    opposite = "Disable" if action == "Enable" else "Enable"
    expect(row.get_by_role("button", name=re.compile(f"^{opposite}"))).to_be_visible(timeout=20 * SECONDS)


def make_folder(page: Page, name: str) -> str:
    page.goto("/assets/")
    page.get_by_label("New folder").fill(name)
    page.get_by_role("button", name="Create folder").click()
    page.get_by_role("link", name=name).click()
    return page.url


def drop(page: Page, photos: list[Path]) -> None:
    page.locator('input[type="file"]').first.set_input_files([str(photo) for photo in photos])


def card(page: Page, photo: Path) -> Locator:
    return page.locator(f'[data-asset$="/{photo.name}"]')


def wait_for_state(page: Page, photos: list[Path], state: str, seconds: float = 40) -> None:
    """Wait until the cards show a state, without a reload: the page has to bring it by itself."""
    for photo in photos:
        expect(card(page, photo)).to_have_attribute("data-state", state, timeout=seconds * SECONDS)
