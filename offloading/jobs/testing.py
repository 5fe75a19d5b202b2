"""Running jobs inside a test's own process, for job authors: the real claim, consumer and outcome, without an instance.

manager.add_job("acme/mail/send", {"to": "ann@example.org"})
testing.run_waiting()
"""

from offloading.jobs import claims, configuration, execution
from offloading.jobs.claims import Claim, Holder
from offloading.jobs.queues import Queue
from offloading.models import Job, JobState
from topology import identity

RUN_ID = "test-run"


def run_waiting(*, limit: int = 100) -> int:
    """Run waiting jobs here, those that they add included, until none is due or `limit` ran; return how many did.

    Jobs without a target count as meant for this instance, as no instance is running that could be one.
    """
    count = 0
    while count < limit and (claim := claim_next()):
        limit_seconds = configuration.queue_of(claim.topic).settings.time_limit_seconds
        own = claim.time_limit_seconds
        execution.run(claim, time_limit_seconds=limit_seconds if own is None else own)
        count += 1
    return count


def claim_next(*, run_id: str = RUN_ID, label: str = "") -> Claim | None:
    """Claim the next job that is due for this instance, or for none; None if nothing is."""
    sling_id = identity.sling_id()
    Job.objects.filter(state=JobState.QUEUED, target="").update(target=sling_id)
    claims.promote(sling_id)
    holder = Holder(run_id, sling_id, label or identity.label())
    for name in claims.ready_queues(sling_id):
        queue = Queue(name, configuration.named(name))
        for claim in claims.claim(target=sling_id, queue=queue, limit=1, holder=holder):
            return claim
    return None
