import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction

from content import blobs, files, models, services

DATA = b"some bytes " * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()
AT_ONCE = timedelta(0)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


def all_files(settings):
    return sorted(path for path in settings.OFFLOADING_BLOBS.rglob("*") if path.is_file())


def make_old(path, *, hours=2):
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


def refer_to(digest, path="/x"):
    return services.create_node(path=path, primary_type="nt:file", binaries={"jcr:data": digest}, by="test")


# --- store ---


@pytest.mark.parametrize("source", [io.BytesIO(DATA), [DATA[:10], b"", DATA[10:]], iter([DATA])])
def test_bytes_are_stored_under_their_digest(source, settings):
    blob = blobs.store(source)
    assert (blob.digest, blob.size) == (DIGEST, len(DATA))
    assert blobs.file_path(DIGEST).read_bytes() == DATA
    with blobs.open_blob(DIGEST) as file:
        assert file.read() == DATA
    assert all_files(settings) == [blobs.file_path(DIGEST)]


def test_no_bytes_are_bytes_too():
    blob = blobs.store([])
    assert (blob.size, blob.digest) == (0, hashlib.sha256().hexdigest())
    assert blobs.file_path(blob.digest).read_bytes() == b""


def test_storing_again_keeps_one_copy_and_makes_it_young_again(settings):
    blobs.store([DATA])
    models.Blob.objects.update(stored_at="2020-01-01T00:00Z")
    inode = blobs.file_path(DIGEST).stat().st_ino
    blob = blobs.store([DATA])
    assert blob.stored_at.year > 2020
    assert blobs.file_path(DIGEST).stat().st_ino == inode
    assert len(all_files(settings)) == models.Blob.objects.count() == 1


def test_a_stream_that_breaks_leaves_nothing(settings):
    def broken():
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.store(broken())
    assert all_files(settings) == []
    assert not models.Blob.objects.exists()


def test_a_file_cut_short_by_a_crash_is_replaced():
    path = files.path_of(DIGEST)
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA[:5])
    blobs.store([DATA])
    assert path.read_bytes() == DATA


def test_missing_bytes_are_named():
    for read in (blobs.open_blob, blobs.file_path):
        with pytest.raises(blobs.BlobMissing, match=DIGEST) as caught:
            read(DIGEST)
        assert caught.value.digests == [DIGEST]


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 63, "G" * 64, DIGEST.upper(), DIGEST + "\n", None])
def test_what_is_no_digest_names_no_file(digest):
    for work in (blobs.open_blob, blobs.file_path, blobs.partial_size):
        with pytest.raises(files.DigestInvalid):
            work(digest)
    with pytest.raises(files.DigestInvalid):
        blobs.append(digest, 0, b"x")


def test_missing_tells_once_and_in_order_what_is_not_here():
    blobs.store([DATA])
    assert blobs.missing(["f" * 64, DIGEST, "0" * 64, "f" * 64]) == ["f" * 64, "0" * 64]


# --- uploads in pieces ---


def test_an_upload_arrives_in_pieces_and_goes_on_where_it_stopped(settings):
    assert blobs.partial_size(DIGEST) == 0
    assert blobs.append(DIGEST, 0, DATA[:4000]) == 4000
    with pytest.raises(blobs.OffsetMismatch, match="Go on from 4000") as caught:
        blobs.append(DIGEST, 0, DATA[:4000])
    assert caught.value.expected == blobs.partial_size(DIGEST) == 4000
    assert blobs.append(DIGEST, 4000, DATA[4000:]) == len(DATA)
    blob = blobs.complete(DIGEST, len(DATA))
    assert blob.size == len(DATA)
    assert blobs.file_path(DIGEST).read_bytes() == DATA
    assert all_files(settings) == [blobs.file_path(DIGEST)]


