"""Which names and values a node's properties may have, and when two values are the same. Pure.

A value is what JSON can hold and both databases give back unchanged. PostgreSQL stores neither NUL characters nor
half surrogate pairs, and neither database NaN, so they are refused here, before one of them fails half-way.
"""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

MAX_NAME_LENGTH = 255
MAX_TYPE_LENGTH = 100


class PropertyInvalid(ValueError):
    """A property has a name or a value that cannot be stored. The message names it and says what to do."""


def validate(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the properties with lists for tuples, or raise PropertyInvalid."""
    return {validate_name(name): _checked(value, name) for name, value in properties.items()}


def validate_name(name: str) -> str:
    if not isinstance(name, str) or not name or len(name) > MAX_NAME_LENGTH:
        raise PropertyInvalid(f"{str(name)[:80]!r} is no property name. Use 1 to {MAX_NAME_LENGTH} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise PropertyInvalid(f"The property name {name!r} contains a control character. Remove it.")
    return name


def validate_type(primary_type: str) -> str:
    if not isinstance(primary_type, str) or not 1 <= len(primary_type) <= MAX_TYPE_LENGTH:
        raise PropertyInvalid(f"{str(primary_type)[:80]!r} is no node type. Use 1 to {MAX_TYPE_LENGTH} characters.")
    return validate_name(primary_type)


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same to JSON: true is not 1, but 1.0 is 1, as a database may return either."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _checked(value: Any, name: str) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise PropertyInvalid(f"The property {name!r} is {value}, which JSON has no word for. Leave it out.")
    if isinstance(value, str):
        return _checked_text(value, name)
    if isinstance(value, list | tuple):
        return [_checked(item, name) for item in value]
    if isinstance(value, dict):
        return {_checked_text(key, name): _checked(item, name) for key, item in value.items()}
    kind = type(value).__name__
    raise PropertyInvalid(
        f"The property {name!r} holds a {kind}. Store text, numbers, booleans, lists or dicts of them."
    )


def _checked_text(text: Any, name: str) -> str:
    if not isinstance(text, str):
        raise PropertyInvalid(f"A dict in the property {name!r} has the key {text!r}. Use text as keys.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise PropertyInvalid(f"The property {name!r} contains NUL or half a character. Remove it.")
    return text
