"""The failures screens: what they say, trying one again and then all, and who may."""

import pytest
from django.urls import reverse
from django.utils import timezone

from offloading.jobs import consumers, ids, manager, testing
from offloading.jobs.consumers import JobConsumer, JobResult
from offloading.models import FailureFamily, Job, JobState
from offloading.views import families as screen
from tests.offloading.topologies import establish

TOPIC = "test/family"
LIST = reverse("offloading:family-list")


class Sometimes(JobConsumer):
    """Fails while `broken` says so: with an exception, or with a word of its own."""

    topics = (TOPIC,)
    broken = ""

    def process(self, job):
        if Sometimes.broken == "exception":
            raise ValueError(f"number {job.id} is wrong")
        if Sometimes.broken:
            job.message = Sometimes.broken
            return JobResult.CANCEL
        return JobResult.OK


@pytest.fixture(autouse=True)
def consumer(db):
    establish(topics=f"{TOPIC},offloading/jobs/bulk")
    Sometimes.broken = "exception"
    with consumers.register_temporarily(Sometimes):
        yield


def fail(count=1) -> str:
    """Have jobs fail, and return the family of the last."""
    for _ in range(count):
        job = manager.add_job(TOPIC, {"n": 1})
        testing.run_waiting()
    return Job.objects.get(id=job.id).family


def detail(fingerprint, query="") -> str:
    return reverse("offloading:family-detail", args=[fingerprint]) + query


def act(name, fingerprint) -> str:
    return reverse(f"offloading:family-{name}", args=[fingerprint])


def page(client, address) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


# --- Which failures -----------------------------------------------------------------------------------------------


def test_list_says_what_failed_how_often_and_where(staff_client):
    key = fail(3)
    shown = page(staff_client, LIST)
    assert detail(key) in shown
    assert "ValueError" in shown and "is wrong" in shown
    assert "<strong>3</strong>" in shown
    assert f"{__name__.rpartition('.')[2]}:" in shown.replace("<wbr>", "")


def test_list_without_failures_says_so(staff_client):
    assert "No failures" in page(staff_client, LIST)


def test_list_finds_by_words_and_says_when_nothing_matches(staff_client):
    key = fail()
    assert detail(key) in page(staff_client, f"{LIST}?q=valueerror+family")
    assert "Nothing matches" in page(staff_client, f"{LIST}?q=elephant")
    assert "Nothing matches" in page(staff_client, f"{LIST}?q=a%00b+elephant")


def test_list_can_be_ordered_by_the_latest(staff_client):
    many = fail(2)
    Sometimes.broken = "Disk full"
    late = fail()
    shown = page(staff_client, LIST)
    assert shown.index(detail(many)) < shown.index(detail(late))
    shown = page(staff_client, f"{LIST}?order=latest")
    assert shown.index(detail(late)) < shown.index(detail(many))


def test_list_says_that_there_are_more_than_it_shows(staff_client):
    FailureFamily.objects.bulk_create(FailureFamily(fingerprint=f"{n:032x}", topic="a") for n in range(201))
    Job.objects.bulk_create(
        Job(id=ids.uuid7(), topic="a", queue="q", application="x", state="ERROR", family=f"{n:032x}",
            finished_at=timezone.now())
        for n in range(201)
    )  # fmt: skip
    assert "Only the first 200 are shown" in page(staff_client, LIST)


def test_fragment_is_the_live_part_of_the_page(staff_client):
    key = fail()
    for address, part in ((LIST, 'id="families"'), (detail(key), 'id="family"')):
        fragment = staff_client.get(address, headers={"HX-Request": "true"}).content.decode()
        assert fragment.strip().startswith("<div") and part in fragment


# --- One failure --------------------------------------------------------------------------------------------------


def test_detail_shows_traceback_place_and_jobs(staff_client):
    key = fail(12)
    shown = page(staff_client, detail(key))
    assert "Traceback (most recent call last):" in shown
    assert "Sometimes.process" in shown.replace("<wbr>", "")
    assert "12 jobs" in shown
    assert f"{reverse('offloading:job-list')}?family={key}" in shown
    assert "The latest 10." in shown


def test_detail_of_a_failure_without_exception_shows_its_message(staff_client):
    Sometimes.broken = "Disk 7 is full"
    shown = page(staff_client, detail(fail()))
    assert "Disk 7 is full" in shown
    assert "reported the failure itself" in shown


def test_detail_of_a_failure_that_is_over_says_so(staff_client):
    key = fail()
    Job.objects.all().delete()
    assert "No job stands here with this failure any more" in page(staff_client, detail(key))


def test_detail_asks_as_often_for_many_jobs_as_for_few(staff_client, django_assert_max_num_queries):
    key = fail(10)
    with django_assert_max_num_queries(12):
        page(staff_client, detail(key))


def test_unknown_failure_is_not_found(staff_client):
    assert staff_client.get(detail("f" * 32)).status_code == 404
    assert staff_client.post(act("retry-one", "f" * 32)).status_code == 404


# --- Trying again -------------------------------------------------------------------------------------------------


def test_retried_job_that_succeeds_makes_retrying_all_the_thing_to_do(staff_client):
    key = fail(3)
    answer = staff_client.post(act("retry-one", key))
    assert answer.status_code == 302
    assert "The retried job waits for its turn" in page(staff_client, answer.url)
    Sometimes.broken = ""
    testing.run_waiting()
    shown = page(staff_client, answer.url)
    assert "The retried job succeeded" in shown
    assert 'id="retry-all-now"' in shown and "Retry all 2" in shown


