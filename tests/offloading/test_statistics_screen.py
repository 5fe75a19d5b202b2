from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from offloading.jobs import ids, statistics
from offloading.jobs.statistics import Entry
from offloading.models import Job, StatisticsReset, Tally

PAGE = "/offloading/jobs/statistics/"
RESET = "/offloading/jobs/statistics/reset/"


@pytest.fixture
def busy(db):
    """Let two instances have worked in two queues."""
    minute = timezone.now().replace(second=0, microsecond=0)
    key = {"minute": minute - timedelta(minutes=3)}
    mail = {"queue": "mail", "topic": "acme/mail/send"}
    Tally.objects.create(
        **key, **mail, instance="one", started=5, finished=3, failed=2, waiting_ms=6000, processing_ms=900
    )
    Tally.objects.create(**key, instance="two", queue="<main queue>", topic="acme/scale", started=1, cancelled=1)
    Job.objects.create(id=ids.uuid7(), topic="acme/mail/send", queue="mail", application="one", target="one")


def text(response):
    return " ".join(response.content.decode().split())


def test_each_queue_topic_and_instance_is_shown_with_its_numbers(reader_client, busy):
    page = reader_client.get(PAGE)

    tables = {table.kind: [row.label for row in table.rows] for table in page.context["tables"]}
    assert tables["queue"] == ["<main queue>", "mail"]
    assert tables["topic"] == ["acme/mail/send", "acme/scale"]
    assert tables["instance"] == ["one", "two"]
    everything = page.context["everything"]
    assert (everything.counts.processed, everything.average_wait, everything.average_time) == (6, 1.0, 0.3)
    assert "6 jobs in the last 60 minutes, at most 6 a minute, 0 in the last one" in text(page)
    assert "1.0 s" in text(page) and "300 ms" in text(page)


def test_numbers_lead_to_the_jobs_that_they_count(reader_client, busy):
    page = text(reader_client.get(PAGE))

    assert "/offloading/jobs/?queue=mail&amp;state=QUEUED" in page
    assert "/offloading/jobs/?queue=%3Cmain+queue%3E&amp;state=ACTIVE" in page
    assert "/offloading/jobs/?target=one&amp;state=QUEUED" in page


def test_an_instance_is_shown_alone(reader_client, busy):
    page = reader_client.get(PAGE, {"instance": "one"})

    assert page.context["everything"].counts.processed == 5
    assert [table.kind for table in page.context["tables"]] == ["queue", "topic"]
    assert [row.label for row in page.context["tables"][0].rows] == ["mail"]
    assert "/offloading/jobs/?queue=mail&amp;target=one&amp;state=QUEUED" in text(page)


def test_an_unknown_instance_is_missing(reader_client, busy):
    assert reader_client.get(PAGE, {"instance": "three"}).status_code == 404


def test_before_the_first_job_the_page_says_what_will_be_here(reader_client, db):
    assert "Nothing was done yet" in text(reader_client.get(PAGE))


def test_the_fragment_is_the_live_part_of_the_page(reader_client, busy):
    fragment = reader_client.get(PAGE, headers={"HX-Request": "true"})

    assert fragment.content.decode().strip().startswith('<div class="stack" id="statistics"')
    assert "<html" not in text(fragment)


def test_more_queues_than_show_are_told(reader_client, busy, monkeypatch):
    monkeypatch.setattr("offloading.views.statistics.ROWS_SHOWN", 1)

    assert "1 more do not show here" in text(reader_client.get(PAGE))


@pytest.mark.parametrize(("queue", "left"), [("", [0, 0]), ("mail", [0, 1])])
def test_reset_lets_the_numbers_begin_anew(staff_client, db, queue, left):
    statistics.count([Entry("mail", "acme/mail/send", finished=3), Entry("other", "acme/scale", finished=1)])
    response = staff_client.post(RESET, {"queue": queue})

    assert response.url == reverse("offloading:statistics")
    assert [statistics.of_queue(name).finished for name in ("mail", "other")] == left
    assert StatisticsReset.objects.get().reset_by == "admin"
    assert f"The statistics of {queue or 'all queues and topics'} begin now." in text(staff_client.get(response.url))


def test_resetting_twice_is_harmless(staff_client, busy):
    for _ in range(2):
        assert staff_client.post(RESET, {"queue": "mail"}).status_code == 302


def test_a_reader_may_not_reset(reader_client, busy):
    assert reader_client.post(RESET).status_code == 403
    assert not StatisticsReset.objects.exists()
    assert 'disabled title="Only staff may reset statistics"' in text(reader_client.get(PAGE))


def test_reset_is_no_page(staff_client, db):
    assert staff_client.get(RESET).status_code == 405


@pytest.mark.parametrize("queue", ["unknown", "nul\0"])
def test_a_queue_without_statistics_is_missing(staff_client, busy, queue):
    assert staff_client.post(RESET, {"queue": queue}).status_code == 404
