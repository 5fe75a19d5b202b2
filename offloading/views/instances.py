"""The instance screen: every topic that an instance has a consumer for, as Enabled, Disabled or Exclusive."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from offloading import capabilities, exceptions, services
from offloading import topics as switches
from offloading.jobs.distribution import Capability
from offloading.models import SwitchCommand
from topology import services as topology

FIELD = "config:"


@dataclass(frozen=True)
class Choice:
    """A topic of the form; `current` is the action that leads to what is now."""

    topic: str
    current: str
    reason: str

    @property
    def field(self) -> str:
        return f"{FIELD}{self.topic}"


@require_http_methods(["GET", "POST"])
def instance_detail(request: HttpRequest, sling_id: str) -> HttpResponse:
    """Show the choices of an instance, and save them."""
    view = topology.current_view()
    instance = view.get(sling_id)
    if instance is None:
        raise Http404("No such instance is in the topology now.")
    choices = choices_of(capabilities.of_view(view)[sling_id])
    if request.method == "POST":
        return _save(request, sling_id, choices)
    crumbs = [("Offloading Browser", reverse("offloading:topic-list")), (instance.label, "")]
    context = {
        "instance": instance,
        "choices": choices,
        "is_here": view.is_local_member(sling_id),
        "crumbs": crumbs,
        "pending": SwitchCommand.objects.filter(sling_id=sling_id, confirmed_at=None).order_by("requested_at", "id"),
    }
    return render(request, "offloading/instance_detail.html", context)


def _save(request: HttpRequest, sling_id: str, choices: list[Choice]) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may switch topics.")
    wanted = {choice.topic: request.POST.get(choice.field, choice.current) for choice in choices}
    actions = changes(choices, wanted)
    if not actions:
        messages.info(request, "Nothing was different, so nothing was changed.")
        return redirect("offloading:instance-detail", sling_id)
    try:
        command = services.configure_instance(sling_id=sling_id, actions=actions, by=request.user.get_username())
    except (exceptions.InstanceUnknown, exceptions.SwitchInvalid) as error:
        messages.error(request, str(error))
    else:
        done = "The instance was asked; the choices show once it has confirmed." if command else "The choices hold now."
        messages.success(request, done)
    return redirect("offloading:instance-detail", sling_id)


def choices_of(capability: Capability) -> list[Choice]:
    """Return what is now, topic by topic."""
    is_exclusive = switches.EVERYTHING not in capability.whitelist
    on = switches.EXCLUSIVE if is_exclusive else switches.ENABLE
    return [
        Choice(
            topic,
            on if topic in capability.announced else switches.DISABLE,
            switches.why_not(topic, capability.whitelist, capability.blacklist),
        )
        for topic in capability.registered
    ]


def changes(choices: list[Choice], wanted: dict[str, str]) -> dict[str, str]:
    """Return the actions that lead from what is to what is wanted.

    Exclusive says it all: the other topics are off by it and need no entry of their own in the black list, so that
    they come back when the instance leaves that mode.
    """
    current = {choice.topic: choice.current for choice in choices}
    exclusive = {topic: action for topic, action in wanted.items() if action == switches.EXCLUSIVE}
    was_exclusive = {topic: action for topic, action in current.items() if action == switches.EXCLUSIVE}
    if exclusive:
        return exclusive if exclusive != was_exclusive else {}
    return {topic: action for topic, action in wanted.items() if action != current[topic]}
