"""The scheduled jobs: a list with the next and the last run of each, a page with the next ten, and what can be done."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from offloading import capabilities, exceptions
from offloading.jobs import schedules, scheduling
from offloading.models import Job, ScheduledJob
from offloading.views.fragments import page_or_fragment
from offloading.views.schedule_form import ScheduleForm, TimesForm, initial
from topology import services as topology

FORM = "offloading/schedule_form.html"
SHOWN = 200
RUNS_AHEAD = 10


@dataclass(frozen=True)
class Line:
    """A scheduled job as it is shown: `exact` is its next run in its own zone, `job` its last one if that is kept."""

    row: ScheduledJob
    words: str
    exact: str
    job: Job | None
    problem: str


@require_GET
def schedule_list(request: HttpRequest) -> HttpResponse:
    """Show the scheduled jobs, the next to run first."""
    words = request.GET.get("q", "").replace("\0", "").strip()[:200]
    found = _matching(words)
    lines = _lines(found.order_by(F("next_at").asc(nulls_last=True), "topic", "name")[:SHOWN])
    context = {"lines": lines, "words": words, "total": found.count(), "shown": SHOWN}
    return page_or_fragment(request, "offloading/schedule_list.html", context)


@require_GET
def schedule_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one scheduled job with its next runs."""
    row = _found(name)
    context = {
        "line": _lines([row])[0],
        "each": _each(row),
        "runs": [(run, exact(run, row.time_zone)) for run in _next_runs(row)],
        "crumbs": [("Schedules", reverse("offloading:schedule-list")), (row.title or row.topic, "")],
    }
    return page_or_fragment(request, "offloading/schedule_detail.html", context)


