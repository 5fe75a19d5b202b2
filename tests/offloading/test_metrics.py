from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from offloading.jobs import ids, metrics, pauses, statistics
from offloading.jobs.queues import MAIN_QUEUE
from offloading.jobs.statistics import Entry, Statistics
from offloading.models import Job, JobState, Pause, ScheduledJob

MAIL = ("mail", "acme/mail/send")


def job(queue="mail", **columns):
    return Job.objects.create(id=ids.uuid7(), topic="acme/mail/send", queue=queue, application="one", **columns)


# --- Sling's gauges -----------------------------------------------------------------------------------------------


def test_gauges_have_slings_names(db):
    statistics.count([Entry(*MAIL, started=2, finished=1, failed=1, cancelled=3, waiting_ms=100, processing_ms=40)])
    job(target="one")
    job(target="one", state=JobState.ACTIVE)
    ScheduledJob.objects.create(name="nightly", topic="acme/mail/send", application="one")

    values = {
        ".finished.count": 1,
        ".cancelled.count": 3,
        ".failed.count": 1,
        ".queued.count": 1,
        ".processed.count": 5,
        ".active.count": 1,
        ".averageWaitingTime": 50,
        ".averageProcessingTime": 40,
    }
    of_everything = {f"event.jobs{suffix}": value for suffix, value in values.items()}
    of_mail = {f"event.jobs.queue.mail{suffix}": value for suffix, value in values.items()}
    assert metrics.inventory() == of_everything | of_mail | {"event.scheduledJobs.count": 1}


def test_gauges_of_one_instance_are_its_own(db):
    statistics.count([Entry(*MAIL, finished=1)])

    assert metrics.inventory(instance="another") == {
        **{name: 0 for name in metrics.inventory() if ".queue." not in name},
    }


@pytest.mark.parametrize(
    ("queues", "names"),
    [
        (["Mail"], ["mail"]),
        (["<main queue>"], ["_main_queue_"]),
        (["a.b/c-d e"], ["a_b_c_d_e"]),
        (["Bücher"], ["b_cher"]),
        (["a b", "a-b", "a.b"], ["a_b", "a_b_1", "a_b_2"]),
        # The number may meet a queue that is really called so.
        (["a", "A", "a_1"], ["a", "a_1", "a_1_1"]),
    ],
)
def test_names_of_queues_become_names_of_gauges(queues, names):
    assert list(metrics.named(Statistics(queue) for queue in queues)) == names


def test_the_twelfth_queue_that_is_called_alike_is_the_last():
    found = metrics.named(Statistics(f"a{sign}b") for sign in "!#$%&'()*+,-./")

    assert list(found) == ["a_b", *(f"a_b_{number}" for number in range(1, 12))]
    assert found["a_b_11"].name == "a-b"


# --- Prometheus ---------------------------------------------------------------------------------------------------


def samples():
    """Return what Prometheus reads: {(sample, label values in the order of their names): value}."""
    page, _ = metrics.exposition()
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_was_counted_is_by_queue_topic_and_outcome(db):
    statistics.count([Entry(*MAIL, started=4, finished=2, failed=1, cancelled=3, waiting_ms=1500, processing_ms=250)])

    found = samples()
    assert found["offloading_job_attempts_total", "cancelled", *MAIL] == 3
    assert found["offloading_job_attempts_total", "failed", *MAIL] == 1
    assert found["offloading_job_attempts_total", "finished", *MAIL] == 2
    assert found["offloading_job_waiting_seconds_sum", *MAIL] == 1.5
    assert found["offloading_job_waiting_seconds_count", *MAIL] == 4
    assert found["offloading_job_processing_seconds_sum", *MAIL] == 0.25
    assert found["offloading_job_processing_seconds_count", *MAIL] == 2


def test_counters_never_fall_even_if_statistics_are_reset(db):
    statistics.count([Entry(*MAIL, finished=2)])
    statistics.reset(by="ann")

    assert samples()["offloading_job_attempts_total", "finished", *MAIL] == 2


def test_what_waits_is_told_by_why_it_waits(db):
    now = timezone.now()
    for _ in range(3):
        job(target="one")
    job(target="")
    job(target="one", not_before=now + timedelta(hours=1), queued_at=now - timedelta(days=9))
    job(target="one", queued_at=now - timedelta(minutes=10))
    job(target="one", state=JobState.ACTIVE)
    job(target="one", state=JobState.ERROR)

    found = samples()
    waiting = {state: found["offloading_jobs_waiting", "mail", state] for state in ("ready", "delayed", "unassigned")}
    assert waiting == {"ready": 4, "delayed": 1, "unassigned": 1}
    assert found["offloading_jobs_active", "mail"] == 1
    assert found["offloading_oldest_waiting_seconds", "mail"] == pytest.approx(600, abs=5)


def test_a_queue_in_which_nothing_waits_is_told_as_zero(db):
    statistics.count([Entry(*MAIL, finished=1)])

    found = samples()
    assert found["offloading_jobs_waiting", "mail", "ready"] == 0
    assert found["offloading_jobs_active", "mail"] == found["offloading_oldest_waiting_seconds", "mail"] == 0


def test_pauses_schedules_and_instances_are_told(db):
    pauses.pause(kind=Pause.Kind.QUEUE, name=MAIN_QUEUE, by="ann")
    pauses.pause(kind=Pause.Kind.TOPIC, name="acme/**", by="ann")

    found = samples()
    assert found["offloading_queue_paused", MAIN_QUEUE] == 1
    assert found["offloading_topic_paused", "acme/**"] == 1
    assert found["offloading_scheduled_jobs",] == found["offloading_instances",] == 0


def test_each_family_is_explained(db):
    page, content_type = metrics.exposition()

    assert content_type.startswith("text/plain")
    families = list(text_string_to_metric_families(page.decode()))
    assert families
    assert all(family.documentation and family.name.startswith("offloading_") for family in families)


def test_who_reads_openmetrics_gets_it(db):
    page, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


# --- Who may read it ----------------------------------------------------------------------------------------------


@pytest.fixture
def token(settings):
    settings.OFFLOADING_METRICS_TOKEN = "s3cret"


def ask(client, authorization=""):
    return client.get("/metrics", headers={"Authorization": authorization} if authorization else {})


def test_staff_may_read_it(staff_client):
    page = ask(staff_client)

    assert page.status_code == 200
    assert b"offloading_instances 0.0" in page.content
    assert "no-store" in page.headers["Cache-Control"]


def test_a_reader_may_not(reader_client):
    assert ask(reader_client).status_code == 403


@pytest.mark.parametrize("authorization", ["Bearer s3cret", "bearer  s3cret"])
def test_who_has_the_token_may(db, token, authorization):
    assert ask(Client(), authorization).status_code == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer é"]
)
def test_who_has_not_is_asked_for_it(db, token, authorization):
    answer = ask(Client(), authorization)

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "Bearer None"])
def test_without_a_token_none_fits(db, settings, authorization):
    settings.OFFLOADING_METRICS_TOKEN = ""
    assert ask(Client(), authorization).status_code == 401


def test_a_wrong_token_is_wrong_for_staff_too(staff_client, token):
    assert ask(staff_client, "Bearer wrong").status_code == 401


def test_it_is_only_read(db, token):
    assert Client().post("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 405
