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


UNFINISHED = (JobState.QUEUED, JobState.ACTIVE)


class Job(models.Model):
    """A durable unit of work. Unassigned = QUEUED without target; waiting for a time = QUEUED with `not_before`."""

    id = models.UUIDField(primary_key=True, editable=False)
    topic = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True)
    # Of unfinished jobs with the same name there is only one; "" = no name.
    name = models.CharField(max_length=255, blank=True)
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
    # A time in the future; a dispatcher takes it away when it has come, and only then can the job be claimed.
    not_before = models.DateTimeField(null=True)
    # Its place among the waiting jobs of its queue, by the database's clock: earlier for a higher priority.
    rank_at = models.DateTimeField(db_default=Now())
    priority = models.IntegerField(default=0)
    retry_count = models.PositiveIntegerField(default=0)
    crash_count = models.PositiveIntegerField(default=0)
    # The job's own limits; NULL = those of its queue. `retries` -1 = for ever, `time_limit_seconds` 0 = none.
    retries = models.IntegerField(null=True)
    retry_delay_seconds = models.FloatField(null=True)
    time_limit_seconds = models.FloatField(null=True)
    # Who asked for a running job to stop; "" = nobody did.
    stop_requested_by = models.CharField(max_length=150, blank=True)
    # What the running attempt says of itself. NULL = it did not say.
    progress_steps = models.PositiveIntegerField(null=True)
    progress_step = models.PositiveIntegerField(default=0)
    progress_eta = models.DateTimeField(null=True)
    result_message = models.TextField(blank=True)
    # The failure family (FailureFamily) of a job that ended as ERROR or GIVEN_UP.
    family = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    # When it last began to wait for its turn.
    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                name="one_unfinished_job_per_name",
                condition=~models.Q(name="") & models.Q(state__in=UNFINISHED),
            )
        ]
        indexes = [
            # What an instance may start now.
            models.Index(
                fields=["target", "queue", "rank_at", "id"],
                name="job_ready",
                condition=models.Q(state="QUEUED", not_before=None),
            ),
            # The same by topic, for queues that take one of each topic in turn and for moving whole topics.
            models.Index(
                fields=["target", "queue", "topic", "rank_at", "id"],
                name="job_ready_topic",
                condition=models.Q(state="QUEUED", not_before=None),
            ),
            # What needs a slot of its own, having killed a worker before.
            models.Index(
                fields=["target"],
                name="job_suspect",
                condition=models.Q(state="QUEUED", not_before=None, crash_count__gt=0),
            ),
            # What becomes ready by itself.
            models.Index(
                fields=["target", "not_before"],
                name="job_delayed",
                condition=models.Q(state="QUEUED", not_before__isnull=False),
            ),
            models.Index(fields=["claimed_by"], name="job_claimed", condition=models.Q(state="ACTIVE")),
            # The order of a queue, and its depth.
            models.Index(
                fields=["queue", "rank_at", "id"], name="job_unfinished", condition=models.Q(state__in=UNFINISHED)
            ),
            models.Index(
                fields=["state", "-finished_at", "-id"],
                name="job_finished",
                condition=models.Q(finished_at__isnull=False),
            ),
            models.Index(fields=["family", "-finished_at"], name="job_family", condition=~models.Q(family="")),
            models.Index(fields=["topic", "-id"], name="job_topic"),
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
    TIMED_OUT = "TIMED_OUT", "Time limit"
    FENCED = "FENCED", "Too late"


class Attempt(models.Model):
    """One run of a job on one instance, under one fence. Copied home with the result when it ran elsewhere."""

    # Its index is the one of the constraint below.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts", db_index=False)
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


class QueueType(models.TextChoices):
    """How a queue treats its jobs."""

    UNORDERED = "UNORDERED", "Unordered"
    ORDERED = "ORDERED", "Ordered"  # one at a time in the whole cluster, in the order of their creation
    TOPIC_ROUND_ROBIN = "TOPIC_ROUND_ROBIN", "Topic round robin"
    DROP = "DROP", "Drop"  # its jobs are refused
    IGNORE = "IGNORE", "Ignore"  # its jobs are kept and not started


class QueueConfiguration(models.Model):
    """How the jobs of some topics are run. Which configuration a topic gets is said in jobs/queues.py."""

    class Priority(models.TextChoices):
        MIN = "MIN", "Low"
        NORM = "NORM", "Normal"
        MAX = "MAX", "High"

    # May contain {0}: a queue for each part of the topics that matched. The main queue has a row once it is changed.
    name = models.CharField(max_length=255, unique=True)
    topics = models.JSONField(default=list)
    type = models.CharField(max_length=20, choices=QueueType.choices, default=QueueType.UNORDERED)
    max_parallel = models.FloatField(default=15.0)
    retries = models.IntegerField(default=10)
    retry_delay_seconds = models.FloatField(default=2.0)
    # Each delay is the one before times `backoff_factor`, up to `max_retry_delay_seconds`; `jitter` 0.2 = ± 20 %.
    backoff_factor = models.FloatField(default=1.0)
    max_retry_delay_seconds = models.FloatField(default=3600.0)
    jitter = models.FloatField(default=0.0)
    retry_on_exception = models.BooleanField(default=False)
    # 0 = none
    time_limit_seconds = models.FloatField(default=0.0)
    priority = models.CharField(max_length=4, choices=Priority.choices, default=Priority.NORM)
    keep_jobs = models.BooleanField(default=False)
    prefer_run_on_creation_instance = models.BooleanField(default=False)
    ranking = models.IntegerField(default=0)
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.name} ({self.type}, {self.ranking}): {','.join(self.topics)}"


