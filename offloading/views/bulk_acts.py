"""Doing something with many jobs at once: reading what was asked for, beginning it, and what is under way."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from offloading import exceptions
from offloading.jobs import bulk
from offloading.jobs.filters import Filter
from offloading.models import UNFINISHED, Job
from offloading.views import story
from offloading.views.listing import Wanted

# What a person has to say yes to.
WARNINGS: dict[str, str] = {
    bulk.Act.STOP: "Those that wait end as stopped at once; those that run are asked to end.",
    bulk.Act.REMOVE: "Unfinished ones end as dropped. Finished ones are deleted, with their attempts and logs. "
    "This cannot be undone.",
}
# Of more than these at once, who looks at the list has no use.
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Act:
    """What was asked for. `ids` are the ticked jobs; with none, it is all that match the filter."""

    name: str
    filter: Filter
    ids: tuple[str, ...]
    target: str = ""
    seen_at: str = ""

    @classmethod
    def read(cls, fields: QueryDict, wanted: Wanted) -> "Act":
        """Read a form. Raises QueryInvalid if it asks for nothing that can be done."""
        name = fields.get("act", "")
        if name not in list(bulk.Act):
            raise exceptions.QueryInvalid(f"act: {name!r} is none of: {', '.join(bulk.Act)}.")
        seen_at = fields.get("seen_at", "")
        if fields.get("all"):
            return cls(name, wanted.filter(_instant(seen_at)), (), fields.get("target", ""), seen_at)
        ids = tuple(fields.getlist("ids"))
        if not ids:
            raise exceptions.QueryInvalid("No job is selected. Tick some, or all that match.")
        return cls(name, Filter(ids=tuple(map(_id, ids))), ids, fields.get("target", ""), seen_at)

    @property
    def warning(self) -> str:
        return WARNINGS.get(self.name, "")

    def begin(self, by: str) -> Job:
        """Add the job that does it. Raises JobError if it cannot be done."""
        if self.name == bulk.Act.MOVE:
            return bulk.move_matching(self.filter, target=self.target, by=by)
        begin: dict[str, Callable[..., Job]] = {
            bulk.Act.RETRY: bulk.retry_matching,
            bulk.Act.STOP: bulk.stop_matching,
            bulk.Act.REMOVE: bulk.remove_matching,
        }
        return begin[self.name](self.filter, by=by)


@dataclass(frozen=True)
class Work:
    """Something with many jobs that is not done yet."""

    job: Job
    progress: story.Progress | None


def under_way() -> list[Work]:
    """Return what is being done with many jobs, the latest first."""
    jobs = Job.objects.filter(topic=bulk.TOPIC, state__in=UNFINISHED).defer("properties").order_by("-pk")
    return [Work(job, story.progress(job)) for job in jobs[:_MOST_SHOWN]]


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise exceptions.QueryInvalid(f"ids: {text!r} is no id of a job.") from None


def _instant(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise exceptions.QueryInvalid("seen_at: say when the jobs were looked at, with the time zone.")
    return found
