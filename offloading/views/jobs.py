"""The jobs: a list to find one in, a page that tells what happened to it, and what can be done with it."""

import uuid
from collections.abc import Callable
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from offloading import exceptions
from offloading.jobs import configuration, distribution, manager, moves, queues, states, why
from offloading.models import Job, JobState, Transfer
from offloading.views import acts, bulk_acts, listing, story
from offloading.views.fragments import is_fragment, page_or_fragment, to_page
from topology import services as topology
from topology.snapshot import TopologyView

TEMPLATE = "offloading/job_detail.html"
LIST = "offloading/job_list.html"


@require_GET
def job_list(request: HttpRequest) -> HttpResponse:
    """Show the jobs that match the filters of the address."""
    return _list(request, listing.Wanted.read(request.GET))


@require_POST
def job_bulk(request: HttpRequest) -> HttpResponse:
    """Begin to do something with many jobs: those that are ticked, or all that match the filters of the address.

    It is done by a job. Those that were added after the person looked are left alone.
    """
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may change jobs.")
    wanted = listing.Wanted.read(request.GET)
    status = 200
    try:
        act = bulk_acts.Act.read(request.POST, wanted)
        if act.warning and not is_fragment(request) and "yes" not in request.POST:
            return render(request, "offloading/job_bulk_confirm.html", {"act": act, "wanted": wanted})
        job = act.begin(by=request.user.get_username())
    except exceptions.JobError as error:
        messages.error(request, str(error))
        status = 422
    else:
        link = f"link={reverse('offloading:job-detail', args=[job.pk])}"
        messages.success(request, f"“{job.title}” is under way.", extra_tags=link)
    if is_fragment(request):
        return _list(request, wanted, status)
    return redirect(f"{reverse('offloading:job-list')}{wanted.here}")


def _list(request: HttpRequest, wanted: listing.Wanted, status: int = 200) -> HttpResponse:
    view = topology.current_view()
    context: dict[str, object] = {"wanted": wanted, "has_rows": True, "warnings": bulk_acts.WARNINGS}
    try:
        page = listing.page(wanted, view)
        found = listing.counts(wanted)
    except exceptions.QueryInvalid as error:
        return page_or_fragment(request, LIST, context | {"problem": str(error)}, 422)
    choices = listing.choices(view)
    context |= {
        "counts": listing.strip(wanted, found),
        "rows": page.rows,
        "newer_url": page.newer_url,
        "older_url": page.older_url,
        "is_complete": page.is_complete,
        "searched_until": page.searched_until,
        "sorted_by": page.sorted_by,
        "topics": [(topic, wanted.url(topic=topic)) for topic in page.topics],
        "chips": listing.chips(wanted, view),
        "choices": choices,
        "is_topic_listed": wanted.topic.removeprefix(listing.NOT) in choices.topics,
        "matching": listing.matching(wanted, found),
        "matching_at_least": not found.is_complete,
        "seen_at": timezone.now().isoformat(),
        "places": [(each.sling_id, each.label) for each in view.instances],
        "bulk_jobs": bulk_acts.under_way(),
    }
    return page_or_fragment(request, LIST, context, status)


