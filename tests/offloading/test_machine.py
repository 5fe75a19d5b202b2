"""Everything that can happen to jobs, in any order: the real services against a model that is a few dictionaries.

A run of this machine adds, claims, ends, crashes, loses, stops, removes, retries and moves jobs of two instances and
three queues, disables topics, pauses, lets instances leave and come back. After each step the database must show what
the model says: no job lost, one final state each, fences that only rise, ordered queues in their order, and never more
at once than a queue allows.
"""

import os
import time
import uuid
from collections import Counter
from dataclasses import dataclass

import pytest
from django.db import transaction
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from offloading import exceptions, services
from offloading.jobs import claims, configuration, manager, outcomes, pauses, placement, recovery, states
from offloading.jobs.claims import Holder
from offloading.jobs.outcomes import Ending, Kind
from offloading.jobs.queues import Queue, QueueSettings
from offloading.models import Attempt, Job, JobState, Pause, QueueType
from tests.offloading import topologies

pytestmark = pytest.mark.django_db

# Steps in all; each example makes up to STEPS of them. Continuous integration takes the default.
WANTED = int(os.environ.get("OFFLOADING_TESTS_MACHINE_STEPS", "52000"))
STEPS = 100
SHARDS = 4
TOPICS = ("m/plain", "m/narrow", "m/ordered/a", "m/ordered/b")
NARROW = 2
QUEUES = (
    QueueSettings("narrow", ("m/narrow",), max_parallel=NARROW, retries=1),
    QueueSettings("ordered", ("m/ordered/*",), type=QueueType.ORDERED, retries=1),
)
FINAL_KINDS = (Kind.OK, Kind.FAILED, Kind.CANCELLED, Kind.RAISED, Kind.TIMED_OUT, Kind.RELEASED, Kind.STOPPED)


@dataclass
class Known:
    """What the model knows of a job."""

    topic: str
    number: int
    state: str = JobState.QUEUED
    fence: int = 0
    crashes: int = 0
    retries_left: int = 0
    delayed: bool = False
    stopping: bool = False
    holder: str = ""


