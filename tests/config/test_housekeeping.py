"""What the agent clears away, and which instance of a cluster does it."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from config.housekeeping import Housekeeping
from offloading.jobs import ids
from offloading.models import Job
from tests.offloading.topologies import establish
from topology.models import View

pytestmark = pytest.mark.django_db


@pytest.fixture
def old_job():
    """A job that ended long ago."""
    ended_at = timezone.now() - timedelta(days=400)
    return Job.objects.create(
        id=ids.uuid7(), topic="a/b", queue="q", application="here", state="ERROR", finished_at=ended_at
    )


def test_leader_cleans_the_history_up(old_job):
    establish(topics="")
    Housekeeping(threading.Event()).clean()
    assert not Job.objects.exists()


def test_who_is_not_leader_leaves_the_history_alone(old_job):
    establish("other", topics="")
    View.objects.update(leader="other")
    Housekeeping(threading.Event()).clean()
    assert Job.objects.exists()


def test_who_is_told_to_stop_stops_after_a_batch(old_job):
    establish(topics="")
    for _ in range(300):
        Job.objects.create(
            id=ids.uuid7(), topic="a", queue="q", application="x", state="ERROR", finished_at=old_job.finished_at
        )
    stop = threading.Event()
    stop.set()
    Housekeeping(stop).clean()
    assert 0 < Job.objects.count() < 301
