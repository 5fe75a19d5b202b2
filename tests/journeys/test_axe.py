"""No page of the product has a serious or critical violation of accessibility, in light and in dark, wide and narrow.

The pages are found in the table of addresses: a new one that can be shown without a parameter is looked at by itself,
and one with a parameter fails the first test until it is said here what to show it with. The rules are axe-core's.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext

from dam import ingestion, structure
from offloading.jobs import ids, queues, testing
from offloading.models import Attempt, FailureFamily, Job, JobState, Pause, QueueConfiguration, ScheduledJob
from tests.dam import pictures
from tests.offloading import topologies
from workflow.models import Workflow

pytestmark = [pytest.mark.journey, pytest.mark.django_db(transaction=True)]
BAD = {"serious", "critical"}
VARIANTS = [("light", 1280), ("dark", 1280), ("light", 360)]
# Addresses with a parameter that answer a GET with something else than a page, or never answer one.
NO_PAGES = {"dam:rendition"}


# --- What there is to see ----------------------------------------------------------------------------------------


def names(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield every named address of the product."""
    for each in (resolver or get_resolver()).url_patterns:
        if isinstance(each, URLResolver):
            yield from names(each, f"{prefix}{each.namespace}:" if each.namespace else prefix)
        elif each.name:
            yield f"{prefix}{each.name}", each


def is_page(client: Client, address: str) -> bool:
    answer = client.get(address)
    return answer.status_code == 200 and answer.content.lstrip().lower().startswith(b"<!doctype html")


@pytest.fixture
def sights(db) -> dict[str, list[list[str]]]:
    """Fill the installation with something of everything; return what to show the pages with a parameter with."""
    local = topologies.establish("another", topics="acme/mail/send,acme/print")
    asset = ingestion.create_asset(folder=structure.ROOT, name="ski.jpg", stream=BytesIO(pictures.jpeg()), by="ann")
    testing.run_waiting()
    broken = ingestion.create_asset(folder=structure.ROOT, name="no.jpg", stream=BytesIO(b"words" * 9), by="ann")
    testing.run_waiting()
    jobs = [str(job) for job in make_jobs(local)]
    return {
        "topology:cluster-detail": [["the cluster"]],
        "topology:instance-detail": [[local]],
        "offloading:instance-detail": [[local]],
        "offloading:job-detail": [[job] for job in jobs],
        "offloading:queue-detail": [["post"], [queues.MAIN_QUEUE]],
        "offloading:queue-edit": [["post"], [queues.MAIN_QUEUE]],
        "offloading:family-detail": [["f" * 32]],
        "offloading:schedule-detail": [["nightly"]],
        "offloading:queue-pause": [["post"]],
        "offloading:schedule-change": [["nightly"]],
        "workflow:workflow-detail": [[str(each)] for each in Workflow.objects.values_list("pk", flat=True)[:2]],
        "dam:folder": [[structure.ROOT.lstrip("/")]],
        "dam:asset": [[asset.lstrip("/")], [broken.lstrip("/")]],
    }


def make_jobs(local: str) -> list[uuid.UUID]:
    """Make a job of each kind that looks different, and what they belong to."""
    now = timezone.now()
    QueueConfiguration.objects.create(name="post", topics=["acme/mail/*"], max_parallel=2)
    Pause.objects.create(kind="TOPIC", name="acme/print", paused_by="ann", until=now + timedelta(hours=1))
    FailureFamily.objects.create(
        fingerprint="f" * 32, topic="acme/mail/send", error="ConnectionRefusedError", place="acme.mail:send:42"
    )
    ScheduledJob.objects.create(
        name="nightly", topic="acme/print", schedules=[{"type": "CRON", "expression": "0 0 * * *"}], next_at=now
    )
    long = {"to": "ann@example.org", "text": "Lorem ipsum dolor sit amet. " * 60}
    kinds: list[dict[str, object]] = [
        {"target": ""},
        {"topic": "acme/print", "target": local},
        {"not_before": now + timedelta(minutes=5), "retry_count": 1, "result_message": "Try later", "target": local},
        {"state": JobState.ACTIVE, "progress_steps": 9, "progress_step": 4, "progress_eta": now + timedelta(hours=1)},
        {"state": JobState.ACTIVE, "stop_requested_by": "ann"},
        {"state": JobState.SUCCEEDED, "result_message": "Sent"},
        {"state": JobState.GIVEN_UP, "result_message": "ConnectionRefusedError", "family": "f" * 32},
        {"state": JobState.ERROR, "result_message": "ConnectionRefusedError", "family": "f" * 32},
        {"state": JobState.STOPPED},
        {"state": JobState.DROPPED},
    ]
    return [make_job(local, properties=long, **kind) for kind in kinds]


