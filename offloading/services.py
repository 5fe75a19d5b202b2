"""Switching what an instance may do, draining it, and the table of who may do what.

An instance of this cluster is switched in the database at once; one of another cluster is asked to, and the change is
pending until that one announces it. A drain is decided in the installation that the instance belongs to.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models.functions import Now

from offloading import capabilities, exceptions, topics
from offloading.jobs import placement
from offloading.jobs.distribution import Capability
from offloading.models import SwitchCommand, TopicSettings
from topology import identity, wakeup
from topology import services as topology
from topology.models import Instance
from topology.snapshot import InstanceDescription

logger = logging.getLogger(__name__)

# So many jobs are moved before the answer; the leader moves the rest when the instance has announced the change.
_MOVED_AT_ONCE = 2_000


@dataclass(frozen=True)
class TopicRow:
    """One instance under a topic. `reason` says why it does not take jobs: it is off, or draining.

    `pending` is a switch that it did not confirm yet.
    """

    instance: InstanceDescription
    is_enabled: bool
    is_draining: bool
    reason: str
    pending: SwitchCommand | None


@dataclass(frozen=True)
class TopicBlock:
    """A topic, as the pattern that consumers registered, and the instances that have one: enabled ones first."""

    topic: str
    rows: tuple[TopicRow, ...]


def configure_instance(*, sling_id: str, actions: Mapping[str, str], by: str) -> SwitchCommand | None:
    """Carry out `actions` (registered topic -> "enable", "disable" or "exclusive") on an instance.

    Returns the command that is under way to an instance of another cluster; None if it is done. That moves away the
    waiting jobs that the instance no longer takes, and gives it those that waited for somebody like it.
    Raises InstanceUnknown or SwitchInvalid.
    """
    view = topology.current_view()
    if view.get(sling_id) is None:
        raise exceptions.InstanceUnknown(
            f"No instance {sling_id} is in the topology now. Look at the Topology Browser for those that are."
        )
    known = capabilities.of_view(view)[sling_id]
    _check(actions, known)
    logger.info("topics switched", extra={"instance": sling_id, "actions": dict(actions), "by": by})
    if not view.is_local_member(sling_id):
        return _ask(sling_id, actions, by)
    _switch(sling_id, known, actions, by)
    # Not in one transaction with the switch: a long backlog would keep everybody else from writing.
    placement.settle(view, target=sling_id, most=_MOVED_AT_ONCE)
    return None


def drain_instance(*, sling_id: str, by: str) -> bool:
    """Let an instance of this cluster finish what it runs and take nothing more, until it is told otherwise.

    What waits for it moves away. Lasts over a restart; its lists stay as they are. Returns whether it was not draining
    before. Raises InstanceUnknown for one that does not belong to this installation.
    """
    return _set_draining(sling_id, True, by)


def undrain_instance(*, sling_id: str, by: str) -> bool:
    """End a drain: the instance takes again what its lists allow. Returns whether it was draining. Raises as above."""
    return _set_draining(sling_id, False, by)


def draining() -> list[TopicSettings]:
    """Return the settings of the instances of this cluster that are draining, those that are not running included."""
    return list(TopicSettings.objects.filter(is_draining=True).order_by("sling_id"))


def topic_table() -> list[TopicBlock]:
    """Return who has a consumer for what, and who may use it."""
    view = topology.current_view()
    known = capabilities.of_view(view)
    pending = _pending()
    rows: defaultdict[str, list[TopicRow]] = defaultdict(list)
    for instance in view.instances:
        capability = known[instance.sling_id]
        for topic in capability.registered:
            rows[topic].append(_row(instance, topic, capability, pending.get((instance.sling_id, topic))))
    return [TopicBlock(topic, tuple(sorted(rows[topic], key=_by_use))) for topic in sorted(rows)]


def _check(actions: Mapping[str, str], known: Capability) -> None:
    for topic, action in actions.items():
        if action not in topics.ACTIONS:
            raise exceptions.SwitchInvalid(f"{action!r} is no switch: use {', '.join(topics.ACTIONS)}.")
        if topic not in known.registered:
            names = ", ".join(known.registered) or "none"
            raise exceptions.SwitchInvalid(f"The instance has no consumer for {topic!r}; it has: {names}.")


def _ask(sling_id: str, actions: Mapping[str, str], by: str) -> SwitchCommand:
    with transaction.atomic():
        wakeup.notify("transport")
        return SwitchCommand.objects.create(sling_id=sling_id, actions=dict(actions), requested_by=by)


@transaction.atomic
def _switch(sling_id: str, known: Capability, actions: Mapping[str, str], by: str) -> None:
    """Write the lists of an instance of this cluster. The row is locked, so that two clicks do not undo each other."""
    TopicSettings.objects.get_or_create(sling_id=sling_id, defaults={"whitelist": [topics.EVERYTHING]})
    row = TopicSettings.objects.select_for_update().get(sling_id=sling_id)
    white, black = topics.apply_actions(known.registered, row.whitelist, row.blacklist, actions)
    TopicSettings.objects.filter(sling_id=sling_id).update(
        whitelist=white, blacklist=black, changed_by=by, changed_at=Now()
    )
    wakeup.notify("properties", sling_id)
    wakeup.notify("jobs", sling_id)


def _set_draining(sling_id: str, is_draining: bool, by: str) -> bool:
    if sling_id != identity.sling_id() and not Instance.objects.filter(sling_id=sling_id).exists():
        raise exceptions.InstanceUnknown(
            f"No instance {sling_id} belongs to this installation. Drain one of another installation over there."
        )
    with transaction.atomic():
        TopicSettings.objects.get_or_create(sling_id=sling_id, defaults={"whitelist": [topics.EVERYTHING]})
        changed = TopicSettings.objects.filter(sling_id=sling_id, is_draining=not is_draining)
        has_changed = bool(changed.update(is_draining=is_draining, changed_by=by, changed_at=Now()))
        wakeup.notify("properties", sling_id)
        wakeup.notify("jobs", sling_id)
    logger.info("drain begun" if is_draining else "drain ended", extra={"instance": sling_id, "by": by})
    placement.settle(target=sling_id, most=_MOVED_AT_ONCE)
    return has_changed


def _pending() -> dict[tuple[str, str], SwitchCommand]:
    """Return the latest unconfirmed command for each (instance, topic)."""
    waiting = SwitchCommand.objects.filter(confirmed_at=None).order_by("requested_at", "id")
    return {(command.sling_id, topic): command for command in waiting for topic in command.actions}


def _row(instance: InstanceDescription, topic: str, capability: Capability, pending: SwitchCommand | None) -> TopicRow:
    reason = "" if topic in capability.announced else capability.why_off(topic)
    return TopicRow(instance, topic in capability.allowed, capability.is_draining, reason, pending)


def _by_use(row: TopicRow) -> tuple[bool, str, str]:
    return (not row.is_enabled, row.instance.label, row.instance.sling_id)
