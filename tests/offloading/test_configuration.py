"""The stored queue configurations: what is read, and what a change of them does to jobs that wait."""

import threading

import pytest
from django.conf import settings
from django.db import connection, transaction

from offloading import exceptions
from offloading.jobs import configuration, ids, processors, queues
from offloading.jobs.configuration import queues_changed
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.models import Job, JobState, QueueConfiguration, QueueType
from tests.live.test_receivers import hints

pytestmark = pytest.mark.django_db


def put(name, *topics, **changes):
    return configuration.put(QueueSettings(name, topics, **changes), by="ann")


def job(topic, queue=MAIN_QUEUE, **columns):
    return Job.objects.create(id=ids.uuid7(), topic=topic, queue=queue, application="here", **columns)


def queue_of(row):
    return Job.objects.get(pk=row.pk).queue


def test_without_configurations_there_is_the_main_queue(settings):
    settings.OFFLOADING_JOB_RETRIES = 3
    settings.OFFLOADING_JOB_RETRY_DELAY_SECONDS = 0.25
    assert configuration.current() == (QueueSettings(MAIN_QUEUE, ("*",), retries=3, retry_delay_seconds=0.25),)
    assert configuration.queue_of("a/b").name == MAIN_QUEUE


def test_configuration_comes_back_as_it_was_put():
    wanted = QueueSettings(
        name="mail",
        topics=("acme/*", "b."),
        type=QueueType.TOPIC_ROUND_ROBIN,
        max_parallel=2.0,
        retries=-1,
        retry_delay_seconds=0.5,
        backoff_factor=2.0,
        max_retry_delay_seconds=60.0,
        jitter=0.2,
        retry_on_exception=True,
        time_limit_seconds=30.0,
        priority="MAX",
        keep_jobs=True,
        prefer_run_on_creation_instance=True,
        ranking=7,
    )
    assert configuration.put(wanted, by="ann") == wanted
    assert configuration.get("mail") == wanted
    assert configuration.queue_of("acme/x/y") == queues.Queue("mail", wanted)
    assert configuration.for_job("b/x") == wanted
    assert QueueConfiguration.objects.get().changed_by == "ann"


def test_name_and_topics_are_tidied():
    assert put(" mail/{0} ", " a/* ", "").name == "mail_{0}"
    assert configuration.get("mail_{0}").topics == ("a/*",)


def test_putting_again_replaces():
    put("mail", "a")
    put("mail", "b", retries=1)
    assert QueueConfiguration.objects.count() == 1
    assert configuration.get("mail").topics == ("b",)


def test_configurations_stand_in_the_order_in_which_they_are_asked():
    put("low", "a", ranking=-1)
    put("first", "a")
    put("second", "a")
    put("high", "a", ranking=9)
    put(MAIN_QUEUE, "*", retries=1)
    assert [each.name for each in configuration.current()] == ["high", "first", "second", "low", MAIN_QUEUE]


def test_changing_one_does_not_move_it_behind_its_equals():
    put("first", "a")
    put("second", "a")
    put("first", "a", retries=1)
    assert configuration.queue_of("a").name == "first"


def test_wrong_settings_change_nothing():
    put("mail", "a")
    with pytest.raises(exceptions.QueueInvalid, match="retries: .*topics: |topics: .*retries: "):
        put("mail", "a//b", retries=-4)
    assert configuration.get("mail").topics == ("a",)


def test_share_too_small_for_this_machine_is_refused():
    with pytest.raises(exceptions.QueueInvalid, match="less than one job"):
        put("mail", "a", max_parallel=0.4 / processors.count())


# --- The main queue -----------------------------------------------------------------------------------------------


def test_main_queue_can_be_changed_and_gets_its_defaults_back(settings):
    put(MAIN_QUEUE, "*", retries=1, type=QueueType.ORDERED)
    assert configuration.queue_of("x").settings.type == QueueType.ORDERED
    configuration.remove(MAIN_QUEUE, by="ann")
    assert configuration.named(MAIN_QUEUE).retries == settings.OFFLOADING_JOB_RETRIES
    configuration.remove(MAIN_QUEUE, by="ann")


def test_main_queue_takes_all_topics():
    with pytest.raises(exceptions.QueueInvalid, match="always"):
        put(MAIN_QUEUE, "a/*")


# --- By the name on a job -----------------------------------------------------------------------------------------


def test_settings_are_found_by_the_name_of_a_queue():
    placeholder = put("q-{0}", "a/*", retries=1)
    plain = put("q-x", "b", retries=2)
    assert configuration.named("q-b_c") == placeholder
    assert configuration.named("q-x") == plain
    assert configuration.named("gone").name == MAIN_QUEUE


