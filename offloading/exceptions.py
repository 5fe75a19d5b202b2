"""What job authors and callers of the job manager may have to catch. Each message says what to do next."""

from collections.abc import Mapping


class JobError(Exception):
    """Anything that the job engine refuses."""


class TopicInvalid(JobError, ValueError):
    """A topic, or a pattern of topics, breaks the rules for their names."""


class PropertiesInvalid(JobError, ValueError):
    """A property of a job cannot be stored."""


class JobRefused(JobError):
    """The queue of the topic drops its jobs, while somebody depends on this one."""


class JobMissing(JobError, LookupError):
    """No job has that id."""


class TransitionRefused(JobError):
    """The job is in a state from which it cannot do that."""


class StaleFence(JobError):
    """The job moved on: this attempt no longer holds it, and whatever it wanted to write was not written."""


class InstanceUnknown(JobError, LookupError):
    """The topology shows no instance with that id."""


class SwitchInvalid(JobError, ValueError):
    """A switch names a topic or an action that the instance does not know."""


class ScheduleInvalid(JobError, ValueError):
    """A schedule breaks the rules of its type, or names no time that will come."""


class ScheduleMissing(JobError, LookupError):
    """No scheduled job has that name."""


class PropertiesWrong(JobError, ValueError):
    """Some properties of something are not valid. `problems` maps each of them to what is to be done about it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in self.problems.items()))


class QueueInvalid(PropertiesWrong):
    """A queue configuration cannot be used."""


class QueueMissing(JobError, LookupError):
    """No queue is configured under that name."""


class PauseInvalid(PropertiesWrong):
    """A pause cannot be made."""


class AsyncMisused(JobError, RuntimeError):
    """The result of an asynchronous job was brought too early, or twice."""


class QueryInvalid(JobError, ValueError):
    """A query for jobs, a filter or an order to many jobs cannot be carried out as it stands."""
