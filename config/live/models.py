"""The outbox of the live screens: small hints that something changed, tailed by every web process."""

from django.db import models
from django.db.models.functions import Now


class Hint(models.Model):
    """Something of `kind` changed ("jobs", "topology", …). A hint carries no data: who sees it fetches again."""

    kind = models.CharField(max_length=20)
    key = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
