import html
import re

import pytest

from offloading.jobs import manager
from offloading.models import Attempt, Job, JobState
from offloading.views import listing
from tests.offloading import topologies

pytestmark = pytest.mark.django_db
PAGE = "/offloading/jobs/"


@pytest.fixture
def local():
    return topologies.establish(topics="acme/mail/send")


def text(client, query="", **headers):
    response = client.get(PAGE + query, headers=headers)
    assert response.status_code == 200
    return html.unescape(response.content.decode()).replace("<wbr>", "")


def titles(page):
    return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page)


def add(title, state=JobState.QUEUED, topic="acme/mail/send"):
    job = manager.add_job(topic, title=title)
    Job.objects.filter(pk=job.pk).update(state=state)
    return job


def test_jobs_are_listed_newest_first_with_where_they_run(reader_client, local):
    add("first")
    add("second")
    page = text(reader_client)
    assert titles(page) == ["second", "first"]
    assert f"{local[:8]}:4502" in page


def test_finished_job_shows_where_it_ran_even_if_that_instance_is_gone(reader_client, local):
    job = add("done", JobState.SUCCEEDED)
    Attempt.objects.create(job=job, fence=1, instance="gone", instance_label="10.0.0.9:4502", outcome="SUCCEEDED")
    assert "10.0.0.9:4502" in text(reader_client)


def test_every_count_links_to_the_rows_it_counts(reader_client, local):
    add("waits")
    add("broke", JobState.ERROR)
    add("nobody", topic="acme/nobody/does")
    page = text(reader_client)
    links = re.findall(r'<a class="count" id="count-[^"]+" href="([^"]+)".*?<strong>(\d+)</strong>', page)
    assert len(links) == 7
    for address, count in links:
        assert len(titles(text(reader_client, address))) == int(count), address


def test_unassigned_jobs_are_a_state_of_their_own(reader_client, local):
    add("nobody", topic="acme/nobody/does")
    page = text(reader_client, "?state=UNASSIGNED")
    assert titles(page) == ["nobody"] and "No instance takes it" in page
    assert titles(text(reader_client, "?state=QUEUED")) == []


@pytest.mark.parametrize("words", ["mail", "MAIL", "Ski", "{id}", "{start}", "{plain}"])
def test_search_finds_topic_title_and_id(reader_client, local, words):
    job = add("downhill-ski.jpg")
    add("other", topic="acme/print")
    words = words.format(id=job.id, start=str(job.id)[:18], plain=job.id.hex)
    assert "downhill-ski.jpg" in titles(text(reader_client, f"?q={words}"))


def test_counts_and_links_keep_the_words(reader_client, local):
    add("ski")
    add("swim")
    page = text(reader_client, "?q=ski")
    assert "<strong>1</strong>" in page and 'href="?state=ACTIVE&q=ski"' in page


def test_nothing_yet_and_nothing_matches_are_different(reader_client, local):
    assert "No jobs yet" in text(reader_client)
    assert "Nothing matches" in text(reader_client, "?q=ski")


@pytest.mark.parametrize("query", ["?state=nonsense", "?before=nonsense", "?after=1", "?q=%00", "?q=' OR 1=1"])
def test_nonsense_in_the_address_is_ignored(reader_client, local, query):
    add("only")
    text(reader_client, query)


def test_markup_in_a_title_stays_text(reader_client, local):
    manager.add_job("acme/mail/send", title="<script>alert(1)</script>")
    assert "<script>alert(1)" not in reader_client.get(PAGE).content.decode()


def test_pages_follow_each_other_both_ways(local, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    jobs = [manager.add_job("acme/mail/send").pk for _ in range(5)][::-1]
    pages, wanted = [], listing.Filter()
    for _ in range(3):
        page = listing.page(wanted)
        pages.append([job.pk for job in page.jobs])
        wanted = listing.Filter(before=page.jobs[-1].pk)
    assert pages == [jobs[:2], jobs[2:4], jobs[4:]]
    assert page.older_url == ""
    back = listing.page(listing.Filter(after=jobs[4]))
    assert [job.pk for job in back.jobs] == jobs[2:4] and back.newer_url and back.older_url
    assert listing.page(listing.Filter(after=jobs[2])).newer_url == ""


def test_number_of_queries_does_not_depend_on_the_jobs(reader_client, local, django_assert_num_queries):
    add("warm up")
    text(reader_client)
    with django_assert_num_queries(8):
        text(reader_client)
    for number in range(12):
        job = add(f"job {number}", JobState.SUCCEEDED)
        Attempt.objects.create(job=job, fence=1, instance=local, instance_label="here:4502", outcome="SUCCEEDED")
    with django_assert_num_queries(8):
        assert len(titles(text(reader_client))) == 13


def test_fragment_keeps_the_filters_of_its_page(reader_client, local):
    fragment = text(reader_client, "?state=ERROR&q=ski", **{"HX-Request": "true"})
    assert "<html" not in fragment and 'hx-get="/offloading/jobs/?state=ERROR&q=ski"' in fragment
