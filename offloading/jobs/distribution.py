"""Which instance a job goes to, and why each other one does not get it.

Pure: a view of the topology, what each instance may do and how much work it has go in; a target, and the reason for
every instance that was not chosen, come out. Who may get a job, and in which order of preference, follows Sling's
`detectTarget`. Where Sling then takes turns, the instance with the most room is chosen here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from offloading import topics as switches
from offloading.jobs import topics
from topology.snapshot import InstanceDescription, TopologyView

CONSUMER_TOPICS = "org.apache.sling.event.jobs.consumer.topics"
REGISTERED_TOPICS = "com.adobe.granite.offloading.job.registeredtopics"
ALLOWLIST = "job.consumermanager.allowlist"
DENYLIST = "job.consumermanager.denylist"
# The names of the two lists up to Sling 4.3; whoever knows only those reads them.
WHITELIST = "job.consumermanager.whitelist"
BLACKLIST = "job.consumermanager.blacklist"
SLOTS = "offloading.worker.slots"
DRAINING = "offloading.draining"
# Another installation could announce anything; what is longer is no number of slots.
_SLOTS_DIGITS = 5

NO_CONSUMER = "has no consumer for the topic"
NOT_ANNOUNCED = "has a consumer for the topic, but does not announce it"
IS_DRAINING = "draining"
GONE = "was chosen, but is gone; another instance gets the job when the topology has settled"
CHANGING = "the topology is changing; the job is placed when it has settled"
ELSEWHERE = "is in another cluster, while an instance of the job's own cluster takes the topic"
NOT_SENT_ON = "is in another cluster, and the job already came from one"
NOT_LEADER = "takes the topic too, but distribution is switched off: the leader of the cluster does it"
NOT_CREATOR = "takes the topic too, but the queue runs its jobs where they were added"
ORDERED = "takes the topic too, but the queue is ordered: all its jobs go to one instance"
MORE_WORK = "takes the topic too, but has more work for each of its slots than the chosen one"
OTHERS_TURN = "takes the topic too, but it was another instance's turn"
FREER_NOW = "takes the topic too and has more room now, but had not when the job was placed"


@dataclass(frozen=True)
class Capability:
    """What an instance has consumers for (`registered`), and what of that it takes (`announced`)."""

    registered: tuple[str, ...] = ()
    announced: tuple[str, ...] = ()
    whitelist: tuple[str, ...] = (switches.EVERYTHING,)
    blacklist: tuple[str, ...] = ()
    # It finishes what it runs and takes nothing more, whatever its lists say.
    is_draining: bool = False

    @property
    def allowed(self) -> tuple[str, ...]:
        """What the instance is switched on for: a drain does not change that."""
        if self.is_draining:
            return switches.announced(self.registered, self.whitelist, self.blacklist)
        return self.announced

    def takes(self, topic: str) -> bool:
        return bool(topics.matching(topic, self.announced))

    def why_not(self, topic: str) -> str:
        """Say why the instance does not take `topic`; "" if it does."""
        if self.takes(topic):
            return ""
        pattern = topics.matching(topic, self.registered)
        return self.why_off(pattern) if pattern else NO_CONSUMER

    def why_off(self, pattern: str) -> str:
        """Say why a registered pattern that is not announced is not."""
        off = switches.why_not(pattern, self.whitelist, self.blacklist)
        return off or (IS_DRAINING if self.is_draining else NOT_ANNOUNCED)


@dataclass(frozen=True)
class Load:
    """How much work an instance has: jobs that wait for it, jobs that it runs, and how many it can run at a time."""

    waiting: int = 0
    running: int = 0
    slots: int = 1

    @property
    def free(self) -> int:
        """Slots that nobody claims: what waits will take some of those that are idle."""
        return max(self.slots - self.running - self.waiting, 0)

    @property
    def per_slot(self) -> float:
        return (self.waiting + self.running) / self.slots

    @cached_property
    def order(self) -> tuple[int, float]:
        """What instances are compared by, the best being the least: most free slots, then least work for each slot."""
        return (-self.free, self.per_slot)


@dataclass(frozen=True)
class Wishes:
    """What beside the topic decides who may get a job that instance `creator` added."""

    creator: str
    # It came from another installation and is not sent on.
    stays_in_cluster: bool = False
    # Its queue runs its jobs one after the other.
    is_ordered: bool = False
    # Its queue prefers the instance that added the job.
    prefers_creator: bool = False
    # Distribution is switched off.
    is_for_leader: bool = False


@dataclass(frozen=True)
class Reason:
    """Why an instance was not chosen."""

    instance_label: str
    sling_id: str
    text: str


_IDLE = Load()


@dataclass(frozen=True)
class Candidates:
    """The instances that may get a job, in the order of preference; `passed_over` are others that take its topic."""

    view: TopologyView
    capabilities: Mapping[str, Capability]
    topic: str
    is_ordered: bool = False
    ids: tuple[str, ...] = ()
    # Sling id -> why it is no candidate
    passed_over: Mapping[str, str] = field(default_factory=dict)

    def choose(self, loads: Mapping[str, Load], turn: int = 0) -> "Choice":
        """Choose the one with the most room; among equals, `turn` decides, which counts up from job to job.

        An ordered queue has one instance, the same whoever asks: the first.
        """
        found = tuple([loads.get(sling_id, _IDLE) for sling_id in self.ids])
        if not found:
            return Choice("", self, found)
        if self.is_ordered or len(found) == 1:
            return Choice(self.ids[0], self, found)
        orders = [load.order for load in found]
        best = min(orders)
        equals = [sling_id for sling_id, order in zip(self.ids, orders, strict=True) if order == best]
        return Choice(equals[turn % len(equals)], self, found)


@dataclass(frozen=True)
class Choice:
    """Where a job goes ("" = nowhere for now), out of which candidates, and how much work each of those had."""

    target: str
    candidates: Candidates
    loads: tuple[Load, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Say why not to each of the other instances."""
        return self.reasons_against(self.target)

    def reasons_against(self, target: str) -> tuple[Reason, ...]:
        """Say of each instance but `target` why it does not have the job, which may have been placed long ago."""
        others = (each for each in self.candidates.view.instances if each.sling_id != target)
        return tuple(Reason(each.label, each.sling_id, self._why_not(each.sling_id, target)) for each in others)

    def _why_not(self, sling_id: str, target: str) -> str:
        candidates = self.candidates
        if not candidates.view.is_current:
            return CHANGING
        if sling_id in candidates.ids:
            return self._why_less(sling_id, target)
        if sling_id in candidates.passed_over:
            return candidates.passed_over[sling_id]
        return candidates.capabilities.get(sling_id, Capability()).why_not(candidates.topic)

    def _why_less(self, sling_id: str, target: str) -> str:
        if self.candidates.is_ordered:
            return ORDERED
        loads = dict(zip(self.candidates.ids, self.loads, strict=True))
        own, chosen = loads[sling_id], loads.get(target)
        if chosen is None or own.order < chosen.order:
            return FREER_NOW
        if own.free < chosen.free:
            return (
                f"takes the topic too, but has {own.free or 'no'} free slot{'s' * (own.free != 1)}, not {chosen.free}"
            )
        return MORE_WORK if own.per_slot > chosen.per_slot else OTHERS_TURN


