"""Workflow instances and their history. Models (the definitions) are content nodes, not rows."""

import uuid

from django.db import models
from django.db.models.functions import Now


class WorkflowState(models.TextChoices):
    RUNNING = "RUNNING", "Running"
    COMPLETED = "COMPLETED", "Completed"
    SUSPENDED = "SUSPENDED", "Suspended"
    ABORTED = "ABORTED", "Aborted"


class Workflow(models.Model):
    """One workflow instance. A failed step leaves it RUNNING with `failure_message` set, until retried or ended."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_path = models.CharField(max_length=2000)
    model_title = models.CharField(max_length=255)
    # The definition as it was at the start: a changed model does not change what already runs.
    definition = models.JSONField()
    payload = models.CharField(max_length=2000, db_index=True)
    # "" or the root below which an offloaded payload lies on this installation (see offloading's payload root)
    payload_root = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=WorkflowState.choices, default=WorkflowState.RUNNING)
    current_node = models.CharField(max_length=100, blank=True)
    # The id that the external step at `current_node` returned; "" when none is waited for.
    external_id = models.CharField(max_length=100, blank=True)
    external_until = models.DateTimeField(null=True)
    next_poll_at = models.DateTimeField(null=True)
    # The job that runs or last ran steps of this instance.
    job_id = models.UUIDField(null=True, db_index=True)
    initiator = models.CharField(max_length=150)
    metadata = models.JSONField(default=dict)
    failure_message = models.TextField(blank=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["next_poll_at"],
                name="workflow_waiting",
                condition=models.Q(state="RUNNING") & ~models.Q(external_id=""),
            )
        ]

    def __str__(self) -> str:
        return f"{self.model_title} on {self.payload}: {self.state}"


class HistoryItem(models.Model):
    """What happened at one node of a workflow instance, on which instance of the topology."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="history")
    node_id = models.CharField(max_length=100)
    title = models.CharField(max_length=255)
    process = models.CharField(max_length=255, blank=True)
    action = models.CharField(max_length=50)  # "NodeTransition", "WorkflowStarted", "JobFailed" … (reference 1.11)
    comment = models.TextField(blank=True)
    instance = models.CharField(max_length=36, blank=True)
    instance_label = models.CharField(max_length=255, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.title}: {self.action}"
