"""Remembers the signatures that were accepted, for as long as their key is good, in the database of all members."""

from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from topology import models as rows

# A signature is good in its own key period and in one on either side.
_PERIODS_GOOD = 3


def is_new(signature: str) -> bool:
    """Remember a signature; return False if it was seen before."""
    try:
        with transaction.atomic():
            rows.SeenSignature.objects.create(signature=signature)
    except IntegrityError:
        return False
    return True


def prune() -> None:
    """Forget the signatures that no longer prove anything."""
    age = timedelta(seconds=_PERIODS_GOOD * settings.OFFLOADING_CONNECTOR_KEY_TTL_SECONDS)
    rows.SeenSignature.objects.filter(seen_at__lt=Now() - age).delete()
