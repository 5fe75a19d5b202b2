"""Taking waiting jobs: which may start, in which order, and that nobody takes one twice."""

from datetime import timedelta

import pytest
from django.utils import timezone

from offloading.jobs import claims, configuration, manager, outcomes, pauses
from offloading.jobs.claims import Holder
from offloading.jobs.outcomes import Ending, Kind
from offloading.jobs.queues import Queue, QueueSettings
from offloading.models import Job, JobState, Pause, QueueType
from tests.offloading.topologies import establish

pytestmark = pytest.mark.django_db
TOPIC = "test/claims"


@pytest.fixture
def local():
    return establish("second", topics="test/**")


def add(target="one", topic=TOPIC, **options):
    job = manager.add_job(topic, **options)
    Job.objects.filter(id=job.id).update(target=target)
    return job.id


def claim(target="one", *, limit=10, run_id="run", topic=TOPIC, **options):
    queue = configuration.queue_of(topic)
    holder = Holder(run_id, target, f"{target}:4502")
    return claims.claim(target=target, queue=queue, limit=limit, holder=holder, **options)


def claimed(*arguments, **options):
    return [each.job_id for each in claim(*arguments, **options)]


def put(type, name="the queue", topics=("test/**",)):
    configuration.put(QueueSettings(name=name, topics=topics, type=type), by="ann")


def test_higher_priority_first_then_the_older(local):
    first, second, urgent = add(), add(), add(priority=1)
    assert claimed(limit=1) == [urgent]
    assert claimed() == [first, second]


def test_priority_ages(local):
    old = add()
    Job.objects.filter(id=old).update(rank_at=timezone.now() - timedelta(minutes=5))
    urgent = add(priority=4)
    assert claimed() == [old, urgent]


def test_only_jobs_of_the_target_and_queue_are_claimed(local):
    add("two")
    add("")
    put(QueueType.UNORDERED, "other", ("test/other",))
    add(topic="test/other")
    assert claimed() == []
    assert len(claimed(topic="test/other")) == 1


def test_job_waits_for_its_time(local):
    past, future = (add(not_before=timezone.now() + timedelta(seconds=seconds)) for seconds in (-60, 60))
    assert claimed() == []
    assert claims.seconds_to_next_due("one") == pytest.approx(-60, abs=5)
    claims.promote("one")
    assert claimed() == [past]
    assert claims.seconds_to_next_due("one") == pytest.approx(60, abs=5)
    assert Job.objects.get(id=future).not_before is not None


def test_delay_is_measured_by_the_database(local):
    add(delay_seconds=60)
    assert claims.seconds_to_next_due("one") == pytest.approx(60, abs=1)


def test_nothing_is_due_when_nothing_waits(local):
    assert claims.seconds_to_next_due("one") is None
    assert claims.ready_queues("one") == []


def test_ready_queues_are_those_with_something_to_claim(local):
    put(QueueType.UNORDERED, "q-{0}", ("test/*",))
    for topic in ("test/b", "test/a", "test/a"):
        add(topic=topic)
    add(topic="test/c", delay_seconds=60)
    add("two", topic="test/d")
    assert claims.ready_queues("one") == ["q-a", "q-b"]


def test_claim_raises_the_fence_and_opens_an_attempt(local):
    job = add(properties={"a": "ü"})
    (taken,) = claim()
    row = Job.objects.get(id=job)
    attempt = row.attempts.get()
    assert (row.state, row.claimed_by, row.fence) == (JobState.ACTIVE, "run", 1)
    assert (taken.job_id, taken.fence, taken.topic, taken.queue) == (job, 1, TOPIC, "<main queue>")
    assert (attempt.fence, attempt.instance, attempt.instance_label, attempt.outcome) == (1, "one", "one:4502", "")
    assert row.started_at is not None and attempt.started_at is not None


def test_properties_come_with_the_claim_unless_they_are_long(local):
    add(properties={"a": 1})
    add(properties={"a": "x" * claims.INLINE_BYTES})
    short, long = claim()
    assert (short.properties.replace(" ", ""), long.properties) == ('{"a":1}', None)


def test_job_is_claimed_once(local):
    add()
    assert len(claim(run_id="first")) == 1
    assert claim(run_id="second") == []


def test_what_the_instance_does_not_take_loses_its_target(local):
    kept, sent = add(), add(topic="test/other")
    assert claimed(takes=lambda topic: topic == TOPIC) == [kept]
    row = Job.objects.get(id=sent)
    assert (row.state, row.target, row.claimed_by, row.attempts.count()) == (JobState.QUEUED, "", "", 0)


def test_suspects_can_be_passed_over(local):
    suspect, other = add(), add()
    Job.objects.filter(id=suspect).update(crash_count=1)
    assert claimed(with_suspects=False) == [other]
    assert claimed() == [suspect]


# --- Kinds of queues ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", [QueueType.IGNORE, QueueType.DROP])
def test_queue_that_starts_nothing(local, type):
    job = add()
    put(type)
    assert claimed() == []
    assert Job.objects.get(id=job).state == JobState.QUEUED