def test_retried_job_that_fails_again_says_with_what(staff_client):
    key = fail(2)
    answer = staff_client.post(act("retry-one", key))
    testing.run_waiting()
    shown = page(staff_client, answer.url)
    assert "The retried job failed again" in shown
    assert 'id="retry-all-now"' not in shown
    assert Job.objects.filter(family=key).count() == 2


def test_retried_job_that_fails_otherwise_leads_to_that_failure(staff_client):
    key = fail(2)
    answer = staff_client.post(act("retry-one", key))
    Sometimes.broken = "Disk full"
    testing.run_waiting()
    shown = page(staff_client, answer.url)
    assert "failed with another failure" in shown
    other = FailureFamily.objects.get(message="Disk full").pk
    assert detail(other) in shown


def test_the_latest_job_is_the_one_that_is_retried(staff_client):
    key = fail(3)
    latest = Job.objects.filter(family=key).latest("finished_at")
    staff_client.post(act("retry-one", key))
    assert Job.objects.get(state=JobState.QUEUED).id == latest.id


def test_copies_are_retried_where_they_came_from(staff_client):
    key = fail()
    Job.objects.update(origin="there")
    answer = staff_client.post(act("retry-one", key), follow=True)
    assert "No failed job of this family can be retried here" in answer.content.decode()
    assert not Job.objects.exclude(state=JobState.ERROR).exists()


def test_all_are_retried_by_one_job(staff_client):
    key = fail(5)
    answer = staff_client.post(act("retry-all", key))
    assert answer.status_code == 302
    Sometimes.broken = ""
    testing.run_waiting()
    assert not Job.objects.filter(family=key).exists()
    assert Job.objects.filter(topic=TOPIC, state=JobState.SUCCEEDED).count() == 5
    shown = page(staff_client, answer.url)
    assert 'id="work"' in shown
    assert "No job stands here with this failure any more" in shown


def test_all_are_removed_by_one_job(staff_client):
    key = fail(5)
    Sometimes.broken = "Disk full"
    other = fail()
    staff_client.post(act("remove", key))
    testing.run_waiting()
    assert not Job.objects.filter(family=key).exists()
    assert Job.objects.filter(family=other).count() == 1


@pytest.mark.parametrize("name", ["retry-one", "retry-all", "remove"])
def test_reader_may_look_and_no_more(reader_client, name):
    key = fail()
    shown = page(reader_client, detail(key))
    assert shown.count("Changing jobs is for staff") == 3
    assert reader_client.post(act(name, key)).status_code == 403
    assert reader_client.get(act(name, key)).status_code == 405
    assert Job.objects.get().state == JobState.ERROR


# --- What the pages say -------------------------------------------------------------------------------------------


def test_long_message_is_cut_visibly():
    assert screen.heading(FailureFamily(message="x" * 200)) == "x" * 119 + "…"


@pytest.mark.parametrize(
    ("error", "message", "heading", "said"),
    [
        ("ValueError", "  raise\nValueError: no", "ValueError", "no"),
        ("acme.mail.Refused", "acme.mail.Refused: 550: no such user", "Refused", "550: no such user"),
        ("KeyError", "KeyError", "KeyError", ""),
        ("TimeLimitExceeded", "It took too long.", "TimeLimitExceeded", "It took too long."),
        ("", "Disk full\nsecond line", "Disk full", ""),
        ("", "", "Failure without a message", ""),
    ],
)
def test_failure_is_called_by_its_exception_or_its_message(error, message, heading, said):
    family = FailureFamily(fingerprint="0", topic="a", error=error, message=message)
    assert (screen.heading(family), screen.said(message, family)) == (heading, said)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.b:C.process:17", ("a.b", "C.process", "17")),
        ("a:f.<locals>.<lambda>:3", ("a", "f.<locals>.<lambda>", "3")),
        ("", None),
        ("cut", None),
    ],
)
def test_place_is_read_in_parts(text, parts):
    place = screen.Place.read(text)
    assert (place and (place.module, place.function, place.line)) == parts


@pytest.mark.parametrize(
    ("columns", "title", "is_moving"),
    [
        ({"state": "QUEUED", "target": "x"}, "waits for its turn", True),
        ({"state": "QUEUED"}, "no instance takes its topic", False),
        ({"state": "QUEUED", "target": "x", "result_message": "no"}, "failed once more", True),
        ({"state": "ACTIVE", "target": "x"}, "runs", True),
        ({"state": "SUCCEEDED"}, "succeeded", False),
        ({"state": "GIVEN_UP", "family": "f"}, "failed again", False),
        ({"state": "ERROR", "family": "g"}, "another failure", False),
        ({"state": "STOPPED"}, "was stopped", False),
        ({"state": "DROPPED"}, "was dropped", False),
    ],
)
def test_trial_tells_how_the_retried_job_is_doing(columns, title, is_moving):
    trial = screen.trial_of(Job(topic="a", **columns), "f")
    assert title in trial.title
    assert trial.is_moving == is_moving
    assert trial.has_succeeded == (columns["state"] == "SUCCEEDED")


def test_trial_of_a_job_that_is_gone_says_so():
    assert "not here any more" in screen.trial_of(None, "f").title


def test_log_is_shown_from_its_traceback_on():
    assert screen.traceback_of("a\nTraceback (most recent call last):\nb") == "Traceback (most recent call last):\nb"
    assert screen.traceback_of("a\nb") == "a\nb"
