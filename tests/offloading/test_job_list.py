import html
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from offloading.jobs import manager, search
from offloading.models import Attempt, Job, JobState, Pause
from offloading.views import listing
from tests.offloading import topologies

PAGE = "/offloading/jobs/"


@pytest.fixture
def local(db):
    return topologies.establish(topics="acme/mail/*")


def text(client, query="", status=200, **headers):
    response = client.get(PAGE + query, headers=headers)
    assert response.status_code == status
    return html.unescape(response.content.decode()).replace("<wbr>", "")


def titles(page):
    return re.findall(r'<th scope="row"[^>]*><a href="[^"]+"[^>]*>([^<]+)</a>', page)


def add(title, state=JobState.QUEUED, topic="acme/mail/send", properties=None, **facts):
    job = manager.add_job(topic, properties, title=title)
    if state not in (JobState.QUEUED, JobState.ACTIVE):
        facts = {"finished_at": timezone.now()} | facts
    Job.objects.filter(pk=job.pk).update(state=state, **facts)
    return job


# --- Rows --------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_with_where_they_run(reader_client, local):
    add("first")
    add("second")
    page = text(reader_client)
    assert titles(page) == ["second", "first"]
    assert f"{local[:8]}:4502" in page


def test_finished_job_shows_where_it_ran_last_even_if_that_instance_is_gone(reader_client, local):
    job = add("done", JobState.SUCCEEDED)
    for fence, label in ((1, "10.0.0.8:4502"), (2, "10.0.0.9:4502")):
        Attempt.objects.create(job=job, fence=fence, instance="gone", instance_label=label, outcome="SUCCEEDED")
    page = text(reader_client)
    assert "10.0.0.9:4502" in page and "10.0.0.8:4502" not in page and "2 attempts" in page


def test_waiting_jobs_hint_at_why(reader_client, local):
    add("nobody", topic="acme/nobody/does")
    add("later", not_before=timezone.now() + timedelta(minutes=5))
    add("again", not_before=timezone.now() + timedelta(minutes=5), retry_count=1)
    add("held", topic="acme/mail/print")
    Pause.objects.create(kind="TOPIC", name="acme/mail/print", paused_by="ann")
    add("asked", JobState.ACTIVE, stop_requested_by="bob")
    page = text(reader_client)
    for hint in ("No instance takes it", "Starts <time", "Tried again <time", "Topic paused by ann", "stop by bob"):
        assert page.count(hint) == 1, hint


def test_time_stands_only_beside_a_hint_that_speaks_of_it(reader_client, local):
    add("later", topic="acme/nobody/does", not_before=timezone.now() + timedelta(hours=1))
    assert "No instance takes it: see why</a>" in text(reader_client)


def test_markup_in_a_title_stays_text(reader_client, local):
    manager.add_job("acme/mail/send", title="<script>alert(1)</script>")
    assert "<script>alert(1)" not in reader_client.get(PAGE).content.decode()


def test_number_of_queries_does_not_depend_on_the_jobs(reader_client, local, django_assert_max_num_queries):
    add("warm up")
    text(reader_client)
    with django_assert_max_num_queries(40) as few:
        text(reader_client)
    for number in range(12):
        job = add(f"job {number}", JobState.SUCCEEDED)
        for fence in range(3):
            Attempt.objects.create(job=job, fence=fence, instance=local, instance_label="here:4502", outcome="ERROR")
    with django_assert_max_num_queries(len(few)):
        assert len(titles(text(reader_client))) == 13


# --- Filters -----------------------------------------------------------------------------------------------------


def test_every_count_links_to_the_rows_it_counts(reader_client, local):
    add("waits")
    add("later", not_before=timezone.now() + timedelta(minutes=5))
    add("broke", JobState.ERROR)
    add("dropped", JobState.DROPPED)
    add("nobody", topic="acme/nobody/does")
    page = text(reader_client)
    links = re.findall(r'<a class="count" id="count-[^"]+" href="([^"]+)".*?<strong>(\d+)</strong>', page)
    assert len(links) == 9
    for address, count in links:
        assert len(titles(text(reader_client, address))) == int(count), address


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=UNASSIGNED", ["nobody"]),
        ("?state=DELAYED", ["later"]),
        ("?state=QUEUED", ["nobody", "later", "waits"]),
        ("?state=ERROR", ["broke"]),
        ("?topic=acme/mail/send", ["broke", "later", "waits"]),
        ("?topic=acme/mail/**", ["broke", "later", "waits"]),
        ("?topic=acme/nobody/does&state=QUEUED", ["nobody"]),
        ("?queue=post", ["waits"]),
        ("?target=elsewhere", ["later"]),
        ("?family=abc", ["broke"]),
        ("?q=state:error", ["broke"]),
    ],
)
def test_filters_leave_what_is_like_that(reader_client, local, query, found):
    add("waits", queue="post")
    add("later", not_before=timezone.now() + timedelta(minutes=5), target="elsewhere")
    add("broke", JobState.ERROR, family="abc")
    add("nobody", topic="acme/nobody/does")
    assert sorted(titles(text(reader_client, query))) == sorted(found)


