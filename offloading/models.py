"""Jobs and their attempts, what each instance may do, and what is under way between installations."""

import uuid

from django.db import models
from django.db.models.functions import Now


class JobState(models.TextChoices):
    """The states of a job. Which change into which is said in jobs/states.py."""

    QUEUED = "QUEUED", "Queued"
    ACTIVE = "ACTIVE", "Active"
    SUCCEEDED = "SUCCEEDED", "Succeeded"
    STOPPED = "STOPPED", "Stopped"
    GIVEN_UP = "GIVEN_UP", "Given up"
    ERROR = "ERROR", "Error"
    DROPPED = "DROPPED", "Dropped"


class Job(models.Model):
    """A durable unit of work. Unassigned = QUEUED without target; waiting for a retry = QUEUED with `not_before`."""

    id = models.UUIDField(primary_key=True, editable=False)
    topic = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True)
    properties = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    # Sling ids. `target` is where it shall run ("" = unassigned); `application` the instance that created it here.
    target = models.CharField(max_length=36, blank=True)
    application = models.CharField(max_length=36)
    # Set on a copy that came from another installation: the instance to return the result to, and its fence there.
    origin = models.CharField(max_length=36, blank=True)
    origin_fence = models.BigIntegerField(null=True)
    # Rises with every claim and every taking back; a write with an old fence changes nothing.
    fence = models.BigIntegerField(default=0)
    # The run (topology runtime id) that holds the job, or "" when nobody does. The lease is that run's heartbeat.
    claimed_by = models.CharField(max_length=80, blank=True)
    not_before = models.DateTimeField(null=True)
    retry_count = models.PositiveIntegerField(default=0)
    retries = models.IntegerField(default=10)
    retry_delay_seconds = models.FloatField(default=2.0)
    crash_count = models.PositiveIntegerField(default=0)
    priority = models.IntegerField(default=0)
    result_message = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["target", "-priority", "id"], name="job_waiting", condition=models.Q(state="QUEUED")),
            models.Index(fields=["claimed_by"], name="job_claimed", condition=models.Q(state="ACTIVE")),
            models.Index(fields=["state", "-finished_at"], name="job_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.id} {self.state} fence {self.fence}"


class AttemptOutcome(models.TextChoices):
    """How an attempt ended. Empty while it runs."""

    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"
    ERROR = "ERROR", "Error"
    STOPPED = "STOPPED", "Stopped"
    CRASHED = "CRASHED", "Worker died"
    LOST = "LOST", "Instance lost"
    RELEASED = "RELEASED", "Given back"
    FENCED = "FENCED", "Too late"


class Attempt(models.Model):
    """One run of a job on one instance, under one fence. Copied home with the result when it ran elsewhere."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    fence = models.BigIntegerField()
    instance = models.CharField(max_length=36)
    # host:port of the instance at that time, so that the story can be told after it left
    instance_label = models.CharField(max_length=255)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=AttemptOutcome.choices, blank=True)
    message = models.TextField(blank=True)
    log = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "instance", "fence"], name="one_attempt_per_fence")]

    def __str__(self) -> str:
        return f"{self.job_id} fence {self.fence} on {self.instance_label}: {self.outcome or 'running'}"


class TopicSettings(models.Model):
    """What one instance of this cluster may do: Sling's white and black list of its consumer manager."""

    sling_id = models.CharField(max_length=36, primary_key=True)
    whitelist = models.JSONField(default=list)
    blacklist = models.JSONField(default=list)
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.sling_id}: {','.join(self.whitelist)} minus {','.join(self.blacklist)}"


class SwitchCommand(models.Model):
    """A switch that a person here asked an instance of another cluster to make. Pending until that one shows it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sling_id = models.CharField(max_length=36)
    # topic -> "enable" | "disable" | "exclusive"
    actions = models.JSONField()
    requested_by = models.CharField(max_length=150)
    requested_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.actions} for {self.sling_id}"


class PeerKey(models.Model):
    """The Ed25519 public key of an instance of another cluster, and whether it may sign requests to us."""

    class Trust(models.TextChoices):
        CONNECTOR = "CONNECTOR", "Came over a connector that knows the shared key"
        APPROVED = "APPROVED", "Approved by an operator"
        PENDING = "PENDING", "Waits for approval"
        REVOKED = "REVOKED", "Revoked"

    sling_id = models.CharField(max_length=36)
    public_key = models.CharField(max_length=64)  # raw 32 bytes, base64
    trust = models.CharField(max_length=10, choices=Trust.choices, default=Trust.PENDING)
    changed_by = models.CharField(max_length=150, blank=True)
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sling_id", "public_key"], name="one_row_per_peer_key")]

    def __str__(self) -> str:
        return f"{self.sling_id} {self.public_key[:12]} {self.trust}"


class Nonce(models.Model):
    """A nonce of a signed request, kept while a replay of it would still be in time."""

    key_id = models.CharField(max_length=36)
    nonce = models.CharField(max_length=64)
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key_id", "nonce"], name="nonce_once")]

    def __str__(self) -> str:
        return f"{self.key_id} {self.nonce}"


class Transfer(models.Model):
    """One way of a job between installations: OUT from origin to target, or BACK. Each side keeps its own row."""

    class Direction(models.TextChoices):
        OUT = "OUT", "To the target"
        BACK = "BACK", "Back to the origin"

    class State(models.TextChoices):
        WAITING = "WAITING", "Waiting"
        SENDING = "SENDING", "Sending"
        DONE = "DONE", "Done"
        PARKED = "PARKED", "Parked"  # given up for now; says why and can be tried again
        FENCED = "FENCED", "Too late"  # arrived, but the job had moved on: kept aside and shown

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="transfers")
    fence = models.BigIntegerField()
    peer = models.CharField(max_length=36)
    peer_label = models.CharField(max_length=255, blank=True)
    direction = models.CharField(max_length=4, choices=Direction.choices)
    is_sender = models.BooleanField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    # The run (topology runtime id) that is at it; when that run is over, somebody else goes on.
    claimed_by = models.CharField(max_length=80, blank=True)
    manifest = models.JSONField(default=dict)
    blobs_total = models.PositiveIntegerField(default=0)
    blobs_moved = models.PositiveIntegerField(default=0)
    bytes_total = models.BigIntegerField(default=0)
    bytes_moved = models.BigIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "fence", "direction", "is_sender"], name="one_transfer_per_way")
        ]

    def __str__(self) -> str:
        return f"{self.job_id} fence {self.fence} {self.direction} {self.peer_label}: {self.state}"
