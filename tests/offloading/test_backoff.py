"""Pauses before something is started again."""

from offloading.jobs.backoff import Backoff


def test_pauses_grow_while_it_ends_quickly_and_start_over_when_it_ran():
    now = [0.0]
    backoff = Backoff(clock=lambda: now[0])
    pauses = []
    for lived in [1, 1, 1, 1, 1, 1, 1, 60, 1]:
        backoff.started()
        now[0] += lived
        pauses.append(backoff.pause())
    assert pauses == [0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 0.0, 0.2]