def make_job(local: str, **facts: object) -> uuid.UUID:
    now = timezone.now()
    is_over = facts.get("state") not in (None, JobState.ACTIVE)
    times = {"started_at": now, "finished_at": now if is_over else None} if "state" in facts else {}
    base = {"topic": "acme/mail/send", "queue": "post", "title": "Letter", "application": local, "target": local}
    job = Job.objects.create(**{"id": ids.uuid7()} | base | times | facts)
    log = "\n".join(f"reading page {page}" for page in range(40))
    Attempt.objects.create(job=job, fence=1, instance=local, instance_label="here:4502", outcome="LOST", log=log)
    ending = "" if not is_over else "SUCCEEDED" if job.state == JobState.SUCCEEDED else "ERROR"
    if "state" in facts:
        Attempt.objects.create(job=job, fence=2, instance=local, instance_label="here:4502", outcome=ending, log=log)
    return job.pk


@pytest.fixture
def pages(sights, staff_client) -> list[str]:
    """Return the address of every page, with data in it."""
    found = []
    for name, pattern in names():
        if not pattern.pattern.converters:
            found += [address for address in [reverse(name)] if is_page(staff_client, address)]
        for arguments in sights.get(name, []):
            found.append(reverse(name, args=arguments))
    return [*found, "/offloading/jobs/?state=ERROR", "/offloading/jobs/?q=nothing+is+like+this", "/no/such/page/"]


# --- Looking at it -----------------------------------------------------------------------------------------------


def test_every_page_with_a_parameter_is_looked_at(sights, staff_client):
    unknown = []
    for name, pattern in names():
        if not pattern.pattern.converters or name in sights or name in NO_PAGES:
            continue
        view = pattern.callback
        machines = ("offloading.transport", "topology.connectors", "offloading.api")
        is_for_people = not view.__module__.startswith(machines)
        made_up = {key: MADE_UP[type(converter).__name__] for key, converter in pattern.pattern.converters.items()}
        if is_for_people and staff_client.get(reverse(name, kwargs=made_up)).status_code != 405:
            unknown.append(name)
    assert unknown == []  # say in `sights` what to show these with


MADE_UP = {
    "StringConverter": "x",
    "NameConverter": "x",
    "UUIDConverter": uuid.UUID(int=7),
    "IntConverter": 7,
    "SlugConverter": "x",
    "PathConverter": "x",
    "NodePathConverter": "/x",
}


@pytest.fixture(scope="module", autouse=True)
def loop_beside_the_database() -> Iterator[None]:
    """The browser's library runs a loop in this thread, which Django takes for one of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture
def look(live_server, staff_client, browser: Browser):
    """Open a browser of an administrator."""
    session = staff_client.cookies[settings.SESSION_COOKIE_NAME].value
    contexts: list[BrowserContext] = []

    def look(scheme: str, width: int) -> BrowserContext:
        context = browser.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        contexts.append(context)
        return context

    yield look
    for context in contexts:
        context.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("scheme", "width"), VARIANTS)
def test_no_page_has_a_serious_violation(pages, look, scheme, width):
    context = look(scheme, width)
    page = context.new_page()
    found, too_wide = {}, []
    assert len(pages) > 20
    for address in pages:
        page.goto(address)
        assert page.locator("h1").count() == 1 or "login" in address, address
        found |= {f"{address} {key}": nodes for key, nodes in violations(page).items()}
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            too_wide.append(address)
    assert found == {}
    assert too_wide == []


def test_what_opens_on_the_jobs_list_has_none_either(sights, look):
    page = look("dark", 360).new_page()
    page.goto("/offloading/jobs/")
    page.locator("input[name=ids]").first.check()
    assert page.locator("#bulk").is_visible() and violations(page) == {}
    page.locator("#search-help-button").click()
    assert page.locator("#search-help").is_visible() and violations(page) == {}
    page.keyboard.press("Escape")
    page.locator("#bulk").get_by_role("button", name="Remove").click()
    assert page.locator("#confirm").is_visible() and violations(page) == {}


def test_guard_sees_what_is_wrong(look):
    page = look("light", 1280).new_page()
    page.goto("/topology/")
    page.evaluate(
        "document.querySelector('main').append(document.createElement('img'), document.createElement('select'))"
    )
    assert set(violations(page)) == {"image-alt", "select-name"}


def violations(page) -> dict[str, list[str]]:
    response = Axe().run(page).response
    return {
        each["id"]: [node["html"][:160] for node in each["nodes"]]
        for each in response["violations"]
        if each["impact"] in BAD
    }
