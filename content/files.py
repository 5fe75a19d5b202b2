"""Where the blob store keeps its files, and how a file gets there so that a crash leaves all of it or nothing.

    <OFFLOADING_BLOBS>/ab/cdef…      bytes whose SHA-256 is abcdef…
                       tmp/          being written; what a crash leaves here is swept when it is old
                       partial/      uploads that arrive in pieces, by the digest they are going to have

Files alone: the rows, and which of the two comes first, are in blobs.py.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

CHUNK_BYTES = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{2}")


class DigestInvalid(ValueError):
    """The text is no digest. Digests come from other machines and name files, so nothing else may pass."""


def path_of(digest: str) -> Path:
    """Return where the bytes with this SHA-256 are, or would be."""
    valid = checked(digest)
    return _root() / valid[:2] / valid[2:]


def partial_path(digest: str) -> Path:
    return _root() / "partial" / checked(digest)


@contextlib.contextmanager
def incoming(source: BinaryIO | Iterable[bytes]) -> Iterator[tuple[Path, str, int]]:
    """Write a stream into a durable temporary file; give its path, digest and size. Removed unless placed."""
    descriptor, name = tempfile.mkstemp(dir=_made(_root() / "tmp"))
    path = Path(name)
    try:
        with open(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however it ends: then it may be swept
            digest, size = hashlib.sha256(), 0
            for chunk in _chunks(source):
                digest.update(chunk)
                size += file.write(chunk)
            _sync(file)
            yield path, digest.hexdigest(), size
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def partial(digest: str) -> Iterator[BufferedRandom]:
    """Open the partial upload, made if it is not there, for appending and for this caller alone."""
    path = partial_path(digest)
    _made(path.parent)
    while True:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had the lock before may have placed or discarded the file: then this is not the upload any more.
            if _is_same_file(file, path):
                yield file
                return


def place(source: Path, digest: str, size: int) -> None:
    """Make `source`, a durable file, the file of the digest. A whole file that is there already stays."""
    target = path_of(digest)
    if target.is_file() and target.stat().st_size == size:
        source.unlink(missing_ok=True)
        return
    _made(target.parent)
    source.replace(target)
    _sync_folder(target.parent)


def verify(file: BufferedRandom) -> str:
    """Make an open file durable and return the SHA-256 of all of it."""
    _sync(file)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(min_age: timedelta) -> int:
    """Remove temporary files and partial uploads that nobody wrote to for `min_age`; return how many."""
    removed = 0
    for folder in ("tmp", "partial"):
        for path in _older(_root() / folder, min_age):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                removed += _remove_if_free(file, path)
    return removed


def stored(min_age: timedelta) -> Iterator[dict[str, int]]:
    """Walk the stored files older than `min_age`, folder by folder, as digest to size."""
    if not _root().is_dir():
        return
    for folder in sorted(_root().iterdir()):
        if _SHARD.fullmatch(folder.name):
            found = {folder.name + path.name: size for path, size in _older(folder, min_age).items()}
            yield {digest: size for digest, size in found.items() if _DIGEST.fullmatch(digest)}


def _root() -> Path:
    return Path(settings.OFFLOADING_BLOBS)


def checked(digest: str) -> str:
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise DigestInvalid(f"{str(digest)[:80]!r} is no SHA-256 digest. Give its 64 lower-case hexadecimal digits.")
    return digest


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK_BYTES):
        yield chunk


def _older(folder: Path, min_age: timedelta) -> dict[Path, int]:
    """Return the files of a folder that were last written to before `min_age`, with their sizes."""
    # One machine's clock on both sides, and only to leave alone what is being written just now.
    latest = time.time() - min_age.total_seconds()
    found: dict[Path, int] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # its writer was quicker than this walk
            status = path.stat()
            if status.st_mtime <= latest:
                found[path] = status.st_size
    return found


def _remove_if_free(file: BinaryIO, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    path.unlink(missing_ok=True)
    return True


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _made(folder: Path) -> Path:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)
    return folder


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
