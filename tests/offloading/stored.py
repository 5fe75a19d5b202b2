"""Jobs as they lie in the store, for the tests of what finds them."""

from django.db.models.functions import Now

from offloading.jobs import ids, states
from offloading.models import Job, JobState


def store(topic="acme/mail/send", state=JobState.QUEUED, **columns):
    """Store a job in that state and return it as it is read."""
    columns = {"queue": "<main queue>", "application": "here", "target": "here", "properties": {}} | columns
    if state in states.FINAL:
        columns = {"finished_at": Now()} | columns
    job = Job.objects.create(**({"id": ids.uuid7()} | columns), topic=topic, state=state)
    return Job.objects.get(pk=job.pk)
