"""Who this instance is: its lasting sling id, the run it is in, and the lock on its home.

The id lies in `sling.id` in the home and survives restarts; a copied home copies the id too, which `services.join`
finds out. The lock only keeps two processes on one machine from sharing a home.
"""

import fcntl
import functools
import os
import re
import socket
import uuid
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from django.conf import settings

VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


class AlreadyRunning(RuntimeError):
    """Another process on this machine holds the home."""


class IdentityInvalid(RuntimeError):
    """The file with the sling id holds something else."""


def sling_id() -> str:
    """Return the id of this instance, made at the first call ever and kept in the home from then on."""
    return _read_or_make(settings.OFFLOADING_HOME)


@functools.cache
def _read_or_make(home: Path) -> str:
    path = home / "sling.id"
    if not path.exists():
        _make(path)
    text = path.read_text().strip()
    if not VALID_ID.fullmatch(text):
        raise IdentityInvalid(f"{path} holds no sling id. Restore it, or remove the file to become a new instance.")
    return text


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"sling.id.{uuid.uuid4().hex}")
    draft.write_text(f"{uuid.uuid4()}\n")
    try:
        # A link is made whole or not at all, and never over a file that another process made in the meantime.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def runtime_id() -> str:
    """Return the name of the run that this process belongs to; empty outside a running instance."""
    return str(settings.OFFLOADING_RUNTIME_ID)


def home() -> str:
    """Return the home with its machine. Two runs of one home are never alive at once: `hold_home` sees to it."""
    return f"{socket.gethostname()}:{settings.OFFLOADING_HOME}"


def label() -> str:
    """Return how people name this instance: host and port of its endpoint."""
    return endpoint_label(settings.OFFLOADING_ENDPOINT)


def endpoint_label(url: str) -> str:
    """Return "host:port" of an address, or the text itself if it is none."""
    return urlsplit(url).netloc.rpartition("@")[2] or url


def hold_home() -> IO[str]:
    """Take the home for this process and its children, until the returned file is closed or they have all ended.

    Raises AlreadyRunning if another process has it.
    """
    path = settings.OFFLOADING_HOME / "instance.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise AlreadyRunning(
            f"{settings.OFFLOADING_HOME} is in use by process {holder}. "
            "Stop it, or give this instance another OFFLOADING_HOME."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