@require_http_methods(["GET", "POST"])
def schedule_create(request: HttpRequest) -> HttpResponse:
    """Schedule a job."""
    _require_staff(request)
    form = ScheduleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        kept = form.cleaned_data
        try:
            row = scheduling.schedule_job(
                topic=kept["topic"],
                properties=kept["properties"],
                schedules=[form.schedule],
                title=kept["title"],
                time_zone=kept["time_zone"],
                misfire=kept["misfire"] or ScheduledJob.Misfire.ONCE,
                suspended=kept["suspended"],
                by=request.user.get_username(),
            )
        except exceptions.ScheduleInvalid as error:
            form.add_error("at" if form.schedule.at else None, str(error))
        else:
            messages.success(request, f"{row.title or row.topic} is scheduled: {scheduling.describe(row)}.")
            return redirect("offloading:schedule-detail", row.name)
    crumbs = [("Schedules", reverse("offloading:schedule-list")), ("New", "")]
    context = {"form": form, "crumbs": crumbs, "topics": _topics()}
    return render(request, FORM, context, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
def schedule_change(request: HttpRequest, name: str) -> HttpResponse:
    """Give a scheduled job other times."""
    _require_staff(request)
    row = _found(name)
    form = TimesForm(request.POST or None, initial=_initial(row))
    if request.method == "POST" and form.is_valid():
        by, zone = request.user.get_username(), form.cleaned_data["time_zone"]
        try:
            row = scheduling.reschedule(name=name, schedules=[form.schedule], by=by, time_zone=zone)
        except exceptions.ScheduleInvalid as error:
            form.add_error("at" if form.schedule.at else None, str(error))
        else:
            messages.success(request, f"{row.title or row.topic} runs {scheduling.describe(row)}.")
            return redirect("offloading:schedule-detail", name)
    label, address = row.title or row.topic, reverse("offloading:schedule-detail", args=[name])
    crumbs = [("Schedules", reverse("offloading:schedule-list")), (label, address), ("Change the times", "")]
    context = {"form": form, "crumbs": crumbs, "row": row}
    return render(request, FORM, context, status=422 if form.is_bound else 200)


@require_POST
def schedule_suspend(request: HttpRequest, name: str) -> HttpResponse:
    """Let a scheduled job rest."""
    _require_staff(request)
    _found(name)
    row = scheduling.suspend(name=name, by=request.user.get_username())
    undo = f"undo={reverse('offloading:schedule-resume', args=[name])}"
    messages.success(request, f"{row.title or row.topic} is suspended.", extra_tags=undo)
    return _back(request, name)


@require_POST
def schedule_resume(request: HttpRequest, name: str) -> HttpResponse:
    """Let a scheduled job run again."""
    _require_staff(request)
    _found(name)
    try:
        row = scheduling.resume(name=name, by=request.user.get_username())
    except exceptions.ScheduleInvalid as error:
        messages.error(request, str(error))
    else:
        assert row.next_at is not None
        next_run = exact(row.next_at, row.time_zone)
        messages.success(request, f"{row.title or row.topic} runs again, next on {next_run}.")
    return _back(request, name)


@require_POST
def schedule_run(request: HttpRequest, name: str) -> HttpResponse:
    """Add the job at once, besides its times."""
    _require_staff(request)
    row = _found(name)
    try:
        job = scheduling.run_now(name=name, by=request.user.get_username())
    except exceptions.JobError as error:
        messages.error(request, str(error))
    else:
        label = row.title or row.topic
        messages.success(request, f"{label} is queued." if job else f"The queue of {label} keeps no jobs.")
    return _back(request, name)


@require_POST
def schedule_remove(request: HttpRequest, name: str) -> HttpResponse:
    """Remove a scheduled job; its jobs stay."""
    _require_staff(request)
    row = _found(name)
    scheduling.unschedule(name=name, by=request.user.get_username())
    messages.success(request, f"{row.title or row.topic} is not scheduled any more.")
    return redirect("offloading:schedule-list")


def exact(when: datetime, time_zone: str) -> str:
    """Write an instant in the zone of a scheduled job: Mon 30 Nov 2026, 08:30 CET."""
    try:
        local = when.astimezone(schedules.zone_of(time_zone))
    except exceptions.ScheduleInvalid:
        local = timezone.localtime(when)
    seconds = f":{local.second:02d}" if local.second else ""
    return f"{local:%a %-d %b %Y, %H:%M}{seconds} {local.tzname()}"


def _require_staff(request: HttpRequest) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may change schedules.")


def _found(name: str) -> ScheduledJob:
    try:
        return scheduling.get(name)
    except exceptions.ScheduleMissing as error:
        raise Http404(str(error)) from error


def _back(request: HttpRequest, name: str) -> HttpResponse:
    """Return to where the button was."""
    if request.POST.get("from") == "list":
        return redirect("offloading:schedule-list")
    return redirect("offloading:schedule-detail", name)


def _matching(words: str) -> QuerySet[ScheduledJob]:
    if not words:
        return ScheduledJob.objects.all()
    return ScheduledJob.objects.filter(Q(topic__icontains=words) | Q(title__icontains=words) | Q(name=words))


def _lines(rows: Iterable[ScheduledJob]) -> list[Line]:
    found = list(rows)
    kept = Job.objects.defer("properties").in_bulk([row.last_job for row in found if row.last_job])
    return [
        Line(
            row=row,
            words=scheduling.describe(row),
            exact=exact(row.next_at, row.time_zone) if row.next_at else "",
            job=kept.get(row.last_job) if row.last_job else None,
            problem=scheduling.problem(row),
        )
        for row in found
    ]


def _each(row: ScheduledJob) -> list[str]:
    """Say each schedule in words; none if they cannot be read."""
    try:
        zone = schedules.zone_of(row.time_zone)
        return [schedules.describe(schedule, zone) for schedule in scheduling.times(row)]
    except exceptions.ScheduleInvalid:
        return []


def _next_runs(row: ScheduledJob) -> tuple[datetime, ...]:
    try:
        return scheduling.next_runs(row, timezone.now(), RUNS_AHEAD)
    except exceptions.ScheduleInvalid:
        return ()


def _initial(row: ScheduledJob) -> dict[str, object]:
    try:
        return initial(row)
    except (exceptions.ScheduleInvalid, IndexError):
        return {}


def _topics() -> list[str]:
    """Return the topics that instances have consumers for, to choose from."""
    known = capabilities.of_view(topology.current_view()).values()
    return sorted({topic for capability in known for topic in capability.registered if "*" not in topic})
