"""How any process tells agents at once that something is to be done, and how an agent hears it.

On PostgreSQL a NOTIFY; on SQLite, where all instances share a machine, a datagram to each agent's Unix socket. A
wake-up carries no data and may get lost: that only costs time, because every loop also looks by itself now and then.
"""

import contextlib
import hashlib
import logging
import os
import socket
import stat
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction

from topology import identity
from topology.models import Instance

logger = logging.getLogger(__name__)

CHANNEL = "offloading_wakeup"
# Who tells of many things need not wake for each: for this long after a wake-up it may say nothing. Who is woken looks
# at once, and again after ECHO_SECONDS.
MOMENT_SECONDS = 0.01
ECHO_SECONDS = 0.03
# Only for a listener that hears nothing: how soon it notices that it shall end, in seconds.
_PATIENCE_SECONDS = 1.0

_callbacks: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)


class WakeupAddressUnusable(RuntimeError):
    """The folder for the socket cannot be used safely."""


# --- Telling ------------------------------------------------------------------------------------------------------


def notify(kind: str, sling_id: str = "") -> None:
    """Wake that instance of this cluster, or all of them, once the current transaction is committed."""
    transaction.on_commit(lambda: _send(kind, sling_id), robust=True)


def message(kind: str, sling_id: str = "") -> str:
    """Return the text of a wake-up, for a statement that sends it itself on CHANNEL."""
    return f"{kind} {sling_id}".strip()


def _send(kind: str, sling_id: str) -> None:
    text = message(kind, sling_id)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, text])
        return
    instances = Instance.objects.exclude(wakeup_address="").exclude(heartbeat_at=None)
    if sling_id:
        instances = instances.filter(sling_id=sling_id)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
        sender.setblocking(False)
        for address in instances.values_list("wakeup_address", flat=True):
            # Gone, or so many wake-ups waiting that one more would say nothing new.
            with contextlib.suppress(OSError):
                sender.sendto(text.encode(), address)


# --- Hearing ------------------------------------------------------------------------------------------------------


def on(kind: str, callback: Callable[[], object]) -> Callable[[], None]:
    """Call `callback` for each wake-up of that kind in this process, until the returned function is called.

    It runs in the listener's thread and must return at once.
    """
    _callbacks[kind].append(callback)
    return lambda: _callbacks[kind].remove(callback)


class Listener(threading.Thread):
    """The agent's thread that hears wake-ups. `address` is what `services.join` is told; empty on PostgreSQL."""

    def __init__(self) -> None:
        super().__init__(name="wakeup", daemon=True)
        self._ending = threading.Event()
        self._is_deaf = False
        self._sling_id = identity.sling_id()
        self._socket: socket.socket | None = None
        self.address = ""
        if connection.vendor != "postgresql":
            self.address = str(_socket_path())
            self._socket = _bind(self.address)

    def stop(self) -> None:
        """End the thread and wait for it; safe to call twice."""
        self._ending.set()
        if self._socket and self.is_alive():
            # Nothing to say, only to end its patience.
            self._socket.sendto(b"", self.address)
        if self.is_alive():
            self.join(2 * _PATIENCE_SECONDS)
        if self._socket:
            self._socket.close()
            self._socket = None
            Path(self.address).unlink(missing_ok=True)

    def run(self) -> None:
        if self._socket:
            self._hear_datagrams(self._socket)
        else:
            self._hear_database()

    def _hear_datagrams(self, receiver: socket.socket) -> None:
        receiver.settimeout(_PATIENCE_SECONDS)
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                self.dispatch(receiver.recv(200).decode(errors="replace"))

    def _hear_database(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen()
            except (DatabaseError, InterfaceError) as error:
                if not self._is_deaf:
                    reason = str(error).partition("\n")[0]
                    logger.warning("wake-ups interrupted, database unreachable", extra={"reason": reason})
                self._is_deaf = True
                connection.close()
                self._ending.wait(_PATIENCE_SECONDS)
        connection.close()

    def _listen(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        self._is_deaf = False
        # What was said while nobody listened is lost, so everyone looks now.
        self._wake_all()
        while not self._ending.is_set():
            with connection.wrap_database_errors:
                for note in connection.connection.notifies(timeout=_PATIENCE_SECONDS):
                    self.dispatch(note.payload)

    def dispatch(self, message: str) -> None:
        """Call who waits for this message, if it is meant for this instance."""
        kind, _, sling_id = message.partition(" ")
        if sling_id in ("", self._sling_id):
            _call(kind)

    @staticmethod
    def _wake_all() -> None:
        for kind in tuple(_callbacks):
            _call(kind)


def _call(kind: str) -> None:
    for callback in tuple(_callbacks.get(kind, ())):
        try:
            callback()
        except Exception:
            logger.exception("wake-up callback failed", extra={"kind": kind})


# --- The socket ---------------------------------------------------------------------------------------------------


def _socket_path() -> Path:
    """Return where this home's socket lies: a short path (the system allows 107 bytes), the same at every start."""
    folder = Path(tempfile.gettempdir()) / f"offloading-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise WakeupAddressUnusable(
            f"{folder} must be a folder that only this user can enter. Remove it or set TMPDIR."
        )
    path = folder / hashlib.sha256(str(settings.OFFLOADING_HOME).encode()).hexdigest()[:20]
    if len(os.fsencode(path)) > 107:
        raise WakeupAddressUnusable(f"{path} is too long for a socket. Set TMPDIR to a shorter folder.")
    return path


def _bind(address: str) -> socket.socket:
    # Left by a run that was killed: the home's lock says that no other process listens on it.
    Path(address).unlink(missing_ok=True)
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(address)
    return receiver
