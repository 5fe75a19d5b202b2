from offloading.jobs import statistics
from offloading.jobs.statistics import Entry
from tests.offloading import stored
from tests.offloading.api import wrong
from topology import identity


def test_statistics_are_told(looker, db):
    statistics.count([Entry("mail", "acme/mail", started=2, finished=2, processing_ms=100)])
    stored.store()
    found = looker.get("jobs/statistics/").json()
    assert (found["everything"]["numberOfFinishedJobs"], found["everything"]["numberOfQueuedJobs"]) == (2, 1)
    assert {each["name"]: each["averageProcessingTime"] for each in found["queues"]} == {"mail": 50, "<main queue>": 0}
    assert found["topics"][0]["name"] == "acme/mail"
    assert found["gauges"]["event.jobs.queue.mail.finished.count"] == 2


def test_statistics_of_one_instance_are_told(looker, db):
    statistics.count([Entry("mail", "acme/mail", started=2, finished=2)])
    here = looker.get("jobs/statistics/", instance=identity.sling_id()).json()
    there = looker.get("jobs/statistics/", instance="nobody").json()
    assert (here["everything"]["numberOfFinishedJobs"], there["everything"]["numberOfFinishedJobs"]) == (2, 0)
    assert "place" in wrong(looker.get("jobs/statistics/", place="x"))


def test_statistics_of_a_queue_begin_anew(staff, db):
    statistics.count([Entry("mail", "acme/mail", finished=2), Entry("web", "acme/web", finished=1)])
    for _ in range(2):
        assert staff.post("jobs/statistics/reset/", {"queue": "mail"}).status_code in (204, 404)
    assert [each.name for each in statistics.of_queues() if each.finished] == ["web"]
    assert "no statistics" in wrong(staff.post("jobs/statistics/reset/", {"queue": "none"}), 404)[""]


def test_all_statistics_begin_anew(staff, db):
    statistics.count([Entry("mail", "acme/mail", finished=2)])
    for _ in range(2):
        assert staff.post("jobs/statistics/reset/").status_code == 204
    assert statistics.of_everything().finished == 0
