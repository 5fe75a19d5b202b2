"""What a job may carry: a flat or nested bag of JSON values under text keys, of a bounded size.

Pure. The names that the engine keeps for itself (Sling's bookkeeping) are dropped, as Sling does, so that the
properties of one job can be given to the next.
"""

import json
from collections.abc import Mapping
from typing import Any

from offloading import exceptions

MAX_BYTES = 1024 * 1024
RESERVED_PREFIXES = ("event.job.", "slingevent:", ":slingevent:", ":sling:jobs:")
# As JSON writes it.
_NUL = "\\u0000"
RESERVED = frozenset({"event.distribute", "event.application", "event.topics"})


def checked(properties: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the properties as they are stored. Raises PropertiesInvalid, naming the property and what is wrong."""
    return encoded(properties)[0]


def encoded(properties: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """Return the properties as they are stored, and as the JSON that is. Raises as `checked`."""
    kept = {name: value for name, value in (properties or {}).items() if not is_reserved(name)}
    try:
        text = json.dumps(kept, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
        is_sound = _NUL not in text and all(name and isinstance(name, str) for name in kept)
    except (TypeError, ValueError, RecursionError):
        is_sound = False
    if not is_sound:
        # Each on its own, only to say which one it is.
        for name, value in kept.items():
            _check(name, value)
        raise exceptions.PropertiesInvalid("The properties cannot be stored as JSON: they are nested too deeply.")
    if size > MAX_BYTES:
        raise exceptions.PropertiesInvalid(
            f"The properties take {size} bytes, more than the {MAX_BYTES} that a job may carry. "
            "Put the data into the content tree and give the job its path."
        )
    return kept, text


def is_reserved(name: object) -> bool:
    """Say whether the engine keeps this name for itself."""
    return isinstance(name, str) and (name in RESERVED or name.startswith(RESERVED_PREFIXES))


def _check(name: object, value: Any) -> None:
    if not isinstance(name, str) or not name:
        raise exceptions.PropertiesInvalid(f"A property needs a name that is a text, but got {name!r}")
    try:
        text = json.dumps({name: value}, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise exceptions.PropertiesInvalid(f"Property {name!r} cannot be stored as JSON: {error}") from error
    if _NUL in text:
        raise exceptions.PropertiesInvalid(f"Property {name!r} holds a NUL character, which not every database stores")
