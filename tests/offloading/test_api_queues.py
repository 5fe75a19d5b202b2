from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from offloading.jobs import configuration, pauses
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.models import Job, Pause, QueueConfiguration
from tests.offloading import stored
from tests.offloading.api import wrong

MAIN = "%3Cmain%20queue%3E"
MAIL = {"topics": ["acme/mail/*"], "max_parallel": 0.5, "retries": 3, "type": "ORDERED"}


# --- Configurations -----------------------------------------------------------------------------------------------


def test_queues_are_listed(looker, db):
    configuration.put(QueueSettings("mail", ("acme/mail/*",)), by="ann")
    stored.store(queue="mail")
    found = looker.get("queues/").json()["queues"]
    assert [each["name"] for each in found] == ["mail", MAIN_QUEUE]
    assert (found[0]["ready"], found[0]["settings"]["topics"], found[0]["pause"]) == (1, ["acme/mail/*"], None)
    assert len(found[0]["throughput"]) == 60


def test_queue_is_told_with_its_topics(looker, db):
    stored.store()
    found = looker.get(f"queues/{MAIN}/").json()
    assert (found["name"], found["ready"]) == (MAIN_QUEUE, 1)
    assert [each["topic"] for each in found["topics"]] == ["acme/mail/send"]


def test_missing_queue_is_404(looker, db):
    assert "There is no queue 'mail'" in wrong(looker.get("queues/mail/"), 404)[""]


def test_queue_is_configured_and_takes_its_jobs(staff, db):
    stored.store()
    answer = staff.put("queues/mail/", MAIL)
    assert answer.status_code == 201
    assert answer.json()["settings"] == {
        "backoff_factor": 1.0,
        "jitter": 0.0,
        "keep_jobs": False,
        "max_retry_delay_seconds": 3600.0,
        "prefer_run_on_creation_instance": False,
        "priority": "NORM",
        "ranking": 0,
        "retry_delay_seconds": 2.0,
        "retry_on_exception": False,
        "time_limit_seconds": 0.0,
        **MAIL,
    }
    assert Job.objects.get().queue == "mail"
    assert QueueConfiguration.objects.get().changed_by == "admin"


def test_configuring_twice_is_harmless(staff, db):
    first, second = staff.put("queues/mail/", MAIL), staff.put("queues/mail/", MAIL)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_main_queue_is_changed_and_gets_its_defaults_back(staff, db):
    assert staff.put(f"queues/{MAIN}/", {"topics": ["*"], "retries": 1}).status_code == 200
    assert configuration.get(MAIN_QUEUE).retries == 1
    assert staff.delete(f"queues/{MAIN}/").status_code == 204
    assert configuration.get(MAIN_QUEUE).retries == 10


def test_queue_is_removed_once(staff, db):
    staff.put("queues/mail/", MAIL)
    assert staff.delete("queues/mail/").status_code == 204
    wrong(staff.delete("queues/mail/"), 404)


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("mail", {}, "topics"),
        ("mail", {"topics": []}, "topics"),
        ("mail", {"topics": ["a//b"]}, "topics"),
        ("mail", {"topics": [5]}, "topics.0"),
        ("mail", {"topics": ["*"] * 501}, "topics"),
        ("mail", {"topics": ["*"], "type": "FAST"}, "type"),
        ("mail", {"topics": ["*"], "priority": "HUGE"}, "priority"),
        ("mail", {"topics": ["*"], "max_parallel": 0}, "max_parallel"),
        ("mail", {"topics": ["*"], "retries": -2}, "retries"),
        ("mail", {"topics": ["*"], "jitter": 2}, "jitter"),
        ("mail", {"topics": ["*"], "keep_jobs": "yes"}, "keep_jobs"),
        ("mail", {"topics": ["*"], "name": "other"}, "name"),
        ("2mail", {"topics": ["*"]}, "name"),
        ("x" * 256, {"topics": ["*"]}, "name"),
        (MAIN, {"topics": ["acme/*"]}, "topics"),
    ],
)
def test_wrong_settings_say_field_and_remedy(staff, db, name, body, field):
    assert field in wrong(staff.put(f"queues/{name}/", body))
    assert not QueueConfiguration.objects.exists()


def test_list_costs_the_same_for_many_paused_queues(looker, db):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert looker.get("queues/").status_code == 200
        return len(captured)

    def add(name):
        configuration.put(QueueSettings(name, (f"acme/{name}",)), by="ann")
        pauses.pause(kind=Pause.Kind.QUEUE, name=name, by="ann")

    add("first")
    few = queries()
    for number in range(10):
        add(f"q{number}")
    assert queries() == few


# --- Pauses -------------------------------------------------------------------------------------------------------


def test_queue_is_paused_and_resumed_twice(staff, db):
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    for reason in ("first", "second"):
        found = staff.post(f"queues/{MAIN}/pause/", {"reason": reason, "until": until}).json()
        assert (found["kind"], found["reason"], found["paused_by"]) == ("QUEUE", reason, "admin")
    assert staff.get(f"queues/{MAIN}/").json()["pause"]["reason"] == "second"
    answers = [staff.post(f"queues/{MAIN}/resume/").json() for _ in range(2)]
    assert answers == [{"was_paused": True}, {"was_paused": False}]


def test_queue_is_paused_without_saying_why(staff, db):
    assert staff.post(f"queues/{MAIN}/pause/").json()["until"] is None


def test_unknown_queue_cannot_be_paused(staff, db):
    assert "There is no queue" in wrong(staff.post("queues/mail/pause/", {}), 404)[""]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2000-01-01T00:00:00Z"}, "until"),
        ({"until": "2100-01-01T00:00:00"}, "until"),
        ({"reason": "x" * 501}, "reason"),
        ({"why": "x"}, "why"),
    ],
)
def test_wrong_pause_says_field_and_remedy(staff, db, body, field):
    assert field in wrong(staff.post(f"queues/{MAIN}/pause/", body))
    assert field in wrong(staff.post("topics/pauses/", {"topic": "acme/mail", **body}))
    assert not Pause.objects.exists()


@pytest.mark.parametrize("topic", ["acme/mail/send", "acme/**"])
def test_topic_is_paused_and_resumed(staff, looker, db, topic):
    assert staff.post("topics/pauses/", {"topic": topic, "reason": "why"}).json()["name"] == topic
    assert [each["name"] for each in looker.get("topics/pauses/").json()["pauses"]] == [topic]
    answers = [staff.delete(f"topics/pauses/{topic}/").json() for _ in range(2)]
    assert answers == [{"was_paused": True}, {"was_paused": False}]


@pytest.mark.parametrize("topic", ["", "a//b", "acme/*", 5])
def test_wrong_topic_cannot_be_paused(staff, db, topic):
    assert "topic" in wrong(staff.post("topics/pauses/", {"topic": topic}))
