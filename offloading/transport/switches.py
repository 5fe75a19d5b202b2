"""Switches on instances of other clusters: sent signed, tried again for a while, confirmed by what they announce.

A command is pending from the click until the instance shows it. Commands for one instance go in the order in which they
were asked for, so that the last one has the last word.
"""

import logging
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from offloading import exceptions, services, topics
from offloading.jobs import distribution
from offloading.models import SwitchCommand
from offloading.transport import client, messages, signing, transfers
from topology import services as topology
from topology import snapshot

log = logging.getLogger(__name__)

PATH = "/bin/receive/switch"
# About five minutes with the delays between; whoever asked has looked elsewhere by then.
MOST_TRIES = 10
# A command that is being tried is out of reach for others for longer than a call can take.
_LEASE_SECONDS = 60.0

# --- Sending ---------------------------------------------------------------------------------------------------------


def ready() -> QuerySet[SwitchCommand]:
    """Return the commands to be tried now: of each instance the oldest that was not sent."""
    unsent = SwitchCommand.objects.filter(sent_at=None, confirmed_at=None, tries__lt=MOST_TRIES)
    is_later = Q(requested_at__lt=OuterRef("requested_at")) | Q(
        requested_at=OuterRef("requested_at"), id__lt=OuterRef("id")
    )
    earlier = unsent.filter(is_later, sling_id=OuterRef("sling_id"))
    is_time = Q(next_try_at=None) | Q(next_try_at__lte=Now())
    return unsent.filter(is_time).exclude(Exists(earlier))


def send_all(view: snapshot.TopologyView) -> int:
    """Try what is ready; return how many arrived. One that fails keeps no other from being tried."""
    commands = list(ready().order_by("requested_at", "id"))
    return sum(_send(command, view) for command in commands)


def _send(command: SwitchCommand, view: snapshot.TopologyView) -> bool:
    lease = transfers.in_seconds(_LEASE_SECONDS)
    if not ready().filter(id=command.id).update(tries=F("tries") + 1, next_try_at=lease):
        return False
    tries = command.tries + 1
    peer = view.get(command.sling_id)
    try:
        if peer is None:
            raise client.PeerUnreachable("The instance is not in the topology.")
        client.post(peer, PATH, messages.Switch(command.sling_id, command.actions, command.requested_by).to_json())
    except client.PeerRefused as refusal:
        _failed(command, MOST_TRIES if refusal.is_lasting else tries, str(refusal))
    except client.PeerUnreachable as error:
        _failed(command, tries, str(error))
    else:
        SwitchCommand.objects.filter(id=command.id).update(sent_at=Now(), error="", next_try_at=None)
        log.info("switch sent", extra=_facts(command))
        return True
    return False


def _failed(command: SwitchCommand, tries: int, reason: str) -> None:
    is_over = tries >= MOST_TRIES
    SwitchCommand.objects.filter(id=command.id).update(
        tries=tries,
        error=f"Given up: {reason}" if is_over else reason,
        next_try_at=transfers.in_seconds(transfers.delay_seconds(tries)),
    )
    log.warning("switch not sent", extra=_facts(command) | {"reason": reason, "tries": tries, "given_up": is_over})


def _facts(command: SwitchCommand) -> dict[str, Any]:
    return {"instance": command.sling_id, "actions": command.actions, "by": command.requested_by}


# --- Confirming ------------------------------------------------------------------------------------------------------


def confirm(view: snapshot.TopologyView) -> int:
    """Close the commands that their instances show by now, and those that a later one made pointless."""
    waiting = SwitchCommand.objects.exclude(sent_at=None).filter(confirmed_at=None).order_by("-requested_at", "-id")
    closed, settled = [], set[tuple[str, str]]()
    for command in waiting:
        instance = view.get(command.sling_id)
        concerned = {(command.sling_id, topic) for topic in command.actions}
        if concerned <= settled or (instance is not None and is_shown(command.actions, instance.properties)):
            closed.append(command.id)
        if command.id in closed:
            settled |= concerned
    return SwitchCommand.objects.filter(id__in=closed).update(confirmed_at=Now(), error="")


def is_shown(actions: dict[str, str], properties: Any) -> bool:
    """Say whether an instance with these properties does what was asked of it."""
    capability = distribution.announced_capability(properties)
    exclusive = sorted(topic for topic, action in actions.items() if action == topics.EXCLUSIVE)
    if exclusive and sorted(capability.whitelist) != exclusive:
        return False
    return all((topic in capability.allowed) == (action != topics.DISABLE) for topic, action in actions.items())


# --- Receiving -------------------------------------------------------------------------------------------------------


def receive(switch: messages.Switch, *, caller: str) -> None:
    """Carry out a switch on an instance of this cluster. Raises `signing.Refused`."""
    view = topology.current_view()
    if not view.is_local_member(switch.sling_id):
        raise _invalid("The instance to be switched is not in this cluster", switch.sling_id)
    peer = view.get(caller)
    by = f"{switch.requested_by} at {peer.label if peer else caller}"
    try:
        services.configure_instance(sling_id=switch.sling_id, actions=switch.actions, by=by)
    except (exceptions.SwitchInvalid, exceptions.InstanceUnknown) as error:
        raise _invalid("The switch cannot be made", str(error)) from error


def _invalid(reason: str, detail: str) -> signing.Refused:
    remedy = "Open the Offloading Browser again: it shows what there is now."
    return signing.Refused("switch-invalid", reason, remedy, detail=detail, status=400)
