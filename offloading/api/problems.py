"""What a refusal looks like: problem details (RFC 9457) that name each wrong field and what to do about it.

Every error of the job engine has its place in `KINDS`; a test holds the two together.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions as rest
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from offloading import exceptions

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
_TYPE = "urn:offloading:problem:"
_NAMED = re.compile(r"([a-z_]+): (.*)", re.DOTALL)
_MESSAGE_LENGTH, _FIELD_LENGTH = 500, 300


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong. `field` is its path in the body, as in "jobs.3.topic"; "" = the request as a whole."""

    field: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Kind:
    """What an error of the job engine is over HTTP; `field` is that of the body which it speaks of."""

    status: int
    name: str
    title: str
    remedy: str
    field: str = ""


_NOT_NOW = "Look at it again: it may have gone on meanwhile, and what you want may be done already."
KINDS: dict[type[exceptions.JobError], Kind] = {
    exceptions.TopicInvalid: Kind(
        400, "topic-invalid", "That is no topic", "Write names joined by slashes, as in acme/mail/send.", "topic"
    ),
    exceptions.PropertiesInvalid: Kind(
        400, "properties-invalid", "A property cannot be stored", "Give JSON values, 1 MiB at most.", "properties"
    ),
    exceptions.PropertiesWrong: Kind(400, "settings-invalid", "Some settings are not valid", "Correct them."),
    exceptions.QueueInvalid: Kind(400, "queue-invalid", "The queue cannot be configured like that", "Correct it."),
    exceptions.PauseInvalid: Kind(400, "pause-invalid", "The pause cannot be made like that", "Correct it."),
    exceptions.SwitchInvalid: Kind(400, "switch-invalid", "That is no switch", "Name a topic and an action it has."),
    exceptions.ScheduleInvalid: Kind(
        400, "schedule-invalid", "The schedule is not valid", "Correct it as it says.", "schedules"
    ),
    exceptions.QueryInvalid: Kind(400, "query-invalid", "The query cannot be carried out", "Correct it as it says."),
    exceptions.InstanceUnknown: Kind(
        400, "instance-unknown", "There is no such instance", "Give the sling id of one that is alive.", "target"
    ),
    exceptions.JobMissing: Kind(404, "job-missing", "There is no such job", "Look for it with GET /api/v1/jobs/."),
    exceptions.QueueMissing: Kind(
        404, "queue-missing", "There is no such queue", "Choose one of those that GET /api/v1/queues/ lists."
    ),
    exceptions.ScheduleMissing: Kind(
        404, "schedule-missing", "There is no such schedule", "Choose one of those that GET /api/v1/schedules/ lists."
    ),
    exceptions.JobRefused: Kind(
        409, "job-refused", "The job is not kept", "Change the configuration of its queue, or choose another topic."
    ),
    exceptions.TransitionRefused: Kind(409, "transition-refused", "Its state does not allow that", _NOT_NOW),
    exceptions.StaleFence: Kind(409, "stale-fence", "The job moved on", _NOT_NOW),
    exceptions.AsyncMisused: Kind(409, "async-misused", "Its result came too early, or twice", _NOT_NOW),
    exceptions.JobError: Kind(400, "job-error", "The job engine refused that", "Correct it as it says."),
}

# By status, for what is refused before the job engine is asked.
_REMEDIES = {
    400: "Correct what is named and send it again. The schema at /api/schema/ says what each field may be.",
    401: "Send `Authorization: Token …`, with a token of `manage.py apitoken USER`, or log in.",
    403: "Ask somebody who is staff, or send the X-CSRFToken header if you use a session.",
    404: "Look at the paths of the schema at /api/schema/; each ends with a slash.",
    405: "Use a method that the Allow header names.",
    406: "Accept application/json.",
    411: "Send the body with a Content-Length.",
    413: "Send less at once.",
    415: "Send JSON, with Content-Type: application/json.",
    500: "Try again. If it stays, look for this time in the log of the instance.",
    503: "Try again in a moment.",
}
_FIELD_REMEDIES = {
    "required": "Give this field.",
    "unknown": "Leave it out, or correct its name.",
    "null": "Give a value, or leave the field out.",
    "blank": "Give a text that is not empty.",
    "invalid_choice": "Choose one of these.",
    "max_length": "Give less.",
    "min_length": "Give more.",
    "empty": "Give at least one.",
    "max_value": "Give a smaller number.",
    "min_value": "Give a larger number.",
    "not_a_list": "Give a list, in square brackets.",
    "not_a_dict": "Give an object, in braces.",
    "no_zone": "Add the zone, as in 2030-01-31T18:00:00+01:00 or 2030-01-31T17:00:00Z.",
    "null_characters_not_allowed": "Leave the NUL character out.",
    "surrogate_characters_not_allowed": "Leave it out: it is one half of a character.",
    "topic": KINDS[exceptions.TopicInvalid].remedy,
    "properties": KINDS[exceptions.PropertiesInvalid].remedy,
}


