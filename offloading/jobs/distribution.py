"""Which instance a job goes to, and why each other one does not get it.

Pure: a view of the topology and what each instance may do go in; a target, or the reason for every instance that was
not chosen, comes out. The rules are those of Sling's `detectTarget`: the cluster of the job's creator before others,
then one after the other among equals.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offloading import topics as switches
from offloading.jobs import topics
from topology.snapshot import InstanceDescription, TopologyView

CONSUMER_TOPICS = "org.apache.sling.event.jobs.consumer.topics"
REGISTERED_TOPICS = "com.adobe.granite.offloading.job.registeredtopics"
WHITELIST = "job.consumermanager.whitelist"
BLACKLIST = "job.consumermanager.blacklist"

NO_CONSUMER = "has no consumer for the topic"
GONE = "was chosen, but is gone; another instance gets the job when the topology has settled"
CHANGING = "the topology is changing; the job is placed when it has settled"


@dataclass(frozen=True)
class Capability:
    """What an instance has consumers for (`registered`), and what of that it takes (`announced`)."""

    registered: tuple[str, ...] = ()
    announced: tuple[str, ...] = ()
    whitelist: tuple[str, ...] = (switches.EVERYTHING,)
    blacklist: tuple[str, ...] = ()

    def takes(self, topic: str) -> bool:
        return bool(topics.matching(topic, self.announced))

    def why_not(self, topic: str) -> str:
        """Say why the instance does not take `topic`; "" if it does."""
        if self.takes(topic):
            return ""
        pattern = topics.matching(topic, self.registered)
        return switches.why_not(pattern, self.whitelist, self.blacklist) if pattern else NO_CONSUMER


@dataclass(frozen=True)
class Reason:
    """Why an instance was not chosen."""

    instance_label: str
    sling_id: str
    text: str


@dataclass(frozen=True)
class Choice:
    """Where a job goes ("" = nowhere for now), and why not to each of the other instances."""

    target: str
    reasons: tuple[Reason, ...]


def capability_of(registered: Iterable[str], whitelist: Iterable[str], blacklist: Iterable[str]) -> Capability:
    """Return what an instance with these consumers and these lists takes."""
    patterns, white, black = tuple(sorted(registered)), tuple(whitelist), tuple(blacklist)
    return Capability(patterns, switches.announced(patterns, white, black), white, black)


def announced_capability(properties: Mapping[str, str]) -> Capability:
    """Return what an instance says of itself in its topology properties."""
    return Capability(
        registered=listed(properties.get(REGISTERED_TOPICS, "")),
        announced=listed(properties.get(CONSUMER_TOPICS, "")),
        whitelist=listed(properties.get(WHITELIST, "")) or (switches.EVERYTHING,),
        blacklist=listed(properties.get(BLACKLIST, "")),
    )


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a comma separated property."""
    return tuple(part for each in text.split(",") if (part := each.strip()))


def choose(
    *,
    view: TopologyView,
    capabilities: Mapping[str, Capability],
    topic: str,
    creator: str,
    turn: int = 0,
    stays_in_cluster: bool = False,
) -> Choice:
    """Choose the instance for a job that instance `creator` added.

    `turn` counts up from job to job: among equals it decides whose turn it is. `stays_in_cluster` is for a job that
    already came from another installation: it is not sent on.
    """
    if not view.is_current:
        return Choice("", tuple(_reason(each, CHANGING) for each in view.instances))
    able = [each for each in ranked(view) if capabilities.get(each.sling_id, Capability()).takes(topic)]
    near = [each for each in able if each.cluster_id == _home(view, creator, stays_in_cluster)]
    candidates = near if near or stays_in_cluster else able
    target = candidates[turn % len(candidates)].sling_id if candidates else ""
    others = (each for each in view.instances if each.sling_id != target)
    ids = frozenset(each.sling_id for each in candidates)
    return Choice(
        target,
        tuple(
            _reason(each, capabilities.get(each.sling_id, Capability()).why_not(topic) or _passed_over(each, ids, near))
            for each in others
        ),
    )


def ranked(view: TopologyView) -> list[InstanceDescription]:
    """Return all instances in the order of preference: local cluster, its leader, then by sling id."""

    def rank(each: InstanceDescription) -> tuple[bool, bool, str]:
        is_local = view.is_local_member(each.sling_id)
        return (not is_local, not (is_local and each.is_leader), each.sling_id)

    return sorted(view.instances, key=rank)


def _home(view: TopologyView, creator: str, stays_in_cluster: bool) -> str:
    cluster = None if stays_in_cluster else view.cluster_of(creator)
    return (cluster or view.local_cluster).id if cluster or stays_in_cluster else ""


def _passed_over(instance: InstanceDescription, candidates: frozenset[str], near: list[InstanceDescription]) -> str:
    if instance.sling_id in candidates:
        return "takes the topic too, but it was another instance's turn"
    if near:
        return "is in another cluster, while an instance of the job's own cluster takes the topic"
    return "is in another cluster, and the job already came from one"


def _reason(instance: InstanceDescription, text: str) -> Reason:
    return Reason(instance.label, instance.sling_id, text)
