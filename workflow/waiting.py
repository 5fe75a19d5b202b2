"""What becomes of an instance when a job ends: the one it waits for, or the one that ran it.

Called in the transaction of the job's outcome, so that on the normal path nobody has to poll and nothing is missed.
"""

import uuid

from django.db.models import Q

from offloading.jobs import states
from offloading.models import Attempt, Job, JobState
from workflow import engine
from workflow.models import Workflow, WorkflowState


def job_changed(*, job_id: uuid.UUID, state: str, **_facts: object) -> None:
    """Let every running instance that depends on the job go on, or fail with the job's reason."""
    if state not in states.FINAL:
        return
    depends = Q(external_id=str(job_id)) | Q(job_id=job_id, external_id="")
    for workflow in Workflow.objects.filter(depends, state=WorkflowState.RUNNING).order_by("id"):
        if state != JobState.SUCCEEDED:
            engine.fail(workflow=workflow, message=why_ended(Job.objects.get(pk=job_id)))
        elif workflow.external_id:
            engine.go_on(workflow=workflow)


def why_ended(job: Job) -> str:
    """Say for people why `job`, which did not succeed, ended, and on which instance."""
    last = Attempt.objects.filter(job=job).order_by("-fence", "-id").first()
    reason = job.result_message or f"The job {job.title or job.topic} ended as {job.get_state_display().lower()}."
    return f"{reason} ({last.instance_label})" if last else reason