def test_topics_can_be_left_out(reader_client, local):
    add("ours")
    add("step", topic="acme/nobody/does")
    page = text(reader_client, "?topic=-acme/nobody/**")
    assert titles(page) == ["ours"]
    assert "Without topic: acme/nobody/**" in page and "<strong>1</strong>" in page


def test_what_is_asked_for_shows_as_chips_that_can_be_removed(reader_client, local):
    page = text(reader_client, f"?state=ERROR&topic=acme/mail/**&queue=post&target={local}&family=abc")
    chips = dict(re.findall(r'<span class="chip">([^:]+): .*?href="([^"]+)"', page))
    assert set(chips) == {"Topic", "Queue", "Instance", "Failure family"}
    assert chips["Queue"] == f"?state=ERROR&topic=acme%2Fmail%2F%2A%2A&target={local}&family=abc"
    assert f"Instance: {local[:8]}:4502" in page


def test_choices_are_what_jobs_are_there_of_and_what_instances_take(reader_client, local):
    add("ours", queue="post")
    page = text(reader_client)
    values = re.findall(r'<option value="([^"]*)"', page)
    assert {"acme/mail/send", "acme/mail/*", "-acme/mail/send", "-acme/mail/*", "post"} <= set(values)


@pytest.mark.parametrize("words", ["mail", "MAIL", "Ski", "ann@", "{id}", "{start}", "{plain}"])
def test_search_finds_topic_title_payload_and_id(reader_client, local, words):
    job = add("downhill-ski.jpg", properties={"to": "ann@example.org"})
    add("other", topic="acme/print")
    words = words.format(id=job.id, start=str(job.id)[:18], plain=job.id.hex)
    assert "downhill-ski.jpg" in titles(text(reader_client, f"?q={words}"))


def test_counts_and_links_keep_the_words(reader_client, local):
    add("ski")
    add("swim")
    page = text(reader_client, "?q=ski")
    assert "<strong>1</strong>" in page and 'href="?state=ACTIVE&q=ski"' in page


def test_search_that_ran_out_of_time_says_how_far_it_was_and_goes_on(reader_client, local, monkeypatch):
    for number in range(3):
        add(f"letter {number}")

    def hurried(wanted, **arguments):
        return search.SearchPage(jobs=(), order=search.Order.ID, is_complete=False, newer="", older="next",
                                 searched_until=timezone.now() - timedelta(days=2))  # fmt: skip

    monkeypatch.setattr(listing.search, "search", hurried)
    page = text(reader_client, "?q=letter")
    assert "Nothing found so far" in page and "2 d ago" in page
    assert re.search(r'href="\?q=letter&before=next&further=1" id="search-further"', page)


def test_who_searches_further_waits_longer_and_is_not_interrupted(reader_client, local, monkeypatch):
    budgets = []
    real = search.search

    def noted(wanted, *, budget_seconds, **arguments):
        budgets.append(budget_seconds)
        return real(wanted, budget_seconds=budget_seconds, **arguments)

    monkeypatch.setattr(listing.search, "search", noted)
    add("letter")
    assert "jobs-changed" in text(reader_client, "?q=letter")
    assert "jobs-changed" not in text(reader_client, "?q=letter&further=1")
    assert budgets[0] < 0.3 < budgets[1]


# --- Nothing, and nonsense ---------------------------------------------------------------------------------------


def test_nothing_yet_and_nothing_matches_are_different(reader_client, local):
    assert "No jobs yet" in text(reader_client)
    nothing = text(reader_client, "?q=ski")
    assert "Nothing matches" in nothing and "No jobs yet" not in nothing


@pytest.mark.parametrize(
    ("query", "named"),
    [("?state=nonsense", "state"), ("?before=nonsense", "cursor"), ("?after=1", "cursor"), ("?topic=a//b", "topic")],
)
def test_what_can_never_be_is_said_with_a_way_out(reader_client, local, query, named):
    add("only")
    page = text(reader_client, query, status=422)
    assert "That cannot be searched" in page and named in page and 'href="?"' in page


@pytest.mark.parametrize("query", ["?q=%00", "?q=' OR 1=1", "?queue=%00x", "?q=" + "a" * 2000, "?q=topic:", "?q=%25"])
def test_nothing_that_is_typed_breaks_the_page(reader_client, local, query):
    add("only")
    assert reader_client.get(PAGE + query).status_code in (200, 422)


# --- Pages -------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_both_ways(reader_client, local, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    for number in range(5):
        add(str(number))

    def turn(page, rel):
        found = re.search(rf'href="([^"]+)" rel="{rel}"', page)
        return text(reader_client, found[1]) if found else None

    first = text(reader_client)
    second = turn(first, "next")
    third = turn(second, "next")
    assert [titles(page) for page in (first, second, third)] == [["4", "3"], ["2", "1"], ["0"]]
    assert turn(first, "prev") is None and turn(third, "next") is None
    assert titles(turn(third, "prev")) == ["2", "1"] and titles(turn(second, "prev")) == ["4", "3"]


def test_fragment_keeps_the_filters_of_its_page(reader_client, local):
    fragment = text(reader_client, "?state=ERROR&q=ski", **{"HX-Request": "true"})
    assert "<html" not in fragment and 'hx-get="/offloading/jobs/?state=ERROR&q=ski"' in fragment


def test_list_is_for_those_who_are_logged_in(client, db):
    assert client.get(PAGE).status_code == 302
