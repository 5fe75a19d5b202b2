"""What of a file's metadata is worth keeping: bounded text and numbers, nothing binary, nothing broken. Pure."""

import math
from typing import Any

MAX_PROPERTIES = 500
MAX_TEXT = 4_000
MAX_ITEMS = 200


def keep(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties that can be stored and shown; broken, binary and empty ones are left out."""
    cleaned = {name: clean(value) for name, value in properties.items()}
    kept = [(name, value) for name, value in cleaned.items() if value not in (None, "", [])]
    return dict(kept[:MAX_PROPERTIES])


def clean(value: Any) -> Any:
    """Return `value` in its bounds, or None if nothing of it can be kept."""
    if isinstance(value, bool | int):
        # Beyond 64 bits a number is no fact about a picture, and JSON readers differ on it.
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, list):
        items = (clean(item) for item in value[:MAX_ITEMS])
        return [item for item in items if item not in (None, "")]
    return None


def _clean_text(text: str) -> str | None:
    text = text.strip("\0 \t\r\n")
    if any(_is_binary(character) for character in text):
        return None
    return text[:MAX_TEXT]


def _is_binary(character: str) -> bool:
    code = ord(character)
    return (code < 32 and character not in "\t\n\r") or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code == 0xFFFD
