"""What a body may be: JSON of a bounded size, with fields that are known and have the type that the schema says.

REST framework's own fields are lenient (5 is a text, "yes" a boolean, a name that nobody knows is passed over); a
caller who is wrong should hear of it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import IO, Any

from rest_framework import exceptions as rest
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from offloading.api import problems

MAX_BYTES = 2 * 1024 * 1024
_MAX_UNKNOWN = 20
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
YEAR_SECONDS = 366 * 86_400


class JsonParser(BaseParser):
    """Reads a JSON body of at most the view's `max_bytes`."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        most = getattr((parser_context or {}).get("view"), "max_bytes", MAX_BYTES)
        body = stream.read(most + 1)
        if len(body) > most:
            text = f"The body is larger than {most:,} bytes, the most that is taken here."
            raise problems.Refusal(413, "body-too-large", "The body is too large", text)
        try:
            return json.loads(body.decode(), parse_constant=_refuse_constant)
        except RecursionError as error:
            raise rest.ParseError("The body is nested too deeply.") from error
        except ValueError as error:
            raise rest.ParseError(f"The body is no JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


class Text(serializers.CharField):
    """A text as it was sent, its outer spaces included."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "allow_blank": True} | options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Choice(serializers.ChoiceField):
    """One of some texts."""

    default_error_messages = {"invalid_choice": "{input} is none of: {known}."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", input=repr(data)[:100], known=", ".join(map(str, self.choices)))
        return data


class Whole(serializers.IntegerField):
    """A whole number that every database stores."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": -(2**31), "max_value": 2**31 - 1} | options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class Number(serializers.FloatField):
    """A number that is not infinite."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            number = float(data)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail("invalid")
        return number


class Truth(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=repr(data)[:100])
        return data


class Instant(serializers.DateTimeField):
    """A time with its zone."""

    default_error_messages = {
        "no_zone": "The time has no time zone.",
        "far": f"The time is not of the years {_FIRST_YEAR} to {_LAST_YEAR}.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid", format="2030-01-31T18:00:00+01:00")
        return super().to_internal_value(value)

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.utcoffset() is None:
            self.fail("no_zone")
        if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
            self.fail("far")
        return super().enforce_timezone(value)


class Properties(serializers.DictField):
    """The bag of JSON values that a job carries."""


class Body(serializers.Serializer[Any]):
    """An object whose unknown fields are refused by name."""

    default_error_messages = {"invalid": "An object is needed here, not {datatype}."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            message = self.error_messages["invalid"].format(datatype=_kind_of(data))
            raise rest.ValidationError({"non_field_errors": [message]}, code="not_a_dict")
        unknown = self._unknown(data)
        try:
            found = super().to_internal_value(data)
        except rest.ValidationError as error:
            assert isinstance(error.detail, dict)
            raise rest.ValidationError({**unknown, **error.detail}) from error
        if unknown:
            raise rest.ValidationError(unknown)
        return found

    def _unknown(self, data: Mapping[str, Any]) -> dict[str, list[rest.ErrorDetail]]:
        names = [name for name in data if name not in self.fields][:_MAX_UNKNOWN]
        known = f"There are: {', '.join(self.fields)}." if self.fields else "There is none."
        return {name: [rest.ErrorDetail(f"There is no such field. {known}", "unknown")] for name in names}


class Nothing(Body):
    """A body without fields: none, or {}."""


def read(kind: type[Body], request: Request) -> dict[str, Any]:
    """Return the fields of a body, those that were not given and have no default left out."""
    return _checked(kind(data=request.data))


def read_query(kind: type[Body], request: Request) -> dict[str, Any]:
    """Return the parameters of the address in the same way; a list is given by commas or by saying it again."""
    fields = kind().fields
    given: dict[str, Any] = {}
    for name, values in request.query_params.lists():
        is_list = isinstance(fields.get(name), serializers.ListField)
        given[name] = list(_parts(values)) if is_list else values[-1]
    return _checked(kind(data=given))


def _checked(body: Body) -> dict[str, Any]:
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _parts(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _kind_of(data: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(data), "that")
