"""The content tree: nodes addressed by path, with properties and binaries. Nothing here knows what it means."""

from collections.abc import Iterable

from django.db import connections, models
from django.db.models.functions import Now

from content import paths


class BlobQuerySet(models.QuerySet["Blob"]):
    def usable(self) -> "BlobQuerySet":
        """Narrow to blobs that may be read and referred to."""
        return self.filter(condemned_at=None)

    def hold(self, digests: Iterable[str]) -> "dict[str, Blob]":
        """Read usable blobs and keep the collector away from them until the transaction ends."""
        wanted = sorted(set(digests))
        blobs: Iterable[Blob] = self.usable().filter(digest__in=wanted).order_by("digest")
        if wanted and connections[self.db].vendor == "postgresql":
            blobs = self.raw(
                "SELECT * FROM content_blob WHERE digest = ANY(%s) AND condemned_at IS NULL"
                " ORDER BY digest FOR KEY SHARE",
                [wanted],
            )
        return {blob.digest: blob for blob in blobs}

    def unreferenced(self) -> "BlobQuerySet":
        return self.filter(~models.Exists(Binary.objects.filter(blob=models.OuterRef("digest"))))


class Blob(models.Model):
    """Bytes in the blob store, named by their SHA-256. A usable row has its file; blobs.py sees to that."""

    digest = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    # When the bytes were last stored, also if they were there already: young blobs wait for their first reference.
    stored_at = models.DateTimeField(db_default=Now())
    # Set when the collector chose it. From then on nobody may refer to it; storing the bytes again clears it.
    condemned_at = models.DateTimeField(null=True)

    objects = BlobQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.digest[:12]} ({self.size} bytes)"


class NodeQuerySet(models.QuerySet["Node"]):
    def below(self, path: str) -> "NodeQuerySet":
        """Narrow to the nodes strictly below `path`."""
        return self.filter(self._is_below(path))

    def subtree(self, *roots: str) -> "NodeQuerySet":
        """Narrow to the nodes at and below the roots."""
        condition = models.Q(path__in=roots)
        for root in roots:
            condition |= self._is_below(root)
        return self.filter(condition)

    def hold(self, path: str) -> "Node | None":
        """Read a node and keep it where it is, against moving and removal, until the transaction ends.

        Others may hold it too, and change its properties: so two people can add to one folder at the same time.
        """
        if connections[self.db].vendor == "postgresql":
            return next(iter(self.raw("SELECT * FROM content_node WHERE path = %s FOR KEY SHARE", [path])), None)
        return self.filter(path=path).first()  # SQLite has one writer at a time: the transaction holds everything

    def _is_below(self, path: str) -> models.Q:
        if path == paths.ROOT:
            return models.Q(depth__gt=0)
        # Each database gets the form it has an index for. PostgreSQL sorts by the language of the installation, so
        # a range would be wrong, and serves LIKE 'x/%' from the pattern index that Django makes for a unique path.
        # SQLite sorts by bytes, where "0" comes right after "/", and its LIKE ignores case and index.
        if connections[self.db].vendor == "postgresql":
            return models.Q(path__startswith=path + "/")
        return models.Q(path__gt=path + "/", path__lt=path + "0")


class Node(models.Model):
    """One node of the tree. `path` is the key people use; `parent` holds the tree together in the database."""

    path = models.CharField(max_length=2000, unique=True)
    # Nobody but services removes nodes, a whole subtree in one statement; Django's cascade would load every row.
    # The database's own constraint still refuses to leave a child behind.
    parent = models.ForeignKey("self", null=True, on_delete=models.DO_NOTHING, related_name="children")
    name = models.CharField(max_length=255)
    depth = models.PositiveSmallIntegerField()
    primary_type = models.CharField(max_length=100)
    properties = models.JSONField(default=dict)
    revision = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    modified_at = models.DateTimeField(db_default=Now())

    objects = NodeQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.path} [{self.primary_type}]"


class Binary(models.Model):
    """A binary property of a node: a name, and the blob that holds the bytes."""

    node = models.ForeignKey(Node, on_delete=models.DO_NOTHING, related_name="binaries")
    name = models.CharField(max_length=255)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="binaries")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "name"], name="one_binary_per_name")]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.name} -> {self.blob_id[:12]}"
