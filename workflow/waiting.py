"""What becomes of an instance when a job ends: the one it waits for, or the one that ran it.

Called in the transaction of the job's outcome, so that on the normal path nobody has to poll and nothing is missed.
"""

from django.db.models import Q

from offloading.jobs import states
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, Job, JobState
from workflow import engine
from workflow.models import Workflow, WorkflowState

_FEW = 8


def jobs_changed(*, changes: tuple[JobChange, ...], **_facts: object) -> None:
    """Let every running instance that depends on one of the jobs go on, or fail with the job's reason."""
    ended = {str(change.job_id): change for change in changes if change.state in states.FINAL}
    running = Workflow.objects.filter(state=WorkflowState.RUNNING)
    # Under load hundreds of jobs end at once, and asking for each would cost more than ending them.
    if not ended or (len(ended) > _FEW and not running.exists()):
        return
    depends = Q(external_id__in=ended) | Q(job_id__in=ended, external_id="")
    for workflow in running.filter(depends).order_by("id"):
        change = ended[workflow.external_id or str(workflow.job_id)]
        if change.state != JobState.SUCCEEDED:
            engine.fail(workflow=workflow, message=why_ended(Job.objects.get(pk=change.job_id)))
        elif workflow.external_id:
            engine.go_on(workflow=workflow)


def why_ended(job: Job) -> str:
    """Say for people why `job`, which did not succeed, ended, and on which instance."""
    last = Attempt.objects.filter(job=job).order_by("-fence", "-id").first()
    reason = job.result_message or f"The job {job.title or job.topic} ended as {job.get_state_display().lower()}."
    return f"{reason} ({last.instance_label})" if last else reason
