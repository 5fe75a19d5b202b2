"""What every instance of a topology view takes, as far as this installation knows.

For instances of this cluster the switches in the database count, so that a change is in force at once and not only when
the instance has announced it; of all others, what they announce.
"""

from offloading import topics
from offloading.jobs import consumers, distribution
from offloading.jobs.distribution import Capability
from offloading.models import TopicSettings
from topology.snapshot import TopologyView

PROPERTY_NAMES = (
    distribution.CONSUMER_TOPICS,
    distribution.REGISTERED_TOPICS,
    distribution.WHITELIST,
    distribution.BLACKLIST,
)


def of_view(view: TopologyView) -> dict[str, Capability]:
    """Return what each instance of `view` takes, by sling id."""
    here = [each.sling_id for each in view.local_cluster.instances]
    switched = TopicSettings.objects.in_bulk(here)
    found = {each.sling_id: distribution.announced_capability(each.properties) for each in view.instances}
    return found | {sling_id: _switched(found[sling_id], switched.get(sling_id)) for sling_id in here}


def of_this_process(sling_id: str) -> Capability:
    """Return what instance `sling_id` takes with the consumers that this process has loaded."""
    lists = TopicSettings.objects.filter(sling_id=sling_id).first() or _unswitched(sling_id)
    return distribution.capability_of(consumers.registered(), lists.whitelist, lists.blacklist)


def announce(sling_id: str) -> dict[str, str]:
    """Provide the topology properties of this instance. A black list of `*` takes the announcement away altogether."""
    capability = of_this_process(sling_id)
    properties = {
        distribution.CONSUMER_TOPICS: ",".join(capability.announced),
        distribution.REGISTERED_TOPICS: ",".join(capability.registered),
        distribution.WHITELIST: ",".join(capability.whitelist),
        distribution.BLACKLIST: ",".join(capability.blacklist),
    }
    if topics.EVERYTHING in capability.blacklist:
        del properties[distribution.CONSUMER_TOPICS]
    return properties


def _switched(announced: Capability, settings: TopicSettings | None) -> Capability:
    lists = settings or _unswitched("")
    return distribution.capability_of(announced.registered, lists.whitelist, lists.blacklist)


def _unswitched(sling_id: str) -> TopicSettings:
    return TopicSettings(sling_id=sling_id, whitelist=[topics.EVERYTHING], blacklist=[])
