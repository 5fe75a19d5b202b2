"""The blob store: bytes by their SHA-256, each stored once, whoever stores them and however often.

Bytes come first, the row after: a row that may be referred to always has its file. A file without a row is what a
crash or a rollback left; the collector adopts it. Removal has two phases, so that it never races a new reference: the
collector first condemns a blob, in a transaction of its own, and from then on nobody may refer to it; then it removes
file and row, unless a reference slipped in before the first phase. Storing the same bytes again saves the blob.
"""

import logging
from collections.abc import Collection, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

from django.db import transaction
from django.db.models.functions import Now

from content import files, models

logger = logging.getLogger(__name__)

_BATCH = 200


class BlobMissing(Exception):
    """Bytes that a change or a reader needs are not in the store."""

    def __init__(self, digests: Collection[str]) -> None:
        self.digests = sorted(digests)
        super().__init__(
            f"{len(self.digests)} blobs are not in the store: {', '.join(self.digests)}. Store them first."
        )


class OffsetMismatch(Exception):
    """A piece of an upload does not follow what has arrived so far."""

    def __init__(self, *, expected: int, offset: int) -> None:
        self.expected = expected
        super().__init__(f"The piece starts at {offset}, but {expected} bytes have arrived. Go on from {expected}.")


class DigestMismatch(Exception):
    """The bytes that arrived are not the bytes that were announced. They were discarded."""


def store(source: BinaryIO | Iterable[bytes]) -> models.Blob:
    """Store a stream. Takes as much memory as one chunk; storing known bytes again keeps the one copy."""
    with files.incoming(source) as (path, digest, size):
        return _keep(path, digest, size)


def open_blob(digest: str) -> BinaryIO:
    """Open the bytes for reading. Raises BlobMissing."""
    try:
        return files.path_of(digest).open("rb")
    except FileNotFoundError as error:
        raise BlobMissing([digest]) from error


def file_path(digest: str) -> Path:
    """Return the file that holds the bytes, for libraries that want a path. It must not be written to."""
    path = files.path_of(digest)
    if not path.is_file():
        raise BlobMissing([digest])
    return path


def missing(digests: Iterable[str]) -> list[str]:
    """Return, in the order given, those digests whose bytes are not here."""
    wanted = list(dict.fromkeys(digests))
    here = set(models.Blob.objects.usable().filter(digest__in=wanted).values_list("digest", flat=True))
    return [digest for digest in wanted if digest not in here]


def partial_size(digest: str) -> int:
    """Return how many bytes of an upload have arrived; 0 if none have."""
    path = files.partial_path(digest)
    return path.stat().st_size if path.is_file() else 0


def append(digest: str, offset: int, data: bytes) -> int:
    """Add a piece to an upload and return its new size. Raises OffsetMismatch with the offset to go on from."""
    with files.partial(digest) as file:
        size = file.seek(0, 2)
        if size != offset:
            raise OffsetMismatch(expected=size, offset=offset)
        file.write(data)
        return file.tell()


def complete(digest: str, size: int) -> models.Blob:
    """Verify an upload and store it. Raises DigestMismatch, and forgets what had arrived, if it is not as announced.

    Calling it again, or after somebody else stored the same bytes, is fine.
    """
    with files.partial(digest) as file:
        path = files.partial_path(digest)
        known = models.Blob.objects.usable().filter(digest=digest, size=size)
        if known.update(stored_at=Now()):
            path.unlink()
            return known.get()
        arrived = file.seek(0, 2)
        if arrived != size or files.verify(file) != digest:
            path.unlink()
            raise DigestMismatch(
                f"Announced were {size} bytes with SHA-256 {digest}; {arrived} other bytes came. Send it again."
            )
        return _keep(path, digest, size)


def remove_unreferenced(digests: Iterable[str]) -> None:
    """Remove those of the blobs that no node refers to, as soon as the current transaction is committed."""
    chosen = _condemn(models.Blob.objects.filter(digest__in=list(digests)))
    if chosen:
        # robust: if the files cannot be removed now, the commit stands, and the collector comes by later
        transaction.on_commit(partial(_remove_condemned, chosen), robust=True)


def collect_garbage(min_age: timedelta) -> int:
    """Remove what nothing refers to and nobody stored for `min_age`, crash leftovers too; return how many blobs.

    `min_age` must be longer than work takes from storing bytes to referring to them. To be called outside of any
    transaction; several machines may do it at once.
    """
    swept = files.sweep(min_age)
    for found in files.stored(min_age):
        _adopt(found)
    old = models.Blob.objects.filter(stored_at__lte=Now() - min_age)
    _condemn(old)
    left_over = models.Blob.objects.filter(condemned_at__isnull=False).values_list("digest", flat=True)
    removed = _remove_condemned(list(left_over))
    if removed or swept:
        logger.info("Garbage collected", extra={"blobs": removed, "unfinished_files": swept})
    return removed


def _keep(path: Path, digest: str, size: int) -> models.Blob:
    """Turn a durable file into a stored blob.

    Writing the row first takes its lock, and so keeps the collector out until the commit; nobody else sees the row
    before that, and by then the file is in place.
    """
    blob = models.Blob(digest=digest, size=size)
    with transaction.atomic():
        models.Blob.objects.bulk_create(
            [blob], update_conflicts=True, unique_fields=["digest"], update_fields=["stored_at", "condemned_at"]
        )
        files.place(path, digest, size)
        return models.Blob.objects.get(digest=digest)


def _adopt(found: dict[str, int]) -> None:
    """Give rows to files that have none, so that they go the way of all blobs once these rows are old."""
    known = set(models.Blob.objects.filter(digest__in=found).values_list("digest", flat=True))
    orphans = [models.Blob(digest=digest, size=size) for digest, size in found.items() if digest not in known]
    models.Blob.objects.bulk_create(orphans, ignore_conflicts=True)
    if orphans:
        logger.info("Files without row adopted", extra={"files": len(orphans)})


def _condemn(blobs: models.BlobQuerySet) -> list[str]:
    """First phase: choose unreferenced blobs that nobody holds."""
    with transaction.atomic():
        free = blobs.usable().unreferenced().select_for_update(skip_locked=True)
        chosen = list(free.values_list("digest", flat=True))
        models.Blob.objects.filter(digest__in=chosen).update(condemned_at=Now())
    return chosen


def _remove_condemned(digests: list[str]) -> int:
    """Second phase. Skips what somebody is storing again just now, and pardons what was referred to in time."""
    removed = 0
    for start in range(0, len(digests), _BATCH):
        with transaction.atomic(durable=True):
            condemned = models.Blob.objects.filter(
                digest__in=digests[start : start + _BATCH], condemned_at__isnull=False
            )
            locked = list(condemned.select_for_update(skip_locked=True).values_list("digest", flat=True))
            # Looked up in a statement after the lock: every reference made before the first phase shows by now.
            chosen = models.Blob.objects.filter(digest__in=locked)
            doomed = list(chosen.unreferenced().values_list("digest", flat=True))
            chosen.exclude(digest__in=doomed).update(condemned_at=None)
            for digest in doomed:
                files.path_of(digest).unlink(missing_ok=True)
            models.Blob.objects.filter(digest__in=doomed).delete()
            removed += len(doomed)
    return removed
