"""The Offloading Browser: one block a topic, one row an instance, one button that says what it will do."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from offloading import exceptions, services
from offloading import topics as switches
from offloading.jobs import distribution
from offloading.models import SwitchCommand
from offloading.views import effects
from offloading.views.fragments import is_fragment, page_or_fragment
from topology import services as topology
from topology.snapshot import InstanceDescription

TEMPLATE = "offloading/topic_list.html"
WISHES = {switches.ENABLE: "enabled", switches.DISABLE: "disabled", switches.EXCLUSIVE: "exclusive"}
REASONS = {
    switches.BLACKLISTED: "blacklisted",
    switches.NOT_IN_WHITELIST: "not in whitelist: another topic is exclusive there",
    distribution.IS_DRAINING: "finishes what it runs and takes nothing more",
}


@dataclass(frozen=True)
class Switch:
    """A row as it shows: what is, what the button would do, and what that would cause."""

    instance: InstanceDescription
    is_enabled: bool
    is_draining: bool
    reason: str
    pending: SwitchCommand | None
    wish: str
    action: str
    effect: effects.Effect
    is_here: bool


@require_GET
def topic_list(request: HttpRequest) -> HttpResponse:
    """Show who may do what."""
    return page_or_fragment(request, TEMPLATE, _blocks())


@require_POST
def topic_switch(request: HttpRequest) -> HttpResponse:
    """Enable or disable a topic on an instance; answers with the blocks as they then are, and a way back."""
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may switch topics.")
    sling_id, topic, action = (request.POST.get(name, "") for name in ("instance", "topic", "action"))
    status = 200
    try:
        command = services.configure_instance(
            sling_id=sling_id, actions={topic: action}, by=request.user.get_username()
        )
    except (exceptions.InstanceUnknown, exceptions.SwitchInvalid) as error:
        messages.error(request, str(error))
        status = 422
    else:
        _say(request, sling_id, topic, action, is_pending=command is not None)
    return (
        page_or_fragment(request, TEMPLATE, _blocks(), status)
        if is_fragment(request)
        else redirect("offloading:topic-list")
    )


def _say(request: HttpRequest, sling_id: str, topic: str, action: str, *, is_pending: bool) -> None:
    instance = topology.current_view().get(sling_id)
    label = instance.label if instance else sling_id
    back = switches.DISABLE if action != switches.DISABLE else switches.ENABLE
    undo = urlencode({"instance": sling_id, "topic": topic, "action": back})
    said = f"{topic} is {WISHES[action]} on {label}."
    asked = f"{label} was asked to have {topic} {WISHES[action]}. Its row says so once it has confirmed."
    messages.success(
        request, asked if is_pending else said, extra_tags=f"undo={reverse('offloading:topic-switch')}?{undo}"
    )


def _blocks() -> dict[str, object]:
    view = topology.current_view()
    waiting = effects.Waiting()
    blocks = [
        (block.topic, [_switch(row, block, waiting, view.is_local_member(row.instance.sling_id)) for row in block.rows])
        for block in services.topic_table()
    ]
    return {"blocks": blocks, "view": view}


def _switch(row: services.TopicRow, block: services.TopicBlock, waiting: effects.Waiting, is_here: bool) -> Switch:
    sling_id = row.instance.sling_id
    takers = {each.instance.sling_id for each in block.rows if each.is_enabled and not each.is_draining}
    if row.is_enabled:
        effect = waiting.of_disabling(block.topic, sling_id, others=len(takers - {sling_id}))
    else:
        effect = waiting.of_enabling(block.topic)
    action = row.pending.actions[block.topic] if row.pending else ""
    # Shown by the instance already, though its command is not closed yet.
    is_pending = action and (action != switches.DISABLE) != row.is_enabled
    return Switch(
        instance=row.instance,
        is_enabled=row.is_enabled,
        is_draining=row.is_draining,
        reason=REASONS.get(row.reason, row.reason),
        pending=row.pending if is_pending else None,
        wish=WISHES.get(action, ""),
        action=switches.DISABLE if row.is_enabled else switches.ENABLE,
        effect=effect,
        is_here=is_here,
    )
