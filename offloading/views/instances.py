"""The instance screen: each topic of an instance as Enabled, Disabled or Exclusive, what it has to do, its drain."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from offloading import capabilities, exceptions, services
from offloading import topics as switches
from offloading.jobs.distribution import Capability
from offloading.models import Job, JobState, SwitchCommand, TopicSettings
from offloading.views.fragments import is_fragment, page_or_fragment
from topology import services as topology
from topology.snapshot import InstanceDescription, TopologyView

TEMPLATE = "offloading/instance_detail.html"
FIELD = "config:"
DRAIN, UNDRAIN = "drain", "undrain"


@dataclass(frozen=True)
class Choice:
    """A topic of the form; `current` is the action that leads to what is now."""

    topic: str
    current: str
    reason: str

    @property
    def field(self) -> str:
        return f"{FIELD}{self.topic}"


@dataclass(frozen=True)
class Work:
    """What an instance has to do, and whether it is draining; `row` is there while one of ours drains."""

    is_draining: bool
    waiting: int
    running: int
    row: TopicSettings | None = None

    @property
    def is_drained(self) -> bool:
        return self.is_draining and not self.running


@require_http_methods(["GET", "POST"])
def instance_detail(request: HttpRequest, sling_id: str) -> HttpResponse:
    """Show the choices of an instance, and save them."""
    view, instance = _found(sling_id)
    if request.method == "POST":
        return _save(request, sling_id, choices_of(capabilities.of_view(view)[sling_id]))
    return _show(request, view, instance)


@require_POST
def instance_drain(request: HttpRequest, sling_id: str) -> HttpResponse:
    """Drain an instance, or end that; answers with what it has to do then, and a way back."""
    view, instance = _found(sling_id)
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may drain instances.")
    status = 200
    action, by = request.POST.get("action", ""), request.user.get_username()
    try:
        if action == DRAIN:
            services.drain_instance(sling_id=sling_id, by=by)
        elif action == UNDRAIN:
            services.undrain_instance(sling_id=sling_id, by=by)
        else:
            raise exceptions.SwitchInvalid(f"{action!r} is neither {DRAIN} nor {UNDRAIN}.")
    except (exceptions.InstanceUnknown, exceptions.SwitchInvalid) as error:
        messages.error(request, str(error))
        status = 422
    else:
        is_draining = action == DRAIN
        text = f"{instance.label} takes {'no more jobs' if is_draining else 'jobs again'}."
        back = urlencode({"action": UNDRAIN if is_draining else DRAIN})
        undo = f"{reverse('offloading:instance-drain', args=[sling_id])}?{back}"
        messages.success(request, text, extra_tags=f"undo={undo}")
    if is_fragment(request):
        return _show(request, view, instance, status)
    return redirect("offloading:instance-detail", sling_id)


def _found(sling_id: str) -> tuple[TopologyView, InstanceDescription]:
    view = topology.current_view()
    instance = view.get(sling_id)
    if instance is None:
        raise Http404("No such instance is in the topology now.")
    return view, instance


def _show(request: HttpRequest, view: TopologyView, instance: InstanceDescription, status: int = 200) -> HttpResponse:
    sling_id = instance.sling_id
    capability = capabilities.of_view(view)[sling_id]
    crumbs = [("Offloading Browser", reverse("offloading:topic-list")), (instance.label, "")]
    context = {
        "instance": instance,
        "choices": choices_of(capability),
        "work": _work(sling_id, capability),
        "is_here": view.is_local_member(sling_id),
        "crumbs": crumbs,
        "pending": SwitchCommand.objects.filter(sling_id=sling_id, confirmed_at=None).order_by("requested_at", "id"),
    }
    return page_or_fragment(request, TEMPLATE, context, status)


def _work(sling_id: str, capability: Capability) -> Work:
    here = Job.objects.filter(target=sling_id)
    return Work(
        is_draining=capability.is_draining,
        waiting=here.filter(state=JobState.QUEUED).count(),
        running=here.filter(state=JobState.ACTIVE).count(),
        row=TopicSettings.objects.filter(sling_id=sling_id, is_draining=True).first(),
    )


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
            on if topic in capability.allowed else switches.DISABLE,
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
