"""Running jobs inside a test's own process, for job authors: the real claim, consumer and outcome, without an instance.

manager.add_job("acme/mail/send", {"to": "ann@example.org"})
testing.run_waiting()
"""

from offloading.jobs import claims, execution
from offloading.models import Job, JobState
from topology import identity

RUN_ID = "test-run"


def run_waiting(*, limit: int = 100) -> int:
    """Run waiting jobs here, those that they add included, until none is due or `limit` ran; return how many did.

    Jobs without a target count as meant for this instance, as no instance is running that could be one.
    """
    sling_id = identity.sling_id()
    count = 0
    while count < limit:
        Job.objects.filter(state=JobState.QUEUED, target="").update(target=sling_id)
        rows = claims.due(targets=[sling_id], limit=1)
        for claim in claims.claim(rows, run_id=RUN_ID, instance=sling_id, label=identity.label()):
            execution.run(claim.job_id, claim.fence)
            count += 1
        if not rows:
            break
    return count
