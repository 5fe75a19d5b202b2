"""Workflow instances and their history. Models (the definitions) are content nodes, not rows."""

from django.db import models
from django.db.models.functions import Now

from offloading.jobs import ids


class WorkflowState(models.TextChoices):
    RUNNING = "RUNNING", "Running"
    COMPLETED = "COMPLETED", "Completed"
    SUSPENDED = "SUSPENDED", "Suspended"
    ABORTED = "ABORTED", "Aborted"


class Workflow(models.Model):
    """One workflow instance. A failed step leaves it RUNNING with `failure_message` set, until retried or ended."""

    # UUIDv7: in the order of their start, which lists and their pages go by.
    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    model_path = models.CharField(max_length=2000)
    model_title = models.CharField(max_length=255)
    # The definition as it was at the start: a changed model does not change what already runs.
    definition = models.JSONField()
    payload = models.CharField(max_length=2000, db_index=True)
    # "" or the root below which an offloaded payload lies on this installation (see offloading's payload root)
    payload_root = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=WorkflowState.choices, default=WorkflowState.RUNNING)
    current_node = models.CharField(max_length=100, blank=True)
    # Where the job `job_id` begins. Another attempt and a retry begin there again: content is written at a job's end.
    resume_node = models.CharField(max_length=100, blank=True)
    # The id of the external step at `resume_node` whose result the job takes over first; "" = it runs that node.
    result_id = models.CharField(max_length=100, blank=True)
    # The id that the external step at `current_node` returned; "" when none is waited for. A failed one keeps it.
    external_id = models.CharField(max_length=100, blank=True)
    external_until = models.DateTimeField(null=True)
    next_poll_at = models.DateTimeField(null=True)
    # The job that runs or last ran steps of this instance.
    job_id = models.UUIDField(null=True, db_index=True)
    # True: the whole instance runs under a job that an offloading step made, here or on another installation. That
    # job's result is its result, and who wants it again retries the workflow that offloaded it.
    is_offloaded = models.BooleanField(default=False)
    initiator = models.CharField(max_length=150)
    metadata = models.JSONField(default=dict)
    failure_message = models.TextField(blank=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job_id"], name="one_workflow_per_offloaded_job", condition=models.Q(is_offloaded=True)
            )
        ]
        indexes = [
            models.Index(
                fields=["next_poll_at"],
                name="workflow_waiting",
                condition=models.Q(state="RUNNING") & ~models.Q(external_id=""),
            ),
            models.Index(
                fields=["external_id"],
                name="workflow_waited_for",
                condition=models.Q(state="RUNNING") & ~models.Q(external_id=""),
            ),
            models.Index(fields=["state", "-id"], name="workflow_listed"),
        ]

    def __str__(self) -> str:
        return f"{self.model_title} on {self.payload}: {self.state}"

    @property
    def has_failed(self) -> bool:
        return bool(self.failure_message)

    @property
    def is_retryable(self) -> bool:
        """A failure leaves the instance running, so that it can go on where it stopped."""
        return self.has_failed and self.state == WorkflowState.RUNNING


class HistoryItem(models.Model):
    """What happened at one node of a workflow instance, on which instance of the topology."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="history")
    node_id = models.CharField(max_length=100)
    title = models.CharField(max_length=255)
    process = models.CharField(max_length=255, blank=True)
    action = models.CharField(max_length=50)  # "NodeTransition", "WorkflowStarted", "JobFailed" … (reference 1.11)
    user = models.CharField(max_length=150, blank=True)
    comment = models.TextField(blank=True)
    instance = models.CharField(max_length=36, blank=True)
    instance_label = models.CharField(max_length=255, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.title}: {self.action}"
