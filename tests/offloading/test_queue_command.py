"""manage.py jobs: queues and pauses from the command line."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from offloading.jobs import configuration, ids, pauses
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.models import Job, Pause, QueueConfiguration

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = io.StringIO()
    call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def told(*arguments):
    return json.loads(run(*arguments, "--json"))


def test_queue_is_set_with_what_is_given():
    run("queue-set", "mail", "--topics", "acme/mail", "a/*", "--max-parallel", "0.5", "--keep-jobs", "--by", "ann")
    assert configuration.get("mail") == QueueSettings("mail", ("acme/mail", "a/*"), max_parallel=0.5, keep_jobs=True)
    assert QueueConfiguration.objects.get().changed_by == "ann"


def test_set_again_changes_only_what_is_given():
    run("queue-set", "mail/x", "--topics", "acme/mail", "--retries", "3", "--keep-jobs")
    stored = told("queue-set", "mail/x", "--type", "ORDERED", "--no-keep-jobs")
    assert (stored["name"], stored["topics"], stored["retries"]) == ("mail_x", ["acme/mail"], 3)
    assert (stored["type"], stored["keep_jobs"]) == ("ORDERED", False)


def test_main_queue_is_set_without_topics(settings):
    assert "<main queue>" in run("queue-set", MAIN_QUEUE, "--jitter", "0.1")
    main = configuration.named(MAIN_QUEUE)
    assert (main.jitter, main.topics, main.retries) == (0.1, ("*",), settings.OFFLOADING_JOB_RETRIES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["queue-set", "mail"], "topics: Give at least one topic"),
        (["queue-set", "mail", "--topics", "a", "--retries", "-5"], "retries: .*-1 for no end"),
        (["queue-remove", "mail"], "There are: <main queue>"),
        (["pause", "--queue", "mail"], "no queue 'mail'"),
        (["pause", "--topic", "a/*"], "a/\\*\\*"),
        (["pause", "--topic", "a", "--until", "yesterday"], "'yesterday' is not a time"),
        (["pause", "--topic", "a", "--until", "2100-13-01T00:00Z"], "is not a time"),
        (["pause", "--topic", "a", "--until", "2100-01-01T00:00"], "time zone"),
        (["pause"], "--queue --topic"),
        (["nonsense"], "invalid choice"),
    ],
)
def test_what_cannot_be_done_says_why(arguments, said):
    with pytest.raises(CommandError, match=said):
        run(*arguments)
    assert not QueueConfiguration.objects.exists() and not Pause.objects.exists()


def test_queues_are_listed_with_what_they_do():
    configuration.put(QueueSettings("made-{0}", ("a/*",), ranking=3), by="ann")
    Job.objects.create(id=ids.uuid7(), topic="a/b", queue="made-b", application="here")
    pauses.pause(kind=Pause.Kind.QUEUE, name="made-b", by="ann", reason="full disk")
    maker, made, main = told("queues")
    assert (maker["name"], maker["makes_queues"]) == ("made-{0}", True)
    assert (made["name"], made["waiting"], made["running"]) == ("made-b", 1, 0)
    assert made["pause"]["reason"] == "full disk" and made["configuration"]["ranking"] == 3
    assert (main["name"], main["pause"], main["waiting"]) == (MAIN_QUEUE, None, 0)
    lines = run("queues").splitlines()
    assert " ".join(lines[0].split()) == "queue type parallel retries ranking waiting running delayed topics"
    assert " ".join(lines[2].split()) == "made-b UNORDERED 15 10 3 1 0 0 paused a/*"


def test_queue_is_removed():
    run("queue-set", "mail", "--topics", "a")
    assert "not configured any more" in run("queue-remove", "mail")
    assert "default settings" in run("queue-remove", MAIN_QUEUE)
    assert not QueueConfiguration.objects.exists()


def test_pause_and_resume():
    assert run("pauses") == "Nothing is paused.\n"
    said = run("pause", "--topic", "a/**", "--reason", "full disk", "--by", "ann", "--until", "2100-01-01T01:00+01:00")
    assert said == "Topic a/** is paused until 2100-01-01T00:00:00+00:00.\n"
    run("pause", "--queue", MAIN_QUEUE)
    topic, queue = told("pauses")
    assert (topic["kind"], topic["name"], topic["paused_by"], topic["reason"]) == ("TOPIC", "a/**", "ann", "full disk")
    assert (queue["name"], queue["until"]) == (MAIN_QUEUE, None)
    assert "full disk" in run("pauses")
    assert run("resume", "--topic", "a/**") == "Topic a/** goes on.\n"
    assert run("resume", "--topic", "a/**") == "a/** was not paused.\n"
    assert pauses.active().topics == set()