@require_GET
def job_detail(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Tell the story of a job, why it does not run while it does not, and what can be done with it."""
    return _story(request, get_object_or_404(Job, pk=job_id))


def _story(request: HttpRequest, job: Job, status: int = 200) -> HttpResponse:
    view = topology.current_view()
    attempts = list(job.attempts.order_by("fence", "started_at", "pk"))
    transfers = list(job.transfers.order_by("started_at", "pk"))
    waits = job.state == JobState.QUEUED
    reasons = why.waiting_reasons(job, why.situation_of(job, view)) if waits else []
    queue = configuration.named(job.queue)
    is_queue_known = queues.find(job.queue, configuration.current()) is not None
    context = {
        "job": job,
        "events": story.tell(job, attempts, transfers, _label(view, job.origin or job.application)),
        "progress": story.progress(job),
        "attempts": attempts,
        "transfers": transfers,
        # Neither a log nor the progress of a transfer is told by an event; while there is some, the page looks itself.
        "is_busy": job.state == JobState.ACTIVE or any(each.state == Transfer.State.SENDING for each in transfers),
        "bytes_out": _moved(transfers, Transfer.Direction.OUT),
        "bytes_back": _moved(transfers, Transfer.Direction.BACK),
        "target": _label(view, job.target),
        "is_target_known": view.get(job.target) is not None,
        "reasons": reasons,
        "needs_somebody": any(reason.kind.needs_somebody for reason in reasons),
        "can_be_enabled": any(each.text != distribution.NO_CONSUMER for reason in reasons for each in reason.instances),
        "limits": story.limits(job, queue),
        "acts": acts.of(job, [(each.sling_id, each.label) for each in moves.places(job)] if waits else []),
        "queue_url": reverse("offloading:queue-detail", args=[job.queue]) if is_queue_known else "",
        "family_url": reverse("offloading:family-detail", args=[job.family]) if job.family else "",
        "crumbs": [("Jobs", reverse("offloading:job-list")), (str(job.id), "")],
    }
    return page_or_fragment(request, TEMPLATE, context, status)


# --- What can be done with one ------------------------------------------------------------------------------------


@require_POST
def job_retry(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Run a finished job again."""
    return _act(request, job_id, manager.retry_job, "The job is queued again.")


@require_POST
def job_stop(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """End a job that waits, or ask one that runs to end."""
    waits = Job.objects.filter(pk=job_id, state=JobState.QUEUED).exists()
    undo = f"undo={reverse('offloading:job-retry', args=[job_id])}" if waits else ""
    said = "The job is stopped." if waits else "The job was asked to stop."
    return _act(request, job_id, manager.stop_job, said, undo)


@require_POST
def job_remove(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """End an unfinished job as dropped; delete a finished one."""
    job = get_object_or_404(Job, pk=job_id)
    if job.state in states.UNFINISHED:
        undo = f"undo={reverse('offloading:job-retry', args=[job_id])}" if job.state == JobState.QUEUED else ""
        return _act(request, job_id, manager.remove_job, "The job is dropped.", undo)
    answer = _act(request, job_id, manager.remove_job, f"The job “{job.title or job.topic}” is removed.")
    if Job.objects.filter(pk=job_id).exists():
        return answer
    return to_page(request, reverse("offloading:job-list"))


@require_POST
def job_move(request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
    """Let a job that waits wait at another instance."""
    view = topology.current_view()
    target = request.POST.get("target", "")
    job = get_object_or_404(Job, pk=job_id)
    back = urlencode({"target": job.target})
    undo = f"undo={reverse('offloading:job-move', args=[job_id])}?{back}" if job.target else ""

    def move(job_id: uuid.UUID, by: str) -> None:
        moves.move_job(job_id, target=target, by=by)

    return _act(request, job_id, move, f"The job waits at {_label(view, target)} now.", undo)


def _act(
    request: HttpRequest, job_id: uuid.UUID, act: Callable[..., object], said: str, undo: str = ""
) -> HttpResponse:
    """Do it, say it, and answer with the page of the job as it is then."""
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may change jobs.")
    get_object_or_404(Job, pk=job_id)
    status = 200
    try:
        act(job_id, by=request.user.get_username())
    except exceptions.JobError as error:
        messages.error(request, str(error))
        status = 422
    else:
        messages.success(request, said, extra_tags=undo)
    job = Job.objects.filter(pk=job_id).first()
    if is_fragment(request) and job is not None:
        return _story(request, job, status)
    return redirect("offloading:job-detail", job_id)


# --- What they have in common -------------------------------------------------------------------------------------


def _label(view: TopologyView, sling_id: str) -> str:
    instance = view.get(sling_id)
    return instance.label if instance else sling_id


def _moved(transfers: list[Transfer], direction: str) -> int:
    return sum(transfer.bytes_moved for transfer in transfers if transfer.direction == direction)