class Refusal(rest.APIException):
    """A refusal of the API's own: `extra` are further members of the problem."""

    def __init__(
        self,
        status: int,
        name: str,
        title: str,
        detail: str,
        errors: Sequence[Wrong] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.name, self.title, self.errors, self.extra = name, title, tuple(errors), dict(extra or {})


class WrongSerializer(serializers.Serializer[Wrong]):
    field = serializers.CharField(help_text='Where in the body or query, as in "jobs.3.topic"; "" = all of it.')
    message = serializers.CharField(help_text="What is wrong.")
    remedy = serializers.CharField(help_text="What to do about it.")


class ProblemSerializer(serializers.Serializer[Any]):
    """What went wrong, as RFC 9457 has it."""

    type = serializers.CharField(help_text="A URN that names the kind of problem and never changes.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = WrongSerializer(  # type: ignore[assignment]  # a field, whatever the class has of that name
        many=True, help_text=f"The first {MAX_ERRORS} at most."
    )

    class Meta:
        ref_name = "Problem"


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of an operation with a problem. REST framework's EXCEPTION_HANDLER."""
    headers: dict[str, str] = {}
    match error:
        case exceptions.JobError():
            found = _of_engine(error)
        case Refusal():
            found = _problem(error.status_code, error.name, error.title, str(error.detail), error.errors) | error.extra
        case rest.ValidationError():
            wrong = list(_walk(error.detail, ""))
            detail = "; ".join(f"{each.field}: {each.message}".removeprefix(": ") for each in wrong[:3])
            found = _problem(400, "body-invalid", "Something in the request is not valid", detail, wrong)
        case Http404():
            found = _of_status(404, "There is nothing at this address.")
        case PermissionDenied():
            found = _of_status(403, str(error) or "You may not do that.")
        case rest.APIException():
            found = _of_status(error.status_code, str(error.detail))
            if authenticate := getattr(error, "auth_header", None):
                headers["WWW-Authenticate"] = authenticate
        case OperationalError() | InterfaceError():
            logger.exception("the database does not answer the API")
            found = _of_status(503, "The database does not answer just now.")
            headers["Retry-After"] = "2"
        case _:
            logger.exception("an operation of the API failed")
            found = _of_status(500, "Something went wrong here; it is in the log of the instance.")
    if request := context.get("request"):
        # Whatever the operation answers in: a problem is JSON.
        request.accepted_renderer, request.accepted_media_type = Renderer(), Renderer.media_type
    return Response(found, status=found["status"], headers=headers, content_type=MEDIA_TYPE)


def named(error: exceptions.QueryInvalid) -> tuple[str, str]:
    """Return the field that a query's error begins with, "" if none, and what it says of it."""
    found = _NAMED.fullmatch(str(error))
    return (found[1], found[2]) if found else ("", str(error))


class Renderer(JSONRenderer):
    """JSON in plain ASCII: what a caller sent is said back, and may hold what no encoding takes."""

    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        return json.dumps(data, cls=self.encoder_class, allow_nan=False, separators=(",", ":")).encode()


def _of_engine(error: exceptions.JobError) -> dict[str, Any]:
    kind = next(KINDS[each] for each in type(error).__mro__ if each in KINDS)
    if isinstance(error, exceptions.PropertiesWrong):
        wrong = [Wrong(name, "This value is not valid.", problem) for name, problem in error.problems.items()]
    else:
        field, message = named(error) if isinstance(error, exceptions.QueryInvalid) else (kind.field, str(error))
        wrong = [Wrong(field, message, kind.remedy)]
    return _problem(kind.status, kind.name, kind.title, str(error), wrong)


def _of_status(status: int, detail: str) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    remedy = _REMEDIES.get(status, _REMEDIES[400])
    return _problem(status, phrase.lower().replace(" ", "-"), phrase, detail, [Wrong("", detail, remedy)])


def _problem(status: int, name: str, title: str, detail: str, errors: Sequence[Wrong]) -> dict[str, Any]:
    told = errors or [Wrong("", detail, _REMEDIES.get(status, _NOT_NOW))]
    return {
        "type": _TYPE + name,
        "title": title,
        "status": status,
        "detail": _cut(detail, _MESSAGE_LENGTH),
        "errors": [
            asdict(Wrong(_cut(each.field, _FIELD_LENGTH), _cut(each.message, _MESSAGE_LENGTH), each.remedy))
            for each in told[:MAX_ERRORS]
        ],
    }


def _walk(detail: Any, path: str) -> Iterator[Wrong]:
    """Yield what a tree of REST framework's errors says, leaf by leaf."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            is_whole = name == "non_field_errors"
            yield from _walk(inner, path if is_whole else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _walk(inner, path)
    else:
        code = getattr(detail, "code", "invalid")
        yield Wrong(path, str(detail), _FIELD_REMEDIES.get(code, _REMEDIES[400]))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
