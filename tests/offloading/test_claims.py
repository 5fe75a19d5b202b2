"""Taking waiting jobs: which are due, in which order, and that nobody takes one twice."""

from datetime import timedelta

import pytest
from django.utils import timezone

from offloading.jobs import claims, manager
from offloading.models import Job, JobState
from tests.offloading.topologies import establish

pytestmark = pytest.mark.django_db
TOPIC = "test/claims"


@pytest.fixture
def local():
    return establish("second", topics=TOPIC)


def add(target, **options):
    job = manager.add_job(TOPIC, **options)
    Job.objects.filter(id=job.id).update(target=target)
    return job.id


def due(*targets, limit=10):
    return [row.job_id for row in claims.due(targets=targets, limit=limit)]


def claim(rows, run_id="run"):
    return claims.claim(rows, run_id=run_id, instance="one", label="one:4502")


def test_due_are_ordered_by_priority_then_by_age(local):
    first, second, urgent = add("one"), add("one"), add("one", priority=1)
    assert due("one") == [urgent, first, second]
    assert due("one", limit=1) == [urgent]


def test_only_jobs_of_the_targets_are_due(local):
    add("two")
    add("")
    assert due("one") == []


@pytest.mark.parametrize(("seconds", "is_due"), [(-60, True), (60, False)])
def test_job_is_due_only_after_its_time(local, seconds, is_due):
    job = add("one", not_before=timezone.now() + timedelta(seconds=seconds))
    assert due("one") == ([job] if is_due else [])


def test_claim_raises_the_fence_and_opens_an_attempt(local):
    job = add("one")
    (claimed,) = claim(claims.due(targets=["one"], limit=1))
    row = Job.objects.get(id=job)
    attempt = row.attempts.get()
    assert (row.state, row.claimed_by, row.fence) == (JobState.ACTIVE, "run", 1)
    assert (claimed.job_id, claimed.fence, claimed.topic) == (job, 1, TOPIC)
    assert (attempt.fence, attempt.instance, attempt.instance_label, attempt.outcome) == (1, "one", "one:4502", "")


def test_job_is_claimed_once_though_two_looked_at_it(local):
    add("one")
    rows = claims.due(targets=["one"], limit=1)
    assert len(claim(rows, "first")) == 1
    assert claim(rows, "second") == []


@pytest.mark.parametrize("change", [{"target": "two"}, {"state": JobState.STOPPED}, {"fence": 5}])
def test_job_that_changed_since_it_was_looked_at_is_not_claimed(local, change):
    add("one")
    rows = claims.due(targets=["one"], limit=1)
    Job.objects.update(**change)
    assert claim(rows) == []


def test_transport_claims_for_instances_of_other_clusters(local):
    job = add("far")
    add("one")
    (claimed,) = claims.claim_for_transport(targets={"far": "far:4502"})
    row = Job.objects.get(id=job)
    assert (claimed.job_id, claimed.target, row.claimed_by) == (job, "far", "remote:far")
    assert claims.remote_target(row.claimed_by) == "far"
    assert row.attempts.get().instance_label == "far:4502"


def test_held_are_those_of_the_run(local):
    add("one")
    claimed = claim(claims.due(targets=["one"], limit=1))
    assert claims.held_by("run") == claimed
    assert claims.held_by("other") == []
