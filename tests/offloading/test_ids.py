"""Job ids: UUIDv7 that rise."""

import threading
import time
import uuid

import pytest

from offloading.jobs import ids


def test_ids_are_version_7_and_carry_the_time():
    made = ids.uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) / 1000 - time.time()) < 5


def test_ids_rise_and_are_unique_over_all_threads():
    made: list[list[uuid.UUID]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda own: own.extend(ids.uuid7() for _ in range(2000)), args=(own,)) for own in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own == sorted(own) for own in made)
    assert len({one for own in made for one in own}) == 8000


@pytest.mark.parametrize("text", ["", "x", "1234", "not-a-uuid-at-all"])
def test_text_that_is_no_id_is_none(text):
    assert ids.parse(text) is None


def test_id_is_read_from_text_and_from_itself():
    made = ids.uuid7()
    assert ids.parse(str(made)) == ids.parse(made) == made
