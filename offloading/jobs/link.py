"""The line between an instance's dispatcher and its worker slots: a Unix socket, and one JSON object a line.

Each slot holds two connections. Its pusher's carries the one task that opens its worker for jobs; over its worker's
come the jobs, and their endings go back. A connection that ends says more than any message could: the process at its
other end is gone.
"""

import json
import os
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

PUSHER, WORKER = "pusher", "worker"
_CONNECT_PAUSE_SECONDS = 0.05
_LONGEST_LINE = 1024 * 1024

Message = dict[str, Any]


class LinkUnusable(RuntimeError):
    """The socket's folder belongs to somebody else, or its path is too long."""


def address(sling_id: str) -> str:
    """Return the path of the socket of that instance, in a folder that only this user may enter."""
    folder = Path(tempfile.gettempdir()) / f"offloading-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LinkUnusable(f"{folder} must be a folder that only this user may enter. Remove it, or set TMPDIR.")
    path = str(folder / f"{sling_id}.jobs")
    if len(os.fsencode(path)) > 107:  # what the system has room for
        raise LinkUnusable(f"{path} is too long for a socket. Set TMPDIR to a shorter folder.")
    return path


def listen(sling_id: str) -> socket.socket:
    """Open the dispatcher's end. A socket left over by a former run is replaced: the home's lock rules out another."""
    path = address(sling_id)
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    return listener


class Line:
    """One end of a connection: whole messages go in and come out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, message: Message) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, *, waits: bool = True) -> list[Message] | None:
        """Return what came, after waiting for it if `waits`; None when the other end is gone."""
        try:
            data = self.connection.recv(65536, 0 if waits else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not data or len(self._rest) > _LONGEST_LINE:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self.connection.close()


def connect(sling_id: str, *, role: str, slot: str) -> Line:
    """Open a slot's end and say who it is; wait for the dispatcher as long as there is none."""
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address(sling_id))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            time.sleep(_CONNECT_PAUSE_SECONDS)
        else:
            break
    line = Line(connection)
    line.send({"hello": role, "slot": slot, "pid": os.getpid()})
    return line
