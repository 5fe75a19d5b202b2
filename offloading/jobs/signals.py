"""News about jobs, for the apps above and for the live screens."""

from django.dispatch import Signal

# Sent inside the transaction that makes the change, with job_id, topic, state and previous (a JobState or, for a new
# job, ""). A move to another instance leaves the state as it was; of many moved at once only the first is named.
job_changed = Signal()