def choose(
    *,
    view: TopologyView,
    capabilities: Mapping[str, Capability],
    topic: str,
    wishes: Wishes,
    loads: Mapping[str, Load] | None = None,
    turn: int = 0,
) -> Choice:
    """Choose the instance for a job; one without a load counts as idle, with one slot."""
    found = candidates(view=view, capabilities=capabilities, topic=topic, wishes=wishes)
    return found.choose(loads or {}, turn)


def candidates(*, view: TopologyView, capabilities: Mapping[str, Capability], topic: str, wishes: Wishes) -> Candidates:
    """Return who may get a job of this topic. Nobody does while the topology is changing."""
    if not view.is_current:
        return Candidates(view, capabilities, topic)
    able = [each for each in ranked(view) if capabilities.get(each.sling_id, Capability()).takes(topic)]
    found, passed_over = _narrow(view, able, wishes)
    ids = tuple(each.sling_id for each in found)
    return Candidates(view, capabilities, topic, wishes.is_ordered, ids, passed_over)


def ranked(view: TopologyView) -> list[InstanceDescription]:
    """Return all instances in the order of preference: local cluster, its leader, then by sling id."""

    def rank(each: InstanceDescription) -> tuple[bool, bool, str]:
        is_local = view.is_local_member(each.sling_id)
        return (not is_local, not (is_local and each.is_leader), each.sling_id)

    return sorted(view.instances, key=rank)