class Pause(models.Model):
    """Nothing of this queue or topic starts anywhere in the cluster, until somebody resumes it or the time is over."""

    class Kind(models.TextChoices):
        QUEUE = "QUEUE", "Queue"
        TOPIC = "TOPIC", "Topic"

    kind = models.CharField(max_length=5, choices=Kind.choices)
    name = models.CharField(max_length=255)
    reason = models.CharField(max_length=500, blank=True)
    paused_by = models.CharField(max_length=150)
    paused_at = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "name"], name="one_pause_each")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} by {self.paused_by}"


class ScheduledJob(models.Model):
    """A job that is added again and again. Its name is a digest of what it does, so that adding it twice is once."""

    class Misfire(models.TextChoices):
        SKIP = "SKIP", "Skip what was missed"
        ONCE = "ONCE", "Catch up once"
        ALL = "ALL", "Catch up all"

    name = models.CharField(max_length=64, primary_key=True)
    topic = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True)
    properties = models.JSONField(default=dict)
    # As jobs/schedules.py writes them: a list of objects with "type" and the fields of that type.
    schedules = models.JSONField(default=list)
    time_zone = models.CharField(max_length=64, default="UTC")
    misfire = models.CharField(max_length=4, choices=Misfire.choices, default=Misfire.ONCE)
    suspended_by = models.CharField(max_length=150, blank=True)
    suspended_at = models.DateTimeField(null=True)
    # NULL = never again, or suspended
    next_at = models.DateTimeField(null=True)
    last_due_at = models.DateTimeField(null=True)
    last_job = models.UUIDField(null=True)
    fired_count = models.PositiveIntegerField(default=0)
    # The topology view whose leader fired last: a leader of an older view fires nothing any more.
    epoch = models.BigIntegerField(default=0)
    # Rises with every change.
    version = models.PositiveIntegerField(default=1)
    application = models.CharField(max_length=36)
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["next_at"], name="schedule_next", condition=models.Q(next_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.topic} {self.name} next {self.next_at}"


class FailureFamily(models.Model):
    """Failures that are alike: the same topic, kind of error and place in the code. Jobs point at it with `family`."""

    fingerprint = models.CharField(max_length=32, primary_key=True)
    topic = models.CharField(max_length=255)
    # The exception's name, or "" if the consumer reported the failure itself
    error = models.CharField(max_length=255, blank=True)
    # module:function:line of the innermost frame of the consumer's code, or ""
    place = models.CharField(max_length=255, blank=True)
    message = models.TextField(blank=True)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "failure families"

    def __str__(self) -> str:
        return f"{self.topic} {self.error} at {self.place}"


class Tally(models.Model):
    """What one instance did in one minute with the jobs of one queue and topic. All statistics are sums of these."""

    minute = models.DateTimeField()
    instance = models.CharField(max_length=36)
    queue = models.CharField(max_length=255)
    topic = models.CharField(max_length=255)
    started = models.PositiveIntegerField(default=0)
    finished = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    waiting_ms = models.BigIntegerField(default=0)
    # Of successful attempts only
    processing_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["minute", "instance", "queue", "topic"], name="one_tally_per_minute")
        ]

    def __str__(self) -> str:
        return f"{self.minute} {self.instance} {self.queue} {self.topic}"


class StatisticsReset(models.Model):
    """Since when statistics are summed up: for everything (queue "") or for one queue."""

    queue = models.CharField(max_length=255, primary_key=True)
    reset_at = models.DateTimeField(db_default=Now())
    reset_by = models.CharField(max_length=150, blank=True)

    def __str__(self) -> str:
        return f"{self.queue or 'everything'} since {self.reset_at}"


class TopicSettings(models.Model):
    """What one instance of this cluster may do: Sling's white and black list of its consumer manager, and a drain."""

    sling_id = models.CharField(max_length=36, primary_key=True)
    whitelist = models.JSONField(default=list)
    blacklist = models.JSONField(default=list)
    # It finishes what it runs and takes nothing more; its lists wait until that is over.
    is_draining = models.BooleanField(default=False)
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
