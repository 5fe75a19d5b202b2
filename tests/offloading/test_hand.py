"""How many jobs a slot is given ahead, as tables: no clock, no socket, no database."""

import uuid

import pytest

from offloading.jobs import hand
from offloading.jobs.claims import Claim
from offloading.jobs.hand import Given, Hand, Pace


def given(number=1, *, crashes=0, properties="{}", limit=0.0):
    claim = Claim(uuid.uuid4(), "test/a", 1, "one", "q", properties, crash_count=crashes)
    return Given(number, claim, limit)


def hand_of(count, **options):
    held = Hand()
    for number in range(1, count + 1):
        held.take(given(number, **options), now=100.0)
    return held


@pytest.mark.parametrize(
    ("durations", "window"),
    [
        ([], 1),  # unknown
        ([10], 1),
        ([0.03], 1),
        ([0.01], 5),
        ([0.001], 50),
        ([0.0], 64),
        ([0.001] * 5 + [1.0], 1),  # one that takes long is believed at once
        ([1.0] + [0.001] * 3, 1),  # and one that is short is not
        ([1.0] + [0.0001] * 60, 64),
    ],
)
def test_window_follows_the_pace_of_the_queue(durations, window):
    pace = Pace()
    for seconds in durations:
        pace.note("q", seconds)
    assert pace.window("q") == window
    assert pace.window("another") == 1


@pytest.mark.parametrize(
    ("counts", "window", "parallel", "running", "expected"),
    [
        ((0, 0), 1, 15, 0, 2),
        ((1, 0), 1, 15, 1, 1),
        ((1, 1), 1, 15, 2, 0),
        ((0, 0), 10, 15, 0, 20),
        ((4, 0), 10, 15, 4, 16),
        ((12, 0), 10, 15, 12, 10),  # the window shrank
        ((0, 0, 0), 10, 2, 0, 2),  # not every slot: one job each
        ((1, 0, 0), 10, 2, 1, 1),
        ((1, 1, 0), 10, 2, 2, 0),
        ((1, 1, 0), 10, 2, 5, 0),  # it was allowed more before
        ((1, 0), 10, 1, 0, 1),  # the one slot is busy with another queue
        ((), 10, 15, 0, 0),
    ],
)
def test_room(counts, window, parallel, running, expected):
    hands = [hand_of(count) for count in counts]
    assert hand.room(hands, window=window, parallel=parallel, running=running) == expected


def test_hand_is_full_when_its_messages_fill_a_buffer():
    held = hand_of(1, properties="x" * hand.AHEAD_BYTES)
    assert held.room(10) == 0
    held.end(1, 100.0)
    assert held.room(10) == 10


def test_job_that_killed_a_worker_runs_with_no_other_behind_it():
    suspect = given(2, crashes=1)
    assert Hand().fits(suspect.claim, 10)
    assert not hand_of(1).fits(suspect.claim, 10)
    held = Hand()
    held.take(suspect, 100.0)
    assert not held.fits(given(3).claim, 10)
    held.end(2, 101.0)
    assert held.fits(given(3).claim, 10)


def test_next_job_begins_when_the_first_ends():
    held = hand_of(2)
    assert held.end(1, 107.0).number == 1
    assert held.head.began_at == 107.0
    assert held.end(9, 108.0) is None


@pytest.mark.parametrize(
    ("count", "called_back", "now", "expected"),
    [(2, False, 100.2, True), (2, False, 100.05, False), (1, False, 200, False), (2, True, 200, False)],
)
def test_hand_is_stalled_when_others_wait_behind_a_long_job(count, called_back, now, expected):
    held = hand_of(count)
    held.is_called_back = called_back
    assert held.is_stalled(now) is expected


def test_hand_that_was_called_back_takes_nothing_before_it_is_empty():
    held = hand_of(2)
    held.is_called_back = True
    assert held.room(10) == 0
    held.end(1, 101.0)
    held.end(2, 101.0)
    assert held.room(10) == 10


@pytest.mark.parametrize(("limit", "ends_at"), [(0.0, None), (5.0, 107.0)])
def test_time_limit_counts_from_the_beginning(limit, ends_at):
    assert hand_of(1, limit=limit).head.ends_at == ends_at


def test_copy_is_independent():
    held = hand_of(2)
    copy = held.copy()
    copy.end(1, 101.0)
    assert (len(held.given), len(copy.given), held.bytes > copy.bytes) == (2, 1, True)