@pytest.mark.parametrize("arrived", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x", b""])
def test_wrong_bytes_are_refused_and_forgotten(arrived, settings):
    blobs.append(DIGEST, 0, arrived)
    with pytest.raises(blobs.DigestMismatch, match="Send it again"):
        blobs.complete(DIGEST, len(DATA))
    assert blobs.partial_size(DIGEST) == 0
    assert blobs.missing([DIGEST]) == [DIGEST]
    assert all_files(settings) == []


def test_an_empty_upload_is_complete_at_once():
    digest = hashlib.sha256().hexdigest()
    assert blobs.complete(digest, 0).size == 0


def test_completing_twice_or_what_somebody_else_stored_is_fine(settings):
    blobs.append(DIGEST, 0, DATA[:10])
    blobs.store([DATA])
    assert blobs.complete(DIGEST, len(DATA)) == blobs.complete(DIGEST, len(DATA))
    assert all_files(settings) == [blobs.file_path(DIGEST)]


# --- removal ---


def test_only_what_is_old_and_unreferenced_is_collected(settings):
    young, used, old = (blobs.store([text]).digest for text in (b"young", b"used", b"old"))
    refer_to(used)
    models.Blob.objects.exclude(digest=young).update(stored_at="2020-01-01T00:00Z")
    assert blobs.collect_garbage(HOUR) == 1
    assert blobs.missing([young, used, old]) == [old]
    assert all_files(settings) == sorted([files.path_of(young), files.path_of(used)])


def test_crash_leftovers_go_when_they_are_old(settings):
    root = settings.OFFLOADING_BLOBS
    blobs.append(DIGEST, 0, b"started")
    (root / "tmp").mkdir()
    for path in (root / "tmp" / "killed", root / "tmp" / "writing"):
        path.write_bytes(b"half")
    make_old(root / "tmp" / "killed")
    make_old(root / "partial" / DIGEST)
    blobs.collect_garbage(HOUR)
    assert all_files(settings) == [root / "tmp" / "writing"]


def test_a_slow_upload_is_not_taken_for_a_leftover():
    def slow():
        yield DATA[:10]
        blobs.collect_garbage(AT_ONCE)
        yield DATA[10:]

    assert blobs.store(slow()).digest == DIGEST
    assert blobs.file_path(DIGEST).read_bytes() == DATA


def test_a_writer_killed_half_way_leaves_only_garbage(settings):
    script = (
        "import os, signal\n"
        "from content import files\n"
        "from django.conf import settings\n"
        f"settings.configure(OFFLOADING_BLOBS={str(settings.OFFLOADING_BLOBS)!r})\n"
        "def chunks():\n"
        "    yield b'x' * 3_000_000\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "with files.incoming(chunks()): pass\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(all_files(settings)) == 1
    blobs.collect_garbage(HOUR)
    assert len(all_files(settings)) == 1
    blobs.collect_garbage(AT_ONCE)
    assert all_files(settings) == []


def test_a_file_whose_row_was_rolled_back_is_adopted_then_collected(settings):
    with transaction.atomic():
        blobs.store([DATA])
        transaction.set_rollback(True)
    assert blobs.missing([DIGEST]) == [DIGEST]
    assert blobs.file_path(DIGEST).is_file()
    assert blobs.collect_garbage(HOUR) == 0 and blobs.missing([DIGEST]) == [DIGEST]
    make_old(files.path_of(DIGEST))
    assert blobs.collect_garbage(HOUR) == 0 and blobs.missing([DIGEST]) == []
    models.Blob.objects.update(stored_at="2020-01-01T00:00Z")
    assert blobs.collect_garbage(HOUR) == 1
    assert all_files(settings) == []


def test_a_collector_killed_between_its_phases_is_finished_by_the_next(settings):
    blobs.store([DATA])
    blobs._condemn(models.Blob.objects.all())
    assert blobs.missing([DIGEST]) == [DIGEST]
    with pytest.raises(blobs.BlobMissing):
        refer_to(DIGEST)
    assert blobs.collect_garbage(HOUR) == 1
    assert all_files(settings) == []


def test_storing_condemned_bytes_again_saves_them():
    blobs.store([DATA])
    chosen = blobs._condemn(models.Blob.objects.all())
    blobs.store([DATA])
    assert blobs._remove_condemned(chosen) == 0
    refer_to(DIGEST)
    assert blobs.file_path(DIGEST).read_bytes() == DATA


def test_a_reference_that_slipped_in_before_the_first_phase_pardons():
    blobs.store([DATA])
    refer_to(DIGEST)
    models.Blob.objects.update(condemned_at="2020-01-01T00:00Z")
    assert blobs._remove_condemned([DIGEST]) == 0
    assert blobs.missing([DIGEST]) == []


def test_removal_waits_for_the_commit(django_capture_on_commit_callbacks, settings):
    used, free = blobs.store([b"used"]).digest, blobs.store([b"free"]).digest
    refer_to(used)
    with django_capture_on_commit_callbacks() as callbacks:
        blobs.remove_unreferenced([used, free, "0" * 64])
    assert files.path_of(free).is_file()
    for callback in callbacks:
        callback()
    assert all_files(settings) == [files.path_of(used)]
    assert blobs.missing([used, free]) == [free]


@pytest.mark.django_db(transaction=True)
def test_removal_that_is_rolled_back_removes_nothing():
    blobs.store([DATA])
    with transaction.atomic():
        blobs.remove_unreferenced([DIGEST])
        transaction.set_rollback(True)
    assert blobs.missing([DIGEST]) == []
    assert blobs.file_path(DIGEST).is_file()


@pytest.mark.django_db(transaction=True)
def test_the_collector_refuses_to_work_inside_a_transaction():
    blobs.store([DATA])
    with pytest.raises(RuntimeError), transaction.atomic():
        blobs.collect_garbage(AT_ONCE)
    assert blobs.file_path(DIGEST).is_file()


# --- at the same time ---


def test_many_may_store_the_same_bytes_at_once(in_threads, settings):
    results = in_threads(*[lambda: blobs.store([DATA]).digest] * 8)
    assert results == [DIGEST] * 8
    assert all_files(settings) == [files.path_of(DIGEST)]
    assert in_threads(models.Blob.objects.count) == [1]


def test_many_may_upload_and_complete_the_same_bytes_at_once(in_threads, settings):
    def upload():
        while blobs.missing([DIGEST]):
            offset = blobs.partial_size(DIGEST)
            try:
                if offset == len(DATA):
                    blobs.complete(DIGEST, len(DATA))
                else:
                    blobs.append(DIGEST, offset, DATA[offset : offset + 2500])
            except (blobs.OffsetMismatch, blobs.DigestMismatch):
                continue  # another one was quicker: look again
        return blobs.complete(DIGEST, len(DATA)).size

    assert in_threads(*[upload] * 4) == [len(DATA)] * 4
    assert files.path_of(DIGEST).read_bytes() == DATA
    assert all_files(settings) == [files.path_of(DIGEST)]


def test_removal_never_takes_what_is_stored_and_referred_to_meanwhile(in_threads):
    texts = [b"%d" % number for number in range(8)]
    digests = [hashlib.sha256(text).hexdigest() for text in texts]

    def store_and_refer(writer):
        def work():
            lost = 0
            for number, text in enumerate(texts):
                digest = blobs.store([text]).digest
                try:
                    refer_to(digest, f"/x{writer}-{number}")
                except blobs.BlobMissing:
                    lost += 1  # removed in between: an answer the writer can act on
            return lost

        return work

    def remove():
        for _ in range(30):
            blobs.remove_unreferenced(digests)

    *lost, nothing, nothing_either = in_threads(store_and_refer(1), store_and_refer(2), remove, remove)
    assert (nothing, nothing_either) == (None, None)

    def check():
        used = list(models.Binary.objects.values_list("blob", flat=True))
        return len(used), [digest for digest in used if not files.path_of(digest).is_file()]

    assert in_threads(check) == [(2 * len(texts) - sum(lost), [])]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time: nothing to hold")
def test_a_held_blob_is_not_condemned(in_threads):
    blobs.store([DATA])
    with transaction.atomic():
        models.Blob.objects.hold([DIGEST])
        assert in_threads(lambda: blobs._condemn(models.Blob.objects.all())) == [[]]
