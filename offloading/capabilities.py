"""What every instance of a topology view takes, as far as this installation knows.

For instances of this cluster the switches in the database count, so that a change is in force at once and not only when
the instance has announced it; of all others, what they announce.
"""

from collections.abc import Iterable

from django.conf import settings

from offloading import topics
from offloading.jobs import consumers, distribution
from offloading.jobs.distribution import Capability
from offloading.models import TopicSettings
from topology.snapshot import TopologyView

PROPERTY_NAMES = (
    distribution.CONSUMER_TOPICS,
    distribution.REGISTERED_TOPICS,
    distribution.ALLOWLIST,
    distribution.DENYLIST,
    distribution.WHITELIST,
    distribution.BLACKLIST,
    distribution.SLOTS,
    distribution.DRAINING,
)


def of_view(view: TopologyView) -> dict[str, Capability]:
    """Return what each instance of `view` takes, by sling id."""
    here = [each.sling_id for each in view.local_cluster.instances]
    switched = TopicSettings.objects.in_bulk(here)
    found = {each.sling_id: distribution.announced_capability(each.properties) for each in view.instances}
    return found | {sling_id: _switched(found[sling_id].registered, switched.get(sling_id)) for sling_id in here}


def of_this_process(sling_id: str) -> Capability:
    """Return what instance `sling_id` takes with the consumers that this process has loaded."""
    return _switched(consumers.registered(), TopicSettings.objects.filter(sling_id=sling_id).first())


def announce(sling_id: str) -> dict[str, str]:
    """Provide the topology properties of this instance. A black list of `*` takes the announcement away altogether."""
    capability = of_this_process(sling_id)
    allowed, denied = ",".join(capability.whitelist), ",".join(capability.blacklist)
    properties = {
        distribution.CONSUMER_TOPICS: ",".join(capability.announced),
        distribution.REGISTERED_TOPICS: ",".join(capability.registered),
        distribution.ALLOWLIST: allowed,
        distribution.DENYLIST: denied,
        distribution.WHITELIST: allowed,
        distribution.BLACKLIST: denied,
        distribution.SLOTS: str(settings.OFFLOADING_WORKERS),
    }
    if capability.is_draining:
        properties[distribution.DRAINING] = "true"
    if topics.EVERYTHING in capability.blacklist:
        del properties[distribution.CONSUMER_TOPICS]
    return properties


def _switched(registered: Iterable[str], switched: TopicSettings | None) -> Capability:
    row = switched or TopicSettings(whitelist=[topics.EVERYTHING], blacklist=[])
    return distribution.capability_of(registered, row.whitelist, row.blacklist, is_draining=row.is_draining)
