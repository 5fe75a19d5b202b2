"""The installation's secret key: made once, kept beside the data, shared by all instances of the installation."""

import os
import secrets
from pathlib import Path


def read_or_make(path: Path) -> str:
    """Return the key kept in `path`; make it first if there is none. Safe when two processes do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # unlike a rename, this fails if somebody was quicker
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
