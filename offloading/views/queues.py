"""The queues: how they are configured, what waits and runs in them, and the buttons that pause them."""

from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from offloading import exceptions
from offloading.jobs import configuration, overview, pauses, processors, queues, statistics
from offloading.jobs.overview import QueueState
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.models import Pause, QueueType
from offloading.views import queue_forms, queue_words
from offloading.views.fragments import is_fragment, page_or_fragment

LIST, DETAIL = "offloading/queue_list.html", "offloading/queue_detail.html"
FORM, PAUSE_FORM = "offloading/queue_form.html", "offloading/queue_pause.html"
ROWS_SHOWN = 200


@dataclass(frozen=True)
class Row:
    """A queue as it shows."""

    state: QueueState
    words: list[str]


# --- Looking ------------------------------------------------------------------------------------------------------


@require_GET
def queue_list(request: HttpRequest) -> HttpResponse:
    """Show the queues: all of them, those that are paused or have work, and those whose name or topics match."""
    return _list(request)


def _list(request: HttpRequest, status: int = 200) -> HttpResponse:
    found = overview.read()
    show, words = request.GET.get("show", ""), request.GET.get("q", "").strip()[:200]
    groups = {
        "": found,
        "paused": [each for each in found if each.pause],
        "busy": [each for each in found if each.unfinished],
    }
    matching = [each for each in groups.get(show, found) if _matches(each, words)]
    context = {
        "rows": [_row(each) for each in matching[:ROWS_SHOWN]],
        "hidden": max(len(matching) - ROWS_SHOWN, 0),
        "counts": {name: len(group) for name, group in groups.items() if name},
        "total": len(found),
        "show": show,
        "words": words,
        "topic_pauses": [row for row in pauses.active().rows if row.kind == Pause.Kind.TOPIC],
        "has_own": any(not each.is_main for each in configuration.current()),
        "full_path": _path(show, words),
    }
    return page_or_fragment(request, LIST, context, status)


