"""The Topology Browser: clusters, the instances of one, the properties of one; connectors, and what was refused."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from topology import services
from topology.models import Announcement

REFUSALS_SHOWN = 20


@require_GET
def cluster_list(request: HttpRequest) -> HttpResponse:
    """Show every cluster, how it is reached, and what was refused."""
    view = services.current_view()
    incoming = Announcement.objects.filter(inherited=False).order_by("receiver", "owner_id")
    context = {
        "view": view,
        "outgoing": [(row, view.get(row.sling_id), view.get(row.peer_id)) for row in services.connectors()],
        "incoming": [(row, view.get(row.receiver), view.get(row.owner_id)) for row in incoming],
        "refusals": services.refusals()[:REFUSALS_SHOWN],
    }
    return _page_or_fragment(request, "topology/cluster_list.html", context)


@require_GET
def cluster_detail(request: HttpRequest, cluster_id: str) -> HttpResponse:
    """Show the instances of a cluster in join order."""
    view = services.current_view()
    cluster = next((each for each in view.clusters if each.id == cluster_id), None)
    if cluster is None:
        raise Http404("No such cluster is in the topology now.")
    context = {"view": view, "cluster": cluster, "crumbs": [_root(), ("Cluster View", "")]}
    return _page_or_fragment(request, "topology/cluster_detail.html", context)


@require_GET
def instance_detail(request: HttpRequest, sling_id: str) -> HttpResponse:
    """Show what an instance tells about itself, as a numbered table."""
    view = services.current_view()
    instance = view.get(sling_id)
    if instance is None:
        raise Http404("No such instance is in the topology now.")
    cluster_url = reverse("topology:cluster-detail", args=[instance.cluster_id])
    context = {
        "instance": instance,
        "properties": sorted(instance.properties.items()),
        "crumbs": [_root(), ("Cluster View", cluster_url), ("Instance View", "")],
    }
    return _page_or_fragment(request, "topology/instance_detail.html", context)


def _root() -> tuple[str, str]:
    return ("Topology Admin", reverse("topology:cluster-list"))


def _page_or_fragment(request: HttpRequest, template: str, context: dict[str, object]) -> HttpResponse:
    is_fragment = request.headers.get("HX-Request") == "true"
    return render(request, f"{template}#live" if is_fragment else template, context)
