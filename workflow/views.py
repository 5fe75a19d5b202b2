"""The workflow screens: all instances with where they are and what failed, one with its history, and two actions."""

import uuid
from collections.abc import Callable
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from workflow import definition, engine, listing
from workflow.models import Workflow

Act = Callable[..., Workflow]


@require_GET
def workflow_list(request: HttpRequest) -> HttpResponse:
    """Show the workflow instances, newest first."""
    # PostgreSQL takes no NUL in a text, not even to look for it.
    asked = {name: request.GET.get(name, "").replace("\0", "") for name in ("state", "payload", "before", "after")}
    page = listing.page(**asked)
    context: dict[str, object] = {
        **asked,
        "rows": page.rows,
        "counts": listing.counts(),
        "newer_url": _page_url(asked, "after", page.newer),
        "older_url": _page_url(asked, "before", page.older),
    }
    return _page_or_fragment(request, "workflow/workflow_list.html", context)


@require_GET
def workflow_detail(request: HttpRequest, workflow_id: uuid.UUID) -> HttpResponse:
    """Show one instance: where it is, its steps, and what happened."""
    workflow = get_object_or_404(Workflow, pk=workflow_id)
    context = {
        "row": listing.rows([workflow])[0],
        "workflow": workflow,
        "steps": definition.from_json(workflow.definition).steps[1:-1],
        "history": workflow.history.order_by("id"),
        "crumbs": [("Workflow", reverse("workflow:workflow-list")), (workflow.model_title, "")],
    }
    return _page_or_fragment(request, "workflow/workflow_detail.html", context)


@require_POST
def workflow_retry(request: HttpRequest, workflow_id: uuid.UUID) -> HttpResponse:
    """Let a failed instance go on."""
    return _act(request, workflow_id, engine.retry_workflow, "{} runs again on {}.")


@require_POST
def workflow_terminate(request: HttpRequest, workflow_id: uuid.UUID) -> HttpResponse:
    """End a running instance."""
    return _act(request, workflow_id, engine.terminate_workflow, "{} on {} is terminated.")


def _act(request: HttpRequest, workflow_id: uuid.UUID, act: Act, said: str) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may change workflows. Ask an administrator.")
    try:
        workflow = act(workflow_id=workflow_id, by=request.user.get_username())
    except Workflow.DoesNotExist:
        raise Http404("There is no such workflow.") from None
    except engine.ActionRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, said.format(workflow.model_title, workflow.payload))
    return HttpResponseRedirect(_way_back(request, workflow_id))


def _way_back(request: HttpRequest, workflow_id: uuid.UUID) -> str:
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return reverse("workflow:workflow-detail", args=[workflow_id])


def _page_url(asked: dict[str, str], way: str, mark: uuid.UUID | None) -> str:
    if mark is None:
        return ""
    kept = {name: asked[name] for name in ("state", "payload") if asked[name]}
    return f"{reverse('workflow:workflow-list')}?{urlencode({**kept, way: str(mark)})}"


def _page_or_fragment(request: HttpRequest, template: str, context: dict[str, object]) -> HttpResponse:
    is_fragment = request.headers.get("HX-Request") == "true"
    return render(request, f"{template}#live" if is_fragment else template, context)