class Machine(RuleBasedStateMachine):
    """Two instances of one cluster; `taken` are claims, of which some are late."""

    jobs = Bundle("jobs")
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        # A transaction for each example, undone at its end.
        self._atomic = transaction.atomic()
        self._atomic.__enter__()
        Job.objects.all().delete()
        # The same every time, or what is tried again to be understood would not be the same.
        placement._turns.clear()
        self.local = topologies.establish("second", topics="m/**")
        self.instances = {self.local: True, "second": True}
        for queue in QUEUES:
            configuration.put(queue, by="machine")
        self.known: dict[uuid.UUID, Known] = {}
        self.disabled: set[str] = set()
        self.paused: set[str] = set()
        self.count = 0
        self.steps = 0

    def is_rare(self) -> bool:
        """Let through one step in some, for what would leave nothing to look at if it came often."""
        return self.steps % 5 == 0

    def teardown(self) -> None:
        # The exception makes the block undo what it did.
        self._atomic.__exit__(RuntimeError, RuntimeError(), None)
        configuration.forget()
        pauses.forget()
        placement.forget()

    # --- What happens -----------------------------------------------------------------------------------------------

    def _add(self, topic: str, priority: int, delayed: bool) -> uuid.UUID:
        job = manager.add_job(
            topic, {"n": self.count}, priority=priority, delay_seconds=3600 if delayed else 0, retries=1
        )
        self.known[job.id] = Known(topic, self.count, retries_left=1, delayed=delayed)
        self.count += 1
        return job.id

    add = rule(target=jobs, topic=st.sampled_from(TOPICS), priority=st.integers(-2, 2), delayed=st.booleans())(_add)

    @rule(target=jobs, topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=4))
    def add_many(self, topics: list[str]):
        added = manager.add_jobs([manager.JobRequest(topic, retries=1) for topic in topics])
        for job_id, topic in zip(added, topics, strict=True):
            self.known[job_id] = Known(topic, self.count, retries_left=1)
            self.count += 1
        return multiple(*added)

    def _claim(self, instance: str, queue: str, limit: int):
        sling_id = self.local if instance == "local" else instance
        if not self.instances[sling_id]:
            return multiple()
        settings_ = configuration.named(queue)
        running = sum(
            k.state == JobState.ACTIVE and self.queue_of(k) == queue and k.holder == sling_id
            for k in self.known.values()
        )
        room = min(limit, NARROW - running) if queue == "narrow" else limit
        claimed = claims.claim(
            target=sling_id,
            queue=Queue(queue, settings_),
            limit=room,
            holder=Holder(f"run of {sling_id}", sling_id, sling_id),
            takes=placement.Placer().capabilities[sling_id].takes,
        )
        for each in claimed:
            self.check_claim(each, sling_id, queue)
        self.follow_what_was_sent_away()
        return multiple(*claimed)

    claim = rule(
        target=taken,
        instance=st.sampled_from(["local", "second"]),
        queue=st.sampled_from(["<main queue>", "narrow", "ordered"]),
        limit=st.integers(1, 3),
    )(_claim)

    def _end(self, claim, kind: Kind, again: bool) -> None:
        known = self.known.get(claim.job_id)
        delay = 3600.0 if again else 0.0
        ending = Ending(claim.job_id, claim.fence, kind, "so", retry_delay_seconds=delay)
        if not self.holds(known, claim):
            with pytest.raises(exceptions.StaleFence):
                outcomes.write(ending)
            outcomes.write_all([ending])  # late: noted, and nothing else
            return
        outcomes.write_all([ending])
        self.expect_end(known, kind, delayed=again)
        outcomes.write_all([ending])  # a second time changes nothing

    end = rule(claim=consumes(taken), kind=st.sampled_from(FINAL_KINDS), again=st.booleans())(_end)

    @rule(claim=consumes(taken))
    def put_back(self, claim) -> None:
        known = self.known.get(claim.job_id)
        stopping = claims.unclaim([claim])
        if self.holds(known, claim):
            assert stopping == [claim] * known.stopping
            outcomes.write_all([Ending(each.job_id, each.fence, Kind.RELEASED) for each in stopping])
            known.state = JobState.STOPPED if known.stopping else JobState.QUEUED
            known.fence, known.holder = known.fence + 1, ""

    @rule(claim=taken, lost=st.booleans())
    def crash(self, claim, lost: bool) -> None:
        """The claim stays: its worker may only have been slow, and say something later."""
        known = self.known.get(claim.job_id)
        act = recovery.lost if lost else recovery.crashed
        if not self.holds(known, claim):
            with pytest.raises(exceptions.StaleFence):
                act(job_id=claim.job_id, fence=claim.fence)
            return
        act(job_id=claim.job_id, fence=claim.fence)
        known.crashes += 1
        known.fence += 1
        known.holder = ""
        known.state = JobState.QUEUED
        if known.stopping:
            known.state = JobState.STOPPED
        elif known.crashes >= recovery.MAX_CRASHES:
            known.state = JobState.ERROR

    @precondition(lambda self: self.is_rare())
    @rule(instance=st.sampled_from(["local", "second"]))
    def lose_lease(self, instance: str) -> None:
        """A run is over: everything that it held is taken back, at once."""
        self.take_back_all(self.local if instance == "local" else instance)

    def take_back_all(self, sling_id: str) -> None:
        others = [f"run of {each}" for each in self.instances if each != sling_id]
        recovery.recover_lost_runs(others)
        for known in self.known.values():
            if known.state == JobState.ACTIVE and known.holder == sling_id:
                known.crashes += 1
                known.fence += 1
                known.holder = ""
                is_last = known.crashes >= recovery.MAX_CRASHES
                known.state = JobState.STOPPED if known.stopping else JobState.ERROR if is_last else JobState.QUEUED

    @rule(job=jobs)
    def stop(self, job: uuid.UUID) -> None:
        known = self.known.get(job)
        if known is None:
            with pytest.raises(exceptions.JobMissing):
                manager.stop_job(job, by="ann")
        elif known.state in states.FINAL:
            with pytest.raises(exceptions.TransitionRefused):
                manager.stop_job(job, by="ann")
        else:
            manager.stop_job(job, by="ann")
            if known.state == JobState.ACTIVE:
                known.stopping = True
            else:
                known.state, known.fence = JobState.STOPPED, known.fence + 1

    @rule(job=jobs)
    def remove(self, job: uuid.UUID) -> None:
        known = self.known.get(job)
        manager.remove_job(job, by="ann")
        if known is None:
            return
        if known.state in states.FINAL:
            del self.known[job]
        else:
            known.state, known.fence, known.holder = JobState.DROPPED, known.fence + 1, ""

    @rule(job=jobs)
    def retry(self, job: uuid.UUID) -> None:
        known = self.known.get(job)
        if known is None or known.state not in states.FINAL:
            with pytest.raises(exceptions.JobError):
                manager.retry_job(job, by="ann")
            return
        manager.retry_job(job, by="ann")
        known.state, known.fence, known.crashes, known.retries_left = JobState.QUEUED, known.fence + 1, 0, 1
        known.delayed = known.stopping = False

    @rule(
        instance=st.sampled_from(["local", "second"]),
        topic=st.just("m/**"),
        action=st.sampled_from(["enable", "disable"]),
    )
    def switch(self, instance: str, topic: str, action: str) -> None:
        sling_id = self.local if instance == "local" else instance
        if not self.instances[sling_id]:
            return
        services.configure_instance(sling_id=sling_id, actions={topic: action}, by="ann")
        (self.disabled.discard if action == "enable" else self.disabled.add)(sling_id)

    @precondition(lambda self: self.instances["second"] and self.is_rare())
    @rule()
    def leave(self) -> None:
        topologies.drop("second", self.local)
        self.instances["second"] = False
        placement.forget()
        self.take_back_all("second")
        placement.settle()

    @precondition(lambda self: not self.instances["second"])
    @rule()
    def join(self) -> None:
        topologies.bring_back("second", self.local)
        self.instances["second"] = True
        placement.forget()
        placement.settle()

    @precondition(lambda self: self.is_rare())
    @rule(queue=st.sampled_from(["<main queue>", "narrow", "ordered"]))
    def pause(self, queue: str) -> None:
        pauses.pause(kind=Pause.Kind.QUEUE, name=queue, by="ann")
        self.paused.add(queue)

    @precondition(lambda self: self.paused)
    @rule(data=st.data())
    def resume(self, data) -> None:
        queue = data.draw(st.sampled_from(sorted(self.paused)))
        pauses.resume(kind=Pause.Kind.QUEUE, name=queue, by="ann")
        self.paused.discard(queue)

    @precondition(lambda self: any(known.delayed for known in self.known.values()))
    @rule()
    def time_passes(self) -> None:
        """What waits for a time is due now. What was added for it enters its queue now, behind all that are there."""
        time.sleep(0.002)
        Job.objects.filter(not_before__isnull=False, fence=0).update(rank_at=Now())
        time.sleep(0.002)  # no other job gets the same rank
        for known in self.known.values():
            if known.delayed and known.fence == 0 and known.state == JobState.QUEUED:
                known.number, self.count = self.count, self.count + 1
        Job.objects.filter(not_before__isnull=False).update(not_before="2020-01-01T00:00:00Z")
        for sling_id in (*self.instances, ""):
            claims.promote(sling_id)
        for known in self.known.values():
            known.delayed = False

    # What happens most has more than one rule: otherwise a rule that is always possible would come as often.
    add_another = rule(target=jobs, topic=st.sampled_from(TOPICS), priority=st.just(0), delayed=st.just(False))(_add)
    claim_another = rule(
        target=taken,
        instance=st.sampled_from(["local", "second"]),
        queue=st.sampled_from(["<main queue>", "narrow", "ordered"]),
        limit=st.integers(1, 3),
    )(_claim)
    end_another = rule(
        claim=consumes(taken), kind=st.sampled_from([Kind.OK, Kind.FAILED, Kind.RELEASED]), again=st.just(False)
    )(_end)

    # --- What must hold ---------------------------------------------------------------------------------------------

    def queue_of(self, known: Known) -> str:
        return (
            "ordered"
            if known.topic.startswith("m/ordered")
            else "narrow"
            if known.topic == "m/narrow"
            else "<main queue>"
        )

    @staticmethod
    def holds(known: Known | None, claim) -> bool:
        return known is not None and known.state == JobState.ACTIVE and known.fence == claim.fence

    def follow_what_was_sent_away(self) -> None:
        """A claim sends away what the instance no longer takes: such a job waits on, under a fence that has risen."""
        sent = Job.objects.filter(state=JobState.QUEUED, target="").values_list("id", "fence")
        for job_id, fence in sent:
            known = self.known[job_id]
            if known.state == JobState.QUEUED:
                assert fence >= known.fence
                known.fence = fence

    def check_claim(self, claim, sling_id: str, queue: str) -> None:
        known = self.known[claim.job_id]
        assert known.state == JobState.QUEUED and not known.delayed
        assert queue not in self.paused and sling_id not in self.disabled
        assert claim.fence == known.fence + 1
        if queue == "ordered":
            waiting = [
                k.number
                for k in self.known.values()
                if self.queue_of(k) == "ordered" and k.state in states.UNFINISHED and not (k.delayed and k.fence == 0)
            ]
            assert known.number == min(waiting)
        known.state, known.fence, known.holder = JobState.ACTIVE, claim.fence, sling_id

    def expect_end(self, known: Known, kind: Kind, *, delayed: bool) -> None:
        known.holder = ""
        if kind == Kind.OK:
            known.state = JobState.SUCCEEDED
        elif kind == Kind.RAISED:
            known.state = JobState.ERROR
        elif known.stopping or kind == Kind.STOPPED:
            known.state = JobState.STOPPED
            known.fence += kind == Kind.RELEASED
        elif kind == Kind.CANCELLED:
            known.state = JobState.ERROR
        elif kind == Kind.RELEASED:
            known.state, known.fence = JobState.QUEUED, known.fence + 1
        elif known.retries_left:
            known.state, known.retries_left, known.delayed = JobState.QUEUED, known.retries_left - 1, delayed
        else:
            known.state = JobState.GIVEN_UP

    @invariant()
    def database_shows_the_model(self) -> None:
        self.steps += 1
        rows = {row[0]: row[1:] for row in Job.objects.values_list("id", "state", "fence", "crash_count")}
        assert rows.keys() == self.known.keys()
        for job_id, known in self.known.items():
            state, fence, crashes = rows[job_id]
            assert (state, fence, crashes) == (known.state, known.fence, known.crashes), (known, rows[job_id])

    @invariant()
    def no_queue_runs_too_many(self) -> None:
        active = Counter(Job.objects.filter(state=JobState.ACTIVE).values_list("queue", "target").order_by())
        assert all(count <= NARROW for (queue, _), count in active.items() if queue == "narrow")
        assert sum(count for (queue, _), count in active.items() if queue == "ordered") <= 1

    @invariant()
    def every_running_job_has_one_open_attempt_and_no_other_has(self) -> None:
        opened = Counter(Attempt.objects.filter(outcome="").values_list("job_id", "fence").order_by())
        running = Counter((job, known.fence) for job, known in self.known.items() if known.state == JobState.ACTIVE)
        assert opened == running
        assert not Attempt.objects.exclude(outcome="").filter(ended_at=None).exists()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_whatever_happens_the_database_shows_the_model(shard, monkeypatch):
    for module in (configuration, pauses):
        # Every change says that it is one, so nothing here needs to be read twice.
        monkeypatch.setattr(module, "CACHE_SECONDS", 3600)
    machine = seed(shard)(type(f"Machine{shard}", (Machine,), {}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(WANTED // STEPS // SHARDS, 1),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
