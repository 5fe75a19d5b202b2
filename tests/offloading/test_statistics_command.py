import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from offloading.jobs import statistics
from offloading.jobs.statistics import Entry
from offloading.models import StatisticsReset
from topology import identity

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def busy():
    statistics.count([Entry("mail", "acme/mail/send", started=2, finished=2, waiting_ms=10, processing_ms=300)])
    statistics.count([Entry("pictures", "acme/scale", failed=1)])


def jobs(*arguments):
    out = StringIO()
    call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def test_everything_each_queue_and_each_topic_is_told():
    lines = [line.split() for line in jobs("statistics").splitlines() if line]

    assert [line[0] for line in lines] == [
        *("everything", "-"),
        *("queue", "mail", "pictures"),
        *("topic", "acme/mail/send", "acme/scale"),
    ]
    assert lines[3][1:8] == ["2", "0", "0", "0", "0", "5", "150"]
    assert lines[6][1:6] == ["2", "0", "0", "-", "-"]


def test_json_has_slings_names():
    told = json.loads(jobs("statistics", "--json"))

    assert (told["numberOfFinishedJobs"], told["numberOfProcessedJobs"], told["averageProcessingTime"]) == (2, 3, 150)
    assert [each["name"] for each in told["queues"]] == ["mail", "pictures"]
    assert [each["numberOfFailedJobs"] for each in told["topics"]] == [0, 1]


def test_one_queue_is_told_alone():
    assert json.loads(jobs("statistics", "--queue", "mail", "--json")) == statistics.of_queue("mail").as_json()
    assert "pictures" not in jobs("statistics", "--queue", "mail")


def test_one_instance_is_told_alone():
    assert json.loads(jobs("statistics", "--instance", "another", "--json"))["numberOfProcessedJobs"] == 0
    told = json.loads(jobs("statistics", "--instance", identity.sling_id(), "--json"))
    assert told["numberOfProcessedJobs"] == 3


def test_a_queue_is_reset():
    assert jobs("statistics-reset", "--queue", "mail", "--by", "ann") == "The statistics of mail begin now.\n"
    assert statistics.of_queue("mail").finished == 0
    assert statistics.of_queue("pictures").failed == 1
    assert StatisticsReset.objects.get().reset_by == "ann"


def test_everything_is_reset():
    assert jobs("statistics-reset") == "The statistics of all queues and topics begin now.\n"
    assert statistics.of_everything().processed == 0


def test_a_queue_without_statistics_is_refused():
    with pytest.raises(CommandError, match="Queue 'nothing' has no statistics"):
        jobs("statistics-reset", "--queue", "nothing")