def test_ordered_queue_runs_one_at_a_time_over_topics_and_instances(local):
    put(QueueType.ORDERED)
    first, second, third = add("one"), add("two", topic="test/other"), add("one")
    assert claimed("two") == []
    assert claimed("one") == [first]
    assert (claimed("one"), claimed("two")) == ([], [])
    outcomes.write(Ending(first, 1, Kind.OK))
    assert claimed("one") == []
    assert claimed("two") == [second]
    outcomes.write(Ending(second, 1, Kind.CANCELLED))
    assert claimed("one") == [third]


def test_ordered_queue_waits_for_the_retry_of_its_first(local):
    put(QueueType.ORDERED)
    first, second = add(), add()
    (taken,) = claim()
    outcomes.write(Ending(first, taken.fence, Kind.FAILED, retry_delay_seconds=60))
    assert claimed() == []
    Job.objects.filter(id=first).update(not_before=None)
    assert claimed() == [first]
    assert second not in claimed()


def test_ordered_queue_ignores_priorities_and_what_is_not_due_yet(local):
    put(QueueType.ORDERED)
    add(delay_seconds=60)
    first, urgent = add(), add(priority=9)
    assert claimed() == [first]
    outcomes.write(Ending(first, 1, Kind.OK))
    assert claimed() == [urgent]


def test_job_that_is_retried_by_hand_in_an_ordered_queue_comes_next(local):
    put(QueueType.ORDERED)
    first, second = add(), add()
    claim()
    outcomes.write(Ending(first, 1, Kind.CANCELLED))
    (running,) = claim()
    manager.retry_job(first, by="ann")
    Job.objects.filter(id=first).update(target="one")
    assert (running.job_id, claimed()) == (second, [])
    outcomes.write(Ending(second, 1, Kind.OK))
    assert claimed() == [first]


def test_round_robin_takes_one_of_each_topic_in_turn(local):
    put(QueueType.TOPIC_ROUND_ROBIN)
    added = {name: [add(topic=f"test/{name}") for _ in range(3)] for name in ("rr_a", "rr_b")}
    added["rr_c"] = [add(topic="test/rr_c")]
    order = [claimed(topic="test/rr_a", limit=1)[0] for _ in range(7)]
    a, b, c = added["rr_a"], added["rr_b"], added["rr_c"]
    assert order == [a[0], b[0], c[0], a[1], b[1], a[2], b[2]]


def test_round_robin_shares_one_batch(local):
    put(QueueType.TOPIC_ROUND_ROBIN)
    for name in ("x", "x", "x", "x", "y", "z"):
        add(topic=f"test/{name}")
    topics = [each.topic for each in claim(limit=3)]
    assert sorted(topics) == ["test/x", "test/y", "test/z"]


# --- Pauses -------------------------------------------------------------------------------------------------------


def test_paused_queue_starts_nothing(local):
    add()
    pauses.pause(kind=Pause.Kind.QUEUE, name="<main queue>", by="ann")
    assert claimed() == []
    pauses.resume(kind=Pause.Kind.QUEUE, name="<main queue>", by="ann")
    assert len(claimed()) == 1


@pytest.mark.parametrize("type", [QueueType.UNORDERED, QueueType.TOPIC_ROUND_ROBIN])
@pytest.mark.parametrize("pattern", ["test/paused", "test/paused/**"])
def test_paused_topic_lets_the_others_pass(local, type, pattern):
    put(type)
    held = add(topic=pattern.replace("/**", "/deep"))
    other = add(topic="test/paused_not")
    pauses.pause(kind=Pause.Kind.TOPIC, name=pattern, by="ann")
    assert claimed() == [other]
    assert Job.objects.get(id=held).state == JobState.QUEUED


def test_paused_topic_holds_up_an_ordered_queue(local):
    put(QueueType.ORDERED)
    add(topic="test/paused")
    add()
    pauses.pause(kind=Pause.Kind.TOPIC, name="test/paused", by="ann")
    assert claimed() == []


# --- Others -------------------------------------------------------------------------------------------------------


def test_transport_claims_for_instances_of_other_clusters(local):
    job = add("far")
    add("one")
    (taken,) = claims.claim_for_transport(
        targets={"far": "far:4502"}, queue_of=lambda name: Queue(name, configuration.named(name))
    )
    row = Job.objects.get(id=job)
    assert (taken.job_id, taken.target, row.claimed_by) == (job, "far", "remote:far")
    assert claims.remote_target(row.claimed_by) == "far"
    assert row.attempts.get().instance_label == "far:4502"


def test_held_are_those_of_the_run(local):
    job = add()
    claim()
    assert [(each.job_id, each.fence) for each in claims.held_by("run")] == [(job, 1)]
    assert claims.held_by("other") == []


def test_what_shall_stop_or_was_taken_away_does_not_go_on(local):
    stays, stops, lost = add(), add(), add()
    claim()
    Job.objects.filter(id=stops).update(stop_requested_by="ann")
    Job.objects.filter(id=lost).update(fence=7)
    assert claims.going_on("run") == {(stays, 1), (lost, 7)}


def test_job_that_was_not_begun_is_as_if_it_was_not_claimed(local):
    job = add()
    (taken,) = claim()
    rank = Job.objects.get(id=job).rank_at
    claims.unclaim([taken])
    row = Job.objects.get(id=job)
    assert (row.state, row.claimed_by, row.fence, row.started_at) == (JobState.QUEUED, "", 2, None)
    assert (row.attempts.count(), row.rank_at) == (0, rank)
    claims.unclaim([taken])  # late, and harmless
    assert claimed() == [job]
