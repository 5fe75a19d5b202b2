"""Facts about the bytes of an original, whatever it is a picture of."""

import hashlib
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        # Not a protection (the store has SHA-256 for that), but the name under which others look an original up.
        digest = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False))
    return {"dam:size": path.stat().st_size, "dam:sha1": digest.hexdigest()}