def test_missing_configuration_names_those_there_are():
    put("mail", "a")
    with pytest.raises(exceptions.QueueMissing, match="'post'.*mail, <main queue>"):
        configuration.get("post")
    with pytest.raises(exceptions.QueueMissing):
        configuration.remove("post", by="ann")


# --- Waiting jobs -------------------------------------------------------------------------------------------------


def test_waiting_jobs_move_to_their_new_queue():
    mail, other = job("acme/mail"), job("acme/other")
    put("q-{0}", "acme/*")
    assert (queue_of(mail), queue_of(other)) == ("q-mail", "q-other")
    put("mail", "acme/mail", ranking=1)
    assert (queue_of(mail), queue_of(other)) == ("mail", "q-other")
    configuration.remove("mail", by="ann")
    configuration.remove("q-{0}", by="ann")
    assert (queue_of(mail), queue_of(other)) == (MAIN_QUEUE, MAIN_QUEUE)


def test_long_line_moves_part_by_part(monkeypatch):
    monkeypatch.setattr(configuration, "_MOVED_AT_ONCE", 2)
    for _ in range(5):
        job("acme/mail")
    other = job("acme/other")
    put("mail", "acme/mail")
    assert Job.objects.filter(queue="mail").count() == 5
    assert queue_of(other) == MAIN_QUEUE


def test_delayed_and_unassigned_jobs_move_too():
    put("mail", "acme/mail")
    late = job("acme/mail", queue="old", not_before="2100-01-01T00:00Z", target="somewhere")
    assert configuration.settle() == 1
    assert queue_of(late) == "mail"
    assert configuration.settle() == 0


@pytest.mark.parametrize("state", [JobState.ACTIVE, JobState.SUCCEEDED, JobState.ERROR])
def test_jobs_that_do_not_wait_keep_their_queue(state):
    running = job("acme/mail", state=state)
    put("mail", "acme/mail")
    assert queue_of(running) == MAIN_QUEUE


@pytest.mark.skipif(settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"), reason="SQLite locks no rows")
@pytest.mark.django_db(transaction=True)
def test_change_does_not_wait_for_jobs_that_are_being_started():
    free, starting = job("acme/mail"), job("acme/mail")
    locked, changed = threading.Event(), threading.Event()

    def start():
        try:
            with transaction.atomic():
                Job.objects.select_for_update().get(pk=starting.pk)
                locked.set()
                changed.wait(10)
        finally:
            connection.close()

    starter = threading.Thread(target=start)
    starter.start()
    assert locked.wait(10)
    put("mail", "acme/mail")
    changed.set()
    starter.join()
    assert (queue_of(free), queue_of(starting)) == ("mail", MAIN_QUEUE)
    assert configuration.settle() == 1


# --- Telling ------------------------------------------------------------------------------------------------------


def test_change_is_told_to_the_screens():
    put("mail", "a")
    assert ("queues", "") in hints()


def test_change_wakes_everybody(monkeypatch, django_capture_on_commit_callbacks):
    said = []
    monkeypatch.setattr("topology.wakeup._send", lambda *message: said.append(message))
    with django_capture_on_commit_callbacks(execute=True):
        put("mail", "a")
    assert said == [("queues", ""), ("jobs", "")]


def test_refused_change_is_not_told():
    heard = []
    with pytest.raises(exceptions.QueueInvalid):
        put("mail")
    queues_changed.connect(lambda **_: heard.append(1), weak=False, dispatch_uid="test")
    try:
        with pytest.raises(exceptions.QueueMissing):
            configuration.remove("mail", by="ann")
    finally:
        queues_changed.disconnect(dispatch_uid="test")
    assert heard == []


# --- Remembering --------------------------------------------------------------------------------------------------


def test_what_was_read_is_kept_for_a_moment(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(configuration, "CACHE_SECONDS", 60.0)
    with django_assert_num_queries(1):
        configuration.queue_of("a")
        configuration.queue_of("a")
        configuration.named("mail")
        configuration.current()
    QueueConfiguration.objects.create(name="mail", topics=["a"])
    assert configuration.queue_of("a").name == MAIN_QUEUE
    configuration.forget()
    assert configuration.queue_of("a").name == "mail"


def test_own_change_is_seen_at_once(monkeypatch):
    monkeypatch.setattr(configuration, "CACHE_SECONDS", 60.0)
    assert configuration.queue_of("a").name == MAIN_QUEUE
    put("mail", "a")
    assert configuration.queue_of("a").name == "mail"
