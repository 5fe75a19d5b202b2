"""The failures: which there are, how many jobs failed in the same way; trying one of them again, and then all."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import Truncator
from django.views.decorators.http import require_GET, require_POST

from offloading import exceptions
from offloading.jobs import families, ids, remedies, states
from offloading.jobs.families import FamilyRow, Order
from offloading.models import FailureFamily, Job, JobState
from offloading.views import story
from offloading.views.fragments import page_or_fragment

SHOWN = 200
JOBS_SHOWN = 10
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Trial:
    """How the one job that was tried again is doing. `other` is the family it failed with, if that is another one."""

    job: Job | None
    tone: str
    icon: str
    title: str
    text: str = ""
    is_moving: bool = False
    other: str = ""

    @property
    def has_succeeded(self) -> bool:
        return self.job is not None and self.job.state == JobState.SUCCEEDED


@require_GET
def family_list(request: HttpRequest) -> HttpResponse:
    """Show the failures that jobs stand here with."""
    words = request.GET.get("q", "").replace("\0", "")[:200]
    order = Order.LATEST if request.GET.get("order") == Order.LATEST else Order.JOBS
    rows = families.overview(SHOWN + 1, words=words, order=order)
    context = {
        "rows": [(row, heading(row.family), said(row.family.message, row.family)) for row in rows[:SHOWN]],
        "has_more": len(rows) > SHOWN,
        "jobs": sum(row.jobs for row in rows[:SHOWN]),
        "words": words,
        "order": order,
    }
    return page_or_fragment(request, "offloading/family_list.html", context)


@require_GET
def family_detail(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Show one failure, its jobs, and what became of those that were tried again (`tried`, `work`: ids of jobs)."""
    row = _row(fingerprint)
    jobs = list(families.failed_jobs(fingerprint)[:JOBS_SHOWN])
    places = families.instances_of(job.pk for job in jobs)
    attempt = jobs[0].attempts.order_by("-fence", "-pk").first() if jobs else None
    trial = trial_of(_job(request, "tried"), fingerprint) if "tried" in request.GET else None
    work = _job(request, "work")
    context = {
        "row": row,
        "family": row.family,
        "heading": heading(row.family),
        "said": said(row.family.message, row.family),
        "place": Place.read(row.family.place),
        "jobs": [(job, places.get(job.pk, ""), said(job.result_message, row.family)) for job in jobs],
        "log": traceback_of(attempt.log) if attempt else "",
        "trial": trial,
        "work": work,
        "work_progress": story.progress(work) if work else None,
        "is_work_done": work is not None and work.state in states.FINAL,
        "is_proven": trial is not None and trial.has_succeeded,
        "can_retry": any(not job.origin for job in jobs),
        "crumbs": [("Failures", reverse("offloading:family-list")), (heading(row.family), "")],
    }
    return page_or_fragment(request, "offloading/family_detail.html", context)


@require_POST
def family_retry_one(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Run the latest job again and show how it ends."""
    return _act(request, fingerprint, remedies.retry_one, "tried")


@require_POST
def family_retry_all(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Have all jobs run again, and show how far that is."""
    return _act(request, fingerprint, remedies.retry_all, "work")


@require_POST
def family_remove(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Have all jobs removed from the history, and show how far that is."""
    return _act(request, fingerprint, remedies.remove_all, "work")


def _act(request: HttpRequest, fingerprint: str, act: Callable[..., Job], shown_as: str) -> HttpResponse:
    """Do it, and lead to the page of the failure, which shows the job that came of it."""
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may change jobs.")
    family = _row(fingerprint).family
    address = reverse("offloading:family-detail", args=[family.pk])
    try:
        job = act(family.pk, by=request.user.get_username())
    except exceptions.JobError as error:
        messages.error(request, str(error))
        return redirect(address)
    return redirect(f"{address}?{shown_as}={job.id}")


# --- What the pages say -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where in the code it happens, in parts."""

    module: str
    function: str
    line: str

    @classmethod
    def read(cls, text: str) -> "Place | None":
        module, _, rest = text.partition(":")
        function, _, line = rest.rpartition(":")
        return cls(module, function, line) if module and function else None


def heading(family: FailureFamily) -> str:
    """Return what a family is called: its exception, or the beginning of what its consumer said."""
    if family.error:
        return family.error.rpartition(".")[2]
    first = family.message.strip().partition("\n")[0]
    return Truncator(first).chars(120) or "Failure without a message"


def said(message: str, family: FailureFamily) -> str:
    """Return what a failure of a family says beyond the heading: the words of its exception, or ""."""
    lines = message.strip().splitlines()
    if not family.error or not lines:
        return ""
    # An exception's message ends with the line that names it.
    kind, _, words = lines[-1].strip().partition(":")
    return words.strip() if kind.rpartition(".")[2] == heading(family) else lines[-1].strip()


def traceback_of(log: str) -> str:
    """Return the part of a log from its first traceback on, or all of it."""
    start = log.find(_TRACEBACK)
    return log[start:] if start >= 0 else log


def trial_of(job: Job | None, fingerprint: str) -> Trial:
    """Say how the job that was tried again is doing."""
    if job is None:
        return Trial(None, "quiet", "question-mark-circle", "The retried job is not here any more")
    if job.state == JobState.SUCCEEDED:
        return Trial(job, "good", "check-circle", "The retried job succeeded", job.result_message)
    if job.state in (JobState.ERROR, JobState.GIVEN_UP):
        other = job.family if job.family != fingerprint else ""
        title = "The retried job failed with another failure" if other else "The retried job failed again"
        return Trial(job, "danger", "x-circle", title, job.result_message, other=other)
    if job.state in states.FINAL:
        return Trial(job, "quiet", "stop-circle", f"The retried job was {job.get_state_display().lower()}")
    if job.state == JobState.ACTIVE:
        return Trial(job, "busy", "arrow-path", "The retried job runs", is_moving=True)
    if not job.target:
        return Trial(job, "warn", "question-mark-circle", "The retried job waits: no instance takes its topic")
    if job.result_message:
        title = "The retried job failed once more and waits for its next attempt"
        return Trial(job, "warn", "exclamation-triangle", title, job.result_message, is_moving=True)
    return Trial(job, "quiet", "clock", "The retried job waits for its turn", is_moving=True)


def _row(fingerprint: str) -> FamilyRow:
    row = families.look(fingerprint)
    if row is None:
        raise Http404("There is no such failure family. It may have been cleaned up.")
    return row


def _job(request: HttpRequest, name: str) -> Job | None:
    key: uuid.UUID | None = ids.parse(request.GET.get(name, ""))
    return Job.objects.filter(pk=key).first() if key else None
