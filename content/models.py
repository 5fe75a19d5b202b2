"""The content tree: nodes addressed by path, with properties and binaries. Nothing here knows what it means."""

from django.db import models
from django.db.models.functions import Now


class Blob(models.Model):
    """Bytes in the blob store, named by their SHA-256. The row exists if and only if the file does."""

    digest = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.digest[:12]} ({self.size} bytes)"


class Node(models.Model):
    """One node of the tree. `path` is the key people use; `parent` holds the tree together in the database."""

    path = models.CharField(max_length=2000, unique=True)
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")
    name = models.CharField(max_length=255)
    depth = models.PositiveSmallIntegerField()
    primary_type = models.CharField(max_length=100)
    properties = models.JSONField(default=dict)
    revision = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    modified_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.path} [{self.primary_type}]"


class Binary(models.Model):
    """A binary property of a node: a name, and the blob that holds the bytes."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="binaries")
    name = models.CharField(max_length=255)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="binaries")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "name"], name="one_binary_per_name")]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.name} -> {self.blob_id[:12]}"
