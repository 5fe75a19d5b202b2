from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now

from config.live import outbox, tail
from config.live.models import Hint

pytestmark = pytest.mark.django_db


def test_hint_is_part_of_the_transaction():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        outbox.hint("jobs", "1")
        raise ZeroDivisionError
    assert outbox.since(0) == []


def test_same_hint_twice_in_a_transaction_is_one():
    with transaction.atomic():
        outbox.hint("assets", "/content/dam/a.jpg")
        outbox.hint("assets", "/content/dam/b.jpg")
        outbox.hint("assets", "/content/dam/a.jpg")
    assert [hint.key for hint in outbox.since(0)] == ["/content/dam/a.jpg", "/content/dam/b.jpg"]


def test_hint_that_went_with_a_savepoint_can_be_left_again():
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            outbox.hint("jobs", "1")
            raise ZeroDivisionError
        outbox.hint("jobs", "1")
    assert len(outbox.since(0)) == 1


def test_old_hints_are_pruned_now_and_then(monkeypatch):
    monkeypatch.setattr(outbox, "PRUNE_EVERY", 1)
    old = Hint.objects.create(kind="jobs")
    Hint.objects.filter(pk=old.pk).update(created_at=Now() - timedelta(minutes=11))
    outbox.hint("topology")
    assert [hint.kind for hint in outbox.since(0)] == ["topology"]


def test_look_tells_each_hint_once_and_finds_one_that_was_committed_late():
    outbox.hint("jobs")
    look = tail.Look(outbox.latest())
    assert look.news() == []
    first = outbox.latest()
    Hint.objects.create(pk=first + 2, kind="assets")
    assert [hint.kind for hint in look.news()] == ["assets"]
    Hint.objects.create(pk=first + 1, kind="workflow")
    assert [hint.kind for hint in look.news()] == ["workflow"]
    assert look.news() == []


def test_message_says_each_kind_once_and_drops_keys_beyond_count():
    hints = [Hint(kind="jobs", key=str(number)) for number in range(tail.MOST_KEYS)]
    assert tail.message([*hints, Hint(kind="topics")])["kinds"] == ["jobs", "topics"]
    assert len(tail.message(hints)["keys"]) == tail.MOST_KEYS
    assert tail.message([*hints, Hint(kind="jobs", key="one more")])["keys"] == []


@pytest.mark.django_db(transaction=True)
def test_what_changes_often_leaves_few_hints(monkeypatch):
    monkeypatch.setattr(outbox, "_left_at", {})
    for _ in range(10):
        outbox.hint_often("jobs")
    assert [hint.kind for hint in outbox.since(0)] == ["jobs"]
    monkeypatch.setattr(outbox, "OFTEN_SECONDS", 0.0)
    outbox.hint_often("jobs")
    assert len(outbox.since(0)) == 2


def test_hint_that_was_rolled_back_does_not_count_as_told(monkeypatch):
    monkeypatch.setattr(outbox, "_left_at", {})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        outbox.hint_often("jobs")
        raise ZeroDivisionError
    outbox.hint_often("jobs")
    assert len(outbox.since(0)) == 1


def test_what_changes_often_is_told_once_more_when_it_is_quiet():
    echo = tail.Echo()
    assert echo.after([Hint(kind="jobs"), Hint(kind="assets")], 10.0) == []
    assert echo.after([Hint(kind="jobs")], 10.3) == []
    assert echo.after([], 10.7) == []
    assert [hint.kind for hint in echo.after([], 10.9)] == ["jobs"]
    assert echo.after([], 20.0) == []
