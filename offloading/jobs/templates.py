"""Templates as Sling's job manager knows them: names of properties with an operator, and what they shall have.

The operator stands in front of the name:

    condition([{"to": "ann@example.org", ">size": 100}, {"slingevent:jobTitle": "Newsletter"}])

The entries of one mapping must all be true of a job, and one of the mappings is enough. An operator reads "stored value
OP template value". A job without the property does not match, whatever the operator; nor does a value of another type:
the number 5 is not the text "5". Pure: conditions for the database come out, nothing is read.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import Enum, auto
from functools import reduce
from operator import or_

from django.db.models import Q

from offloading import exceptions
from offloading.jobs import conditions, ids, properties, states

Templates = Iterable[Mapping[str, object]]
_MAX_INTEGER = 2**63


class Kind(Enum):
    """What a managed property holds."""

    TEXT = auto()
    NUMBER = auto()
    INSTANT = auto()
    ID = auto()


@dataclass(frozen=True)
class Managed:
    """A property that the engine keeps in a column: there is one stored unit to `unit` of the property's."""

    column: str
    kind: Kind = Kind.TEXT
    unit: float = 1


MANAGED = {
    "event.job.topic": Managed("topic"),
    "event.job.queuename": Managed("queue"),
    "event.job.retrycount": Managed("retry_count", Kind.NUMBER),
    "event.job.retries": Managed("retries", Kind.NUMBER),
    "event.job.retrydelay": Managed("retry_delay_seconds", Kind.NUMBER, unit=1000),
    "event.job.application": Managed("target"),
    "event.job.queued.time": Managed("queued_at", Kind.INSTANT),
    "event.job.started.time": Managed("started_at", Kind.INSTANT),
    "slingevent:eventId": Managed("id", Kind.ID),
    "slingevent:application": Managed("application"),
    "slingevent:created": Managed("created_at", Kind.INSTANT),
    "slingevent:finishedDate": Managed("finished_at", Kind.INSTANT),
    "slingevent:finishedState": Managed("state"),
    "slingevent:jobTitle": Managed("title"),
    "slingevent:resultMessage": Managed("result_message"),
    "slingevent:progressSteps": Managed("progress_steps", Kind.NUMBER),
    "slingevent:progressStep": Managed("progress_step", Kind.NUMBER),
    "slingevent:progressETA": Managed("progress_eta", Kind.INSTANT),
}


def condition(templates: Templates) -> Q:
    """Return the condition that the templates stand for. Raises QueryInvalid, naming the key and what to do.

    Empty mappings are skipped, as in Sling: "nothing in particular OR x" is x. Nothing but empty ones is everything.
    """
    wanted = [each for each in templates if each]
    return reduce(or_, (_all_of(each) for each in wanted)) if wanted else Q()


def _all_of(template: Mapping[str, object]) -> Q:
    found = Q()
    for key, value in template.items():
        found &= _comparison(key, value)
    return found


def _comparison(key: object, value: object) -> Q:
    if not isinstance(key, str):
        raise exceptions.QueryInvalid(f"The key {key!r} of a template must be the name of a property, as a text.")
    operator = next((each for each in conditions.OPERATORS if key.startswith(each)), "")
    name = key.removeprefix(operator)
    if not name or "\0" in name:
        raise exceptions.QueryInvalid(f"The key {key!r} of a template names no property: write one, as in '>size'.")
    if name in MANAGED:
        return _managed(name, operator or "=", value)
    if properties.is_reserved(name):
        known = ", ".join(sorted(MANAGED))
        raise exceptions.QueryInvalid(f"{name!r} is no property of a job that can be looked for. There are: {known}.")
    return _own(name, operator or "=", value)


def _own(name: str, operator: str, value: object) -> Q:
    """Compare one of the properties that the job was added with."""
    if isinstance(value, datetime | date):
        value = instant(name, value).isoformat()
    if isinstance(value, bool):
        if operator != "=":
            raise exceptions.QueryInvalid(f"{name!r} is compared with {value}: use '=', as there is no order of these.")
        return Q(conditions.PropertyComparison(name, operator, value))
    if isinstance(value, str):
        text = _Text.of(name, operator, value)
        return Q(conditions.PropertyComparison(name, text.operator, text.value)) if text else conditions.NOTHING
    return Q(conditions.PropertyComparison(name, operator, _number(name, value)))


def _managed(name: str, operator: str, value: object) -> Q:
    managed = MANAGED[name]
    if managed.kind is Kind.INSTANT:
        return Q(conditions.InstantComparison(managed.column, operator, instant(name, value)))
    if managed.kind is Kind.NUMBER:
        number = _number(name, value)
        return Q(
            conditions.NumberComparison(
                managed.column, operator, number / managed.unit if managed.unit != 1 else number
            )
        )
    if not isinstance(value, str):
        raise exceptions.QueryInvalid(f"{name!r} is a text, but it is compared with {value!r}: give a text.")
    if managed.kind is Kind.ID:
        return _id(name, operator, value)
    text = _Text.of(name, operator, value)
    if text is None:
        return conditions.NOTHING
    # What is empty, or has not happened yet, is a property that the job does not have.
    is_there = Q(state__in=states.FINAL) if managed.column == "state" else ~Q(**{managed.column: ""})
    return is_there & Q(conditions.TextComparison(managed.column, text.operator, text.value))


def _id(name: str, operator: str, value: str) -> Q:
    job_id = ids.parse(value)
    if job_id is None:
        if operator == "=":
            return conditions.NOTHING
        raise exceptions.QueryInvalid(f"{name!r} is compared with {value!r}: give the whole id of a job.")
    lookup = {"=": "exact", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[operator]
    return Q(**{f"id__{lookup}": job_id})


@dataclass(frozen=True)
class _Text:
    """A comparison with a text that both databases can be given."""

    operator: str
    value: str

    @classmethod
    def of(cls, name: str, operator: str, value: str) -> "_Text | None":
        """Return the comparison, or None for one that is never true.

        No stored text has a NUL in it, and PostgreSQL takes none as a parameter: what stands before it decides.
        """
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise exceptions.QueryInvalid(f"The value for {name!r} is no Unicode text: {error.reason}.") from error
        before, nul, _ = value.partition("\0")
        if not nul:
            return cls(operator, value)
        return None if operator == "=" else cls("<=" if operator in ("<", "<=") else ">", before)


def _number(name: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise exceptions.QueryInvalid(
            f"{name!r} is compared with {value!r}: give a number, or where a text, a boolean or a date is kept, that."
        )
    if not math.isfinite(value) or (isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER):
        raise exceptions.QueryInvalid(f"{name!r} is compared with {value!r}: give a number of at most 64 bits.")
    return value


def instant(name: str, value: object) -> datetime:
    """Return a date, a time or an ISO 8601 text as an instant; UTC where it names no zone. Raises QueryInvalid."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime):
            return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise exceptions.QueryInvalid(f"{name!r} is compared with {value!r}: give a date, as in '2026-11-24T08:00:00Z'.")
