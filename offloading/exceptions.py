"""What job authors and callers of the job manager may have to catch. Each message says what to do next."""


class JobError(Exception):
    """Anything that the job engine refuses."""


class TopicInvalid(JobError, ValueError):
    """A topic, or a pattern of topics, breaks the rules for their names."""


class PropertiesInvalid(JobError, ValueError):
    """A property of a job cannot be stored."""


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
