"""The replication agents: one for each instance of another cluster, with what waits, moves or failed on its way."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from content import services as content
from offloading.models import Transfer
from offloading.transport import agents, transfers
from offloading.views.fragments import page_or_fragment
from topology import services as topology
from topology.snapshot import InstanceDescription

DONE_SHOWN = 5
OPEN_SHOWN = 50


@dataclass(frozen=True)
class Agent:
    """An agent as it shows. `queue` is what is not done; `done` the latest of what is."""

    name: str
    path: str
    properties: dict[str, Any]
    instance: InstanceDescription | None
    queue: list[Transfer] = field(default_factory=list)
    done: list[Transfer] = field(default_factory=list)

    @property
    def is_enabled(self) -> bool:
        return self.properties.get("enabled") is not False

    @property
    def state(self) -> str:
        """Say Disabled, Blocked (nothing but failures), Active or Idle, as agents always did."""
        if not self.is_enabled:
            return "Disabled"
        if not self.queue:
            return "Idle"
        return "Blocked" if all(transfer.error for transfer in self.queue) else "Active"


@require_GET
def agent_list(request: HttpRequest) -> HttpResponse:
    """Show the agents with their queues."""
    view = topology.current_view()
    found = [_agent(node, view.get(node.name.removeprefix(agents.PREFIX))) for node in _pages()]
    context = {"agents": found, "is_busy": any(agent.queue for agent in found)}
    return page_or_fragment(request, "offloading/agent_list.html", context)


@require_POST
def transfer_retry(request: HttpRequest, transfer_id: int) -> HttpResponse:
    """Try a waiting or parked transfer at once."""
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may try transfers again.")
    if transfers.retry(transfer_id=transfer_id):
        messages.success(request, "The transfer waits for its next try.")
    else:
        messages.warning(request, "The transfer is done or under way: there is nothing to try again.")
    return redirect("offloading:agent-list")


def _pages() -> list[content.NodeView]:
    return content.children(agents.FOLDER)


def _agent(node: content.NodeView, instance: InstanceDescription | None) -> Agent:
    settings = content.get(f"{node.path}/jcr:content")
    ways = Transfer.objects.filter(peer=node.name.removeprefix(agents.PREFIX), is_sender=True).select_related("job")
    finished = [Transfer.State.DONE, Transfer.State.FENCED]
    return Agent(
        name=node.name,
        path=node.path,
        properties=dict(settings.properties) if settings else {},
        instance=instance,
        queue=list(ways.exclude(state__in=finished).defer("manifest").order_by("started_at", "pk")[:OPEN_SHOWN]),
        done=list(ways.filter(state__in=finished).defer("manifest").order_by("-finished_at", "-pk")[:DONE_SHOWN]),
    )