def _narrow(
    view: TopologyView, able: list[InstanceDescription], wishes: Wishes
) -> tuple[list[InstanceDescription], dict[str, str]]:
    """Keep of those who are `able` the ones that the wishes leave, and say why each of the others is passed over.

    A wish that would leave nobody is not heard, but for `stays_in_cluster`. An ordered queue comes before the wish for
    the creator, as its jobs would be in several places otherwise.
    """
    home = _home(view, wishes)
    near = [each.sling_id for each in able if each.cluster_id == home]
    steps = [(NOT_SENT_ON if wishes.stays_in_cluster else ELSEWHERE, near)]
    if wishes.is_for_leader:
        steps.append((NOT_LEADER, [each.sling_id for each in able if each.is_leader and each.cluster_id == home]))
    if wishes.prefers_creator and not wishes.is_ordered:
        steps.append((NOT_CREATOR, [wishes.creator]))
    kept, passed_over = able, dict[str, str]()
    for text, wanted in steps:
        found = [each for each in kept if each.sling_id in wanted]
        if found or text == NOT_SENT_ON:
            passed_over |= {each.sling_id: text for each in kept if each.sling_id not in wanted}
            kept = found
    return kept, passed_over


def _home(view: TopologyView, wishes: Wishes) -> str:
    """Return the id of the cluster that a job belongs to; "" if its creator is gone."""
    if wishes.stays_in_cluster:
        return view.local_cluster.id
    cluster = view.cluster_of(wishes.creator)
    return cluster.id if cluster else ""


# --- What instances announce --------------------------------------------------------------------------------------


def capability_of(
    registered: Iterable[str], whitelist: Iterable[str], blacklist: Iterable[str], *, is_draining: bool = False
) -> Capability:
    """Return what an instance with these consumers and these lists takes."""
    patterns, white, black = tuple(sorted(registered)), tuple(whitelist), tuple(blacklist)
    announced = () if is_draining else switches.announced(patterns, white, black)
    return Capability(patterns, announced, white, black, is_draining)


def announced_capability(properties: Mapping[str, str]) -> Capability:
    """Return what an instance says of itself in its topology properties. Of a list's two names the new one wins."""
    return Capability(
        registered=listed(properties.get(REGISTERED_TOPICS, "")),
        announced=listed(properties.get(CONSUMER_TOPICS, "")),
        whitelist=_first_of(properties, ALLOWLIST, WHITELIST) or (switches.EVERYTHING,),
        blacklist=_first_of(properties, DENYLIST, BLACKLIST),
        is_draining=properties.get(DRAINING) == "true",
    )


def announced_slots(properties: Mapping[str, str]) -> int:
    """Return how many jobs an instance runs at a time; 1 for one that does not say so, or says nonsense."""
    text = properties.get(SLOTS, "")
    is_number = text.isascii() and text.isdigit() and len(text) <= _SLOTS_DIGITS
    return max(int(text), 1) if is_number else 1


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a comma separated property."""
    return tuple(part for each in text.split(",") if (part := each.strip()))


def _first_of(properties: Mapping[str, str], *names: str) -> tuple[str, ...]:
    return next((listed(properties[name]) for name in names if name in properties), ())
