"""Who is there: the instances on this database, the established views, and what other clusters announced."""

from django.db import models
from django.db.models.functions import Now


class Joining(models.Model):
    """One row for each time an instance joined. Its key is the join number: the database's order, not a clock's."""

    sling_id = models.CharField(max_length=36)
    joined_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"#{self.pk} {self.sling_id}"


class Instance(models.Model):
    """An instance on this database. It is alive while its heartbeat, on the database's clock, is young enough."""

    sling_id = models.CharField(max_length=36, primary_key=True)
    join_number = models.BigIntegerField()
    runtime_id = models.CharField(max_length=36)
    endpoint = models.CharField(max_length=500)
    home = models.CharField(max_length=1000)
    wakeup_address = models.CharField(max_length=500, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    properties = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.sling_id} at {self.endpoint}"


class View(models.Model):
    """An established cluster view. `epoch` only rises and fences whatever a leader does."""

    epoch = models.BigIntegerField(primary_key=True)
    cluster_id = models.CharField(max_length=36)
    members = models.JSONField()
    leader = models.CharField(max_length=36)
    established_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"epoch {self.epoch}: {len(self.members)} members, led by {self.leader}"


class Announcement(models.Model):
    """What an instance of another cluster last told `receiver`. Shared: every member of the cluster sees all rows."""

    receiver = models.CharField(max_length=36)
    owner_id = models.CharField(max_length=36)
    body = models.JSONField()
    inherited = models.BooleanField(default=False)
    # True if it came over a connector that proved the shared key. Only then are the keys in it believed.
    is_trusted = models.BooleanField(default=False)
    connector_url = models.CharField(max_length=500, blank=True)
    first_ping_at = models.DateTimeField(db_default=Now())
    last_ping_at = models.DateTimeField(db_default=Now())
    backoff_seconds = models.IntegerField(default=-1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["receiver", "owner_id"], name="one_announcement_per_owner")]

    def __str__(self) -> str:
        return f"{self.owner_id} as told to {self.receiver}"


class Connector(models.Model):
    """How a connector that an instance keeps to another installation is doing, for people to look at."""

    sling_id = models.CharField(max_length=36)
    url = models.CharField(max_length=500)
    peer_id = models.CharField(max_length=36, blank=True)
    status = models.CharField(max_length=200)
    is_ok = models.BooleanField(default=False)
    tried_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sling_id", "url"], name="one_row_per_connector")]

    def __str__(self) -> str:
        return f"{self.sling_id} to {self.url}: {self.status}"


class SeenSignature(models.Model):
    """A signature that was accepted once, kept as long as its key is: the same one again is a replay."""

    signature = models.CharField(max_length=64, primary_key=True)
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.signature


class Refusal(models.Model):
    """Something that another machine tried and was refused, counted: one row for each kind, caller and reason."""

    kind = models.CharField(max_length=50)
    caller = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "caller", "reason"], name="one_refusal_per_cause")]

    def __str__(self) -> str:
        return f"{self.kind} from {self.caller}: {self.reason}"
