"""The jobs: a list to find one in, a page that tells what happened to it, and running it again."""

import uuid

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from offloading import exceptions
from offloading.jobs import distribution, manager, states
from offloading.models import Job, JobState, Transfer
from offloading.views import listing, story
from offloading.views.fragments import page_or_fragment
from topology import services as topology
from topology.snapshot import TopologyView

TEMPLATE = "offloading/job_detail.html"


@require_GET
def job_list(request: HttpRequest) -> HttpResponse:
    """Show the jobs that match the filters of the address."""
    wanted = listing.Filter.read(request.GET)
    page = listing.page(wanted)
    view = topology.current_view()
    context = {
        "wanted": wanted,
        "counts": listing.counts(wanted),
        "rows": [(job, _where(job, view)) for job in page.jobs],
        "newer_url": page.newer_url,
        "older_url": page.older_url,
        "state_label": listing.LABELS.get(wanted.state, ""),
    }
    return page_or_fragment(request, "offloading/job_list.html", context)


@require_GET
def job_detail(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Tell the story of a job, and why it does not run while it does not."""
    job = get_object_or_404(Job, pk=job_id)
    view = topology.current_view()
    attempts = list(job.attempts.order_by("fence", "started_at", "pk"))
    transfers = list(job.transfers.order_by("started_at", "pk"))
    is_unassigned = job.state == JobState.QUEUED and not job.target
    reasons = manager.explain(job, view) if is_unassigned else []
    context = {
        "job": job,
        "events": story.tell(job, attempts, transfers, _label(view, job.origin or job.application)),
        "attempts": attempts,
        "transfers": transfers,
        # The progress of a transfer is told by no event; while there is some, the page looks by itself.
        "is_busy": any(transfer.state == Transfer.State.SENDING for transfer in transfers),
        "bytes_out": _moved(transfers, Transfer.Direction.OUT),
        "bytes_back": _moved(transfers, Transfer.Direction.BACK),
        "target": _label(view, job.target),
        "reasons": reasons,
        "can_be_enabled": any(reason.text != distribution.NO_CONSUMER for reason in reasons),
        "can_retry": job.state in states.FINAL and not job.origin,
        "crumbs": [("Jobs", reverse("offloading:job-list")), (str(job.id), "")],
    }
    return page_or_fragment(request, TEMPLATE, context)


@require_POST
def job_retry(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Run a finished job again."""
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may run jobs again.")
    get_object_or_404(Job, pk=job_id)
    try:
        manager.retry_job(job_id, by=request.user.get_username())
    except exceptions.TransitionRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The job is queued again.")
    return redirect("offloading:job-detail", job_id)


def _where(job: Job, view: TopologyView) -> str:
    """Say where a job ran last, or where it shall run."""
    attempts = list(job.attempts.all())
    if attempts and job.state != JobState.QUEUED:
        return attempts[-1].instance_label
    return _label(view, job.target)


def _label(view: TopologyView, sling_id: str) -> str:
    instance = view.get(sling_id)
    return instance.label if instance else sling_id


def _moved(transfers: list[Transfer], direction: str) -> int:
    return sum(transfer.bytes_moved for transfer in transfers if transfer.direction == direction)