@require_GET
def queue_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one queue, or a configuration that makes queues with those it has made."""
    return _detail(request, name)


def _detail(request: HttpRequest, name: str, status: int = 200) -> HttpResponse:
    state = overview.one(name)
    if state is None:
        raise Http404(f"There is no queue {name!r}.")
    made = [each for each in overview.read() if each.is_made and each.settings == state.settings]
    counts = statistics.of_queue(name)
    context = {
        "row": _row(state),
        "state": state,
        "settings": state.settings,
        "made": [_row(each) for each in made[:ROWS_SHOWN]] if state.makes_queues else [],
        "topics": [] if state.makes_queues else overview.topics(name),
        "statistics": counts,
        "waited": counts.average_waiting_ms / 1000 if counts.started else None,
        "ran": counts.average_processing_ms / 1000 if counts.finished else None,
        "type_label": QueueType(state.settings.type).label,
        "is_changed": state.settings != configuration.default_main_queue(),
        "crumbs": [("Queues", reverse("offloading:queue-list")), (name, "")],
    }
    return page_or_fragment(request, DETAIL, context, status)


@require_GET
def pause_notice(request: HttpRequest) -> HttpResponse:
    """Say again what is paused, for the head of a page that is open."""
    return render(request, "offloading/_paused.html")


def _row(state: QueueState) -> Row:
    return Row(state, queue_words.sentences(state.settings, processors.count()))


def _matches(state: QueueState, words: str) -> bool:
    texts = (state.name, *state.settings.topics)
    return all(any(word in text.lower() for text in texts) for word in words.lower().split())


def _path(show: str, words: str) -> str:
    asked = {name: value for name, value in (("show", show), ("q", words)) if value}
    return reverse("offloading:queue-list") + (f"?{urlencode(asked)}" if asked else "")


# --- Configuring --------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def queue_new(request: HttpRequest) -> HttpResponse:
    """Add a queue configuration."""
    _require_staff(request, "configure queues")
    form = queue_forms.ConfigurationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name = queues.legal_name(form.cleaned_data["name"])
        if any(each.name == name for each in configuration.current()):
            form.add_error("name", "A queue of that name is configured already: edit that one, or choose another name.")
        elif _put(request, form, form.settings()):
            messages.success(request, f"Queue {name} is configured.")
            return redirect("offloading:queue-detail", name)
    crumbs = [("Queues", reverse("offloading:queue-list")), ("New queue", "")]
    return _form(request, form, {"title": "New queue", "verb": "Add the queue", "crumbs": crumbs})


@require_http_methods(["GET", "POST"])
def queue_edit(request: HttpRequest, name: str) -> HttpResponse:
    """Change a queue configuration."""
    _require_staff(request, "configure queues")
    settings = _configured(name)
    form = queue_forms.ConfigurationForm(request.POST or None, settings=settings)
    if request.method == "POST" and form.is_valid() and _put(request, form, form.settings()):
        messages.success(
            request, f"Queue {name} is changed.", extra_tags=f"undo={request.path}?{urlencode(_fields(settings))}"
        )
        return redirect("offloading:queue-detail", name)
    address = reverse("offloading:queue-detail", args=[name])
    crumbs = [("Queues", reverse("offloading:queue-list")), (name, address), ("Edit", "")]
    return _form(request, form, {"title": f"Edit {name}", "verb": "Save", "crumbs": crumbs, "address": address})


@require_POST
def queue_remove(request: HttpRequest, name: str) -> HttpResponse:
    """Remove a queue configuration, or give the main queue its default settings back."""
    _require_staff(request, "configure queues")
    settings = _configured(name)
    configuration.remove(name, by=request.user.get_username())
    if name == MAIN_QUEUE:
        back = reverse("offloading:queue-edit", args=[name])
        said, address = f"Queue {name} has its default settings.", reverse("offloading:queue-detail", args=[name])
    else:
        back = reverse("offloading:queue-new")
        said, address = f"Queue {name} is not configured any more.", reverse("offloading:queue-list")
    messages.success(request, said, extra_tags=f"undo={back}?{urlencode(_fields(settings))}")
    return redirect(address)


def _put(request: HttpRequest, form: queue_forms.ConfigurationForm, settings: QueueSettings) -> bool:
    try:
        configuration.put(settings, by=request.user.get_username())
    except exceptions.QueueInvalid as error:
        form.add_problems(error.problems)
        return False
    return True


def _form(request: HttpRequest, form: queue_forms.ConfigurationForm, context: dict[str, object]) -> HttpResponse:
    status = 422 if form.errors else 200
    facts = {"form": form, "processors": processors.count(), "address": reverse("offloading:queue-list")}
    return render(request, FORM, facts | context, status=status)


def _configured(name: str) -> QueueSettings:
    try:
        return configuration.get(name)
    except exceptions.QueueMissing as error:
        raise Http404(str(error)) from error


def _fields(settings: QueueSettings) -> dict[str, str]:
    """Return the fields of a form that would store these settings."""
    values = {**asdict(settings), "topics": "\n".join(settings.topics)}
    return {name: str(value) for name, value in values.items() if value is not False}


# --- Pausing ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def queue_pause(request: HttpRequest, name: str) -> HttpResponse:
    """Ask why and until when, and pause a queue."""
    _require_staff(request, "pause queues")
    state = overview.one(name)
    if state is None or state.makes_queues:
        raise Http404(f"There is no queue {name!r}.")
    form = queue_forms.PauseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and _pause(request, form, Pause.Kind.QUEUE, name):
        return redirect("offloading:queue-detail", name)
    address = reverse("offloading:queue-detail", args=[name])
    crumbs = [("Queues", reverse("offloading:queue-list")), (name, address), ("Pause", "")]
    context = {"form": form, "title": f"Pause {name}", "address": address, "crumbs": crumbs, "state": state}
    return render(request, PAUSE_FORM, context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def topic_pause(request: HttpRequest) -> HttpResponse:
    """Ask why and until when, and pause a topic or all topics below one."""
    _require_staff(request, "pause topics")
    if request.method == "POST":
        form = queue_forms.TopicPauseForm(request.POST)
        if form.is_valid() and _pause(request, form, Pause.Kind.TOPIC, form.cleaned_data["name"].strip()):
            return redirect("offloading:queue-list")
    else:
        form = queue_forms.TopicPauseForm(initial={"name": request.GET.get("topic", "")})
    address = reverse("offloading:queue-list")
    crumbs = [("Queues", address), ("Pause a topic", "")]
    context = {"form": form, "title": "Pause a topic", "address": address, "crumbs": crumbs}
    return render(request, PAUSE_FORM, context, status=422 if form.errors else 200)


@require_POST
def queue_resume(request: HttpRequest, name: str) -> HttpResponse:
    """Let a queue go on; answers with what showed the button as it is then."""
    _resume(request, Pause.Kind.QUEUE, name)
    if is_fragment(request):
        is_list = request.headers.get("HX-Target") == "queues"
        return _list(request) if is_list else _detail(request, name)
    return redirect("offloading:queue-detail", name)


@require_POST
def topic_resume(request: HttpRequest) -> HttpResponse:
    """Let a topic go on."""
    _resume(request, Pause.Kind.TOPIC, request.POST.get("name", ""))
    return _list(request) if is_fragment(request) else redirect("offloading:queue-list")


def _pause(request: HttpRequest, form: queue_forms.PauseForm, kind: Pause.Kind, name: str) -> bool:
    by, reason = request.user.get_username(), form.cleaned_data["reason"]
    try:
        pauses.pause(kind=kind, name=name, by=by, reason=reason, until=form.end())
    except exceptions.PauseInvalid as error:
        form.add_problems(error.problems)
        return False
    messages.success(request, f"{kind.label} {name} is paused.", extra_tags=f"undo={_resume_address(kind, name)}")
    return True


def _resume(request: HttpRequest, kind: Pause.Kind, name: str) -> None:
    _require_staff(request, f"resume {kind.label.lower()}s")
    before = next((row for row in pauses.active().rows if (row.kind, row.name) == (kind, name)), None)
    if not pauses.resume(kind=kind, name=name, by=request.user.get_username()):
        messages.warning(request, f"{kind.label} {name} was not paused.")
        return
    undo = f"undo={_pause_address(kind, name)}?{urlencode(_asked(before))}" if before else ""
    messages.success(request, f"{kind.label} {name} goes on.", extra_tags=undo)


def _asked(pause: Pause) -> dict[str, str]:
    """Return the fields of a form that would pause it again."""
    until = timezone.localtime(pause.until).isoformat() if pause.until else ""
    return {"name": pause.name, "reason": pause.reason, "until": until}


def _pause_address(kind: Pause.Kind, name: str) -> str:
    if kind == Pause.Kind.TOPIC:
        return reverse("offloading:topic-pause")
    return reverse("offloading:queue-pause", args=[name])


def _resume_address(kind: Pause.Kind, name: str) -> str:
    if kind == Pause.Kind.TOPIC:
        return f"{reverse('offloading:topic-resume')}?{urlencode({'name': name})}"
    return reverse("offloading:queue-resume", args=[name])


def _require_staff(request: HttpRequest, act: str) -> None:
    if not request.user.is_staff:
        raise PermissionDenied(f"Only staff may {act}.")
