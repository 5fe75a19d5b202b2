"""The night shift: jobs failed, somebody looks for one by what is in it, reads why, mends the cause, and has them run
again: first one, to see whether that was it, then the rest. On the screens alone, and a real instance does the work.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from config import demo
from tests.journeys.conftest import log_in
from tests.journeys.instance import ROOT, Instance
from tests.journeys.screens import SECONDS
from tests.journeys.world import eventually

pytestmark = pytest.mark.journey
PAGES = ("winter-fairy-tale", "summer-night", "spring-awakening", "autumn-leaves")


class Press:
    """An instance with a printer, its tray, and the browser of who looks after it."""

    def __init__(self, instance: Instance, page: Page) -> None:
        self.instance = instance
        self.page = page

    def fill_tray(self, content: str) -> None:
        (self.instance.home / "tray.txt").write_text(content)

    def add(self, *pages: str) -> list[str]:
        command = [sys.executable, "-m", "tests.journeys.press.adder", *pages]
        done = subprocess.run(
            command, env=self.instance.environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.split()

    def states(self) -> list[str]:
        return [state for (state,) in self.instance.ask("SELECT state FROM offloading_job WHERE topic = 'press/print'")]


@pytest.fixture
def press(browser: Browser, tmp_path: Path) -> Iterator[Press]:
    instance = Instance(tmp_path, DJANGO_SETTINGS_MODULE="tests.journeys.press.settings")
    assert instance.manage("migrate", "--verbosity", "0").returncode == 0
    person = {"DJANGO_SUPERUSER_USERNAME": demo.USERNAME, "DJANGO_SUPERUSER_PASSWORD": demo.PASSWORD}
    made = instance.manage("createsuperuser", "--noinput", "--email", "a@example.org", **person)
    assert made.returncode == 0, made.stderr
    context = browser.new_context(base_url=f"http://127.0.0.1:{instance.port}", viewport={"width": 1280, "height": 900})
    try:
        instance.start()
        page = context.new_page()
        log_in(page)
        yield Press(instance, page)
    finally:
        context.close()
        instance.close()
        print(instance.log.read_text() if instance.log.exists() else "(no log)")  # noqa: T201  for pytest


def test_failed_jobs_are_found_understood_and_run_again(press: Press):
    press.fill_tray("empty")
    press.add(*PAGES)
    page = press.page

    # The list shows them as they fail, without a reload.
    page.goto("/offloading/jobs/?state=ERROR")
    expect(page.locator("table[data-rows] tbody tr")).to_have_count(len(PAGES), timeout=20 * SECONDS)

    # One of them is looked for by a word of its payload, with the keyboard alone.
    page.keyboard.press("/")
    page.keyboard.type("fairy-tale")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"q=fairy-tale"))
    expect(page.locator("table[data-rows] tbody tr")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    # Its page says what happened, where, and why.
    page.wait_for_url(re.compile(r"/offloading/jobs/[0-9a-f-]{36}/"))
    story = page.get_by_role("region", name="What happened")
    expect(story).to_contain_text("the tray is empty")
    expect(story).to_contain_text("attempt 1, error")
    expect(story.locator("pre")).to_contain_text("wants to print winter-fairy-tale")
    expect(story.locator("pre")).to_contain_text("OutOfPaper")
    expect(page.get_by_role("region", name="Payload")).to_contain_text("winter-fairy-tale")

    # All that failed in that way are one family. One is tried again while nothing was mended: it fails again.
    page.get_by_role("link", name="failure family").click()
    expect(page.get_by_role("heading", name=f"{len(PAGES)} jobs")).to_be_visible()
    page.get_by_role("button", name="Retry one").click()
    expect(page.locator("#trial")).to_contain_text("failed again", timeout=20 * SECONDS)

    # Paper is put in, one is tried again and succeeds before one's eyes; then the others.
    press.fill_tray("A4")
    page.get_by_role("button", name="Retry one").click()
    expect(page.locator("#trial")).to_contain_text("succeeded", timeout=20 * SECONDS)
    expect(page.locator("#trial")).to_contain_text("printed on A4")
    page.locator("#retry-all-now").click()
    expect(page.locator("#work")).to_contain_text(f"{len(PAGES) - 1} jobs retried", timeout=20 * SECONDS)
    eventually(lambda: press.states() == ["SUCCEEDED"] * len(PAGES), "all are printed", 20)

    page.goto("/offloading/jobs/?state=SUCCEEDED&topic=press/print")
    expect(page.locator("table[data-rows] tbody tr")).to_have_count(len(PAGES))


def test_many_are_retried_from_the_list_with_the_bar(press: Press):
    press.fill_tray("empty")
    press.add(*PAGES)
    page = press.page
    page.goto("/offloading/jobs/?topic=press/print")
    rows = page.locator("table[data-rows] tbody tr")
    expect(rows.filter(has_text="Error")).to_have_count(len(PAGES), timeout=20 * SECONDS)
    expect(page.locator("#bulk")).to_be_hidden()

    # Two are ticked with the keyboard; what is ticked outlives what the page brings by itself.
    press.fill_tray("A5")
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("#bulk")).to_contain_text("2 jobs selected")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('jobs-changed'))")
    page.wait_for_timeout(500)
    expect(page.locator("#bulk")).to_contain_text("2 jobs selected")
    page.locator("#bulk").get_by_role("button", name="Retry").click()
    expect(page.locator(".toast")).to_contain_text("Retry 2 jobs")
    expect(rows.filter(has_text="Succeeded")).to_have_count(2, timeout=20 * SECONDS)

    # The rest: all that match, from the list of the failed ones.
    page.get_by_role("link", name=re.compile("Error")).first.click()
    rows.first.get_by_role("checkbox").check()
    page.get_by_label("all 2 that match").check()
    page.locator("#bulk").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Nothing matches")).to_be_visible(timeout=20 * SECONDS)
    eventually(lambda: press.states() == ["SUCCEEDED"] * len(PAGES), "all are printed", 20)

    # Stopping and removing ask first, and say how many.
    page.goto("/offloading/jobs/?topic=press/print")
    page.get_by_label("Select the jobs of this page").check()
    dialog = page.locator("#confirm")
    page.locator("#bulk").get_by_role("button", name="Stop").click()
    expect(dialog).to_contain_text(f"Stop {len(PAGES)} jobs?")
    dialog.get_by_role("button", name="Cancel").click()
    page.locator("#bulk").get_by_role("button", name="Remove").click()
    expect(dialog).to_contain_text(f"Remove {len(PAGES)} jobs?")
    dialog.get_by_role("button", name=f"Remove {len(PAGES)} jobs").click()
    eventually(lambda: press.states() == [], "all are removed", 20)
    expect(page.get_by_text("Nothing matches")).to_be_visible(timeout=20 * SECONDS)


def test_job_that_waits_says_why_and_runs_when_that_is_over(press: Press):
    press.fill_tray("A4")
    page = press.page
    page.goto("/offloading/")
    page.locator('[data-topic="press/print"]').get_by_role("button", name=re.compile("^Disable")).click()
    expect(page.locator('[data-topic="press/print"]').get_by_role("button", name=re.compile("^Enable"))).to_be_visible()
    [job] = press.add("patience")
    page.goto(f"/offloading/jobs/{job}/")
    expect(page.locator('[data-why="unassigned"]')).to_contain_text("No instance takes topic press/print")
    expect(page.locator('[data-why="unassigned"]')).to_contain_text("blacklisted")

    other = page.context.new_page()
    other.goto("/offloading/")
    other.locator('[data-topic="press/print"]').get_by_role("button", name=re.compile("^Enable")).click()
    story = page.get_by_role("region", name="What happened")
    expect(story).to_contain_text("Succeeded", timeout=20 * SECONDS)
    expect(page.locator("#why")).to_have_count(0)


def test_running_job_shows_how_far_it_is_and_stops_when_asked(press: Press):
    [job] = press.add("500")
    page = press.page
    page.goto(f"/offloading/jobs/{job}/")
    story = page.get_by_role("region", name="What happened")
    expect(page.locator("#progress")).to_contain_text("of 500 steps", timeout=20 * SECONDS)
    expect(page.locator("#progress")).to_contain_text("done in")
    log = story.locator("pre[data-follow]")
    expect(log).to_contain_text("printing page 20\n", timeout=20 * SECONDS)
    assert log.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight < 30"), "the log shows its end"

    # A log that somebody closed stays closed, though the page brings itself up to date.
    story.get_by_text("Log, as it is written").click()
    page.evaluate("document.body.dispatchEvent(new CustomEvent('jobs-changed'))")
    page.wait_for_timeout(2500)
    expect(log).to_be_hidden()

    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#stopping").or_(story.get_by_text("stopped before page"))).to_be_visible()
    expect(story).to_contain_text("stopped before page", timeout=20 * SECONDS)
    expect(page.locator("#act-retry")).to_be_visible()
    assert press.instance.state(job.replace("-", "")) == "STOPPED"
