"""What a switch would cause, said before it is done. Counts come from one query for the whole screen."""

from dataclasses import dataclass

from django.db.models import Count

from offloading.jobs import topics
from offloading.models import Job, JobState


@dataclass(frozen=True)
class Effect:
    """A sentence about a switch; `tone` is "warn" where work would be left without an instance."""

    text: str
    tone: str = ""


class Waiting:
    """How many waiting jobs each instance has, by topic; those of "" have none."""

    def __init__(self) -> None:
        rows = Job.objects.filter(state=JobState.QUEUED).values_list("topic", "target")
        self._counts = list(rows.annotate(count=Count("pk")).order_by())

    def count(self, pattern: str, target: str) -> int:
        """Count the waiting jobs of an instance that a consumer registered for `pattern` takes."""
        return sum(
            count for topic, at, count in self._counts if at == target and topics.matching(topic, [pattern]) == pattern
        )

    def of_disabling(self, pattern: str, sling_id: str, *, others: int) -> Effect:
        """Say what disabling causes, where `others` more instances have the topic enabled."""
        count = self.count(pattern, sling_id)
        if others:
            return Effect(f"{_jobs(count)} {'moves' if count == 1 else 'move'}") if count else Effect("")
        if count:
            return Effect(f"{_jobs(count)} would be left without an instance", "warn")
        return Effect("The only one: new jobs would wait", "warn")

    def of_enabling(self, pattern: str) -> Effect:
        count = self.count(pattern, "")
        return Effect(f"{_jobs(count)} without an instance can run") if count else Effect("")


def _jobs(count: int) -> str:
    return f"{count} waiting job{'' if count == 1 else 's'}"
