"""The history of workflow instances: one row for each node that ran, and one for each thing that a person did.

A row without an end is what goes on now. Rows are written in the caller's transaction.
"""

from django.db.models.functions import Now

from topology import identity
from workflow.definition import Step
from workflow.models import HistoryItem, Workflow

# Event types of com.adobe.granite.workflow.event.WorkflowEvent; RETRIED is ours.
STARTED = "WorkflowStarted"
COMPLETED = "WorkflowCompleted"
ABORTED = "WorkflowAborted"
TRANSITION = "NodeTransition"
TIMEOUT = "ProcessTimeout"
FAILED = "JobFailed"
RETRIED = "Retried"

TITLES = {STARTED: "Start", COMPLETED: "End", ABORTED: "Terminated", FAILED: "Failed", RETRIED: "Retry"}


def begin(*, workflow: Workflow, step: Step) -> None:
    """Write that `step` begins, on this instance. What was open before has ended."""
    finish_open(workflow=workflow)
    HistoryItem.objects.create(
        workflow=workflow,
        node_id=step.id,
        title=step.title,
        process=step.process,
        action=TRANSITION,
        instance=identity.sling_id(),
        instance_label=identity.label(),
    )


def finish_open(*, workflow: Workflow, action: str = TRANSITION, comment: str = "") -> int:
    """End what goes on at `workflow`; returns the number of rows."""
    going_on = HistoryItem.objects.filter(workflow=workflow, ended_at=None)
    return going_on.update(ended_at=Now(), action=action, comment=comment)


def record(*, workflow: Workflow, action: str, user: str = "", comment: str = "") -> None:
    """Write something that happened at one moment."""
    HistoryItem.objects.create(
        workflow=workflow,
        node_id=workflow.current_node,
        title=TITLES.get(action, action),
        action=action,
        user=user,
        comment=comment,
        instance=identity.sling_id(),
        instance_label=identity.label(),
        ended_at=Now(),
    )


def fail_open(*, workflow: Workflow, comment: str) -> None:
    """End what goes on as failed. What no open row can tell, and the last one has not told yet, gets its own row."""
    if finish_open(workflow=workflow, action=FAILED, comment=comment):
        return
    last = HistoryItem.objects.filter(workflow=workflow).order_by("-id").first()
    # An outcome repeats what the attempt has recorded, and adds where that was.
    if last is None or last.action != FAILED or not comment.startswith(last.comment):
        record(workflow=workflow, action=FAILED, comment=comment)
