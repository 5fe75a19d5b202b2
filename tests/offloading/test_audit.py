import logging

import pytest

from offloading.jobs import audit, ids, signals
from offloading.jobs.signals import JobChange

LOGGER = "offloading.jobs.audit"


@pytest.mark.parametrize(
    ("previous", "state", "target", "words"),
    [
        ("", "QUEUED", "one", ("ADD OK", "ASSIGN OK")),
        ("", "QUEUED", "", ("ADD OK", "UNASSIGN OK")),
        ("GIVEN_UP", "QUEUED", "one", ("ADD OK", "ASSIGN OK")),
        ("QUEUED", "QUEUED", "two", ("REASSIGN OK",)),
        ("QUEUED", "QUEUED", "", ("REUNASSIGN OK",)),
        ("QUEUED", "ACTIVE", "one", ("START OK",)),
        ("ACTIVE", "SUCCEEDED", "one", ("FINISHED",)),
        ("ACTIVE", "QUEUED", "one", ("FINISHED", "ASSIGN OK")),
        ("QUEUED", "DROPPED", "one", ("FINISHED",)),
        ("DROPPED", "", "one", ("REMOVE OK",)),
    ],
)
def test_each_step_has_slings_words(previous, state, target, words):
    assert audit.step(JobChange(ids.uuid7(), "acme/mail", state, previous, "mail", "", target)) == words


def test_a_step_is_written_with_its_facts_when_it_is_committed(db, caplog, django_capture_on_commit_callbacks):
    change = JobChange(ids.uuid7(), "acme/mail", "ERROR", "ACTIVE", "mail", "", "one")
    with caplog.at_level(logging.DEBUG, logger=LOGGER), django_capture_on_commit_callbacks(execute=True):
        signals.tell(change)
        assert caplog.messages == []

    (record,) = caplog.records
    facts = [record.getMessage(), record.job, record.topic, record.queue, record.instance, record.state]
    assert facts == ["FINISHED", change.job_id, "acme/mail", "mail", "one", "ERROR"]


def test_what_is_no_change_of_a_job_can_be_said_too(db, caplog, django_capture_on_commit_callbacks):
    with caplog.at_level(logging.DEBUG, logger=LOGGER), django_capture_on_commit_callbacks(execute=True):
        audit.say("SCHEDULED OK", schedule="nightly")

    assert [(record.getMessage(), record.schedule) for record in caplog.records] == [("SCHEDULED OK", "nightly")]


def test_it_costs_nothing_while_the_level_is_off(db, caplog, django_capture_on_commit_callbacks):
    with caplog.at_level(logging.INFO, logger=LOGGER), django_capture_on_commit_callbacks() as callbacks:
        audit.on_jobs_changed((JobChange(ids.uuid7(), "acme/mail", "ERROR", "ACTIVE"),))
        audit.say("SCHEDULED OK")

    assert callbacks == []
