"""What is typed into the search box, and what it means."""

import pytest

from offloading.jobs import searchbox
from offloading.jobs.searchbox import Property, Search

ERROR = frozenset({"ERROR"})
ID = "0199f0aa-1234-7abc-8def-0123456789ab"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Search()),
        ("   ", Search()),
        ("ski", Search(words=("ski",))),
        ("ski  photo ski", Search(words=("ski", "photo"))),
        ('"cannot read" photo', Search(words=("cannot read", "photo"))),
        ('"never closed', Search(words=("never closed",))),
        ('""', Search()),
        ("topic:acme/mail", Search(topics=("acme/mail",))),
        ("Topic:acme/**", Search(topics=("acme/**",))),
        ("-topic:acme/**", Search(without=(Search(topics=("acme/**",)),))),
        ('-topic:"acme/x" -state:error', Search(without=(Search(topics=("acme/x",)), Search(states=(ERROR,))))),
        ("-topic: -ski", Search(words=("-topic:", "-ski"))),
        ("queue:mail target:abc family:f1", Search(queues=("mail",), targets=("abc",), families=("f1",))),
        ('queue:"<main queue>"', Search(queues=("<main queue>",))),
        ("state:error", Search(states=(frozenset({"ERROR"}),))),
        ("state:given-up,STOPPED", Search(states=(frozenset({"GIVEN_UP", "STOPPED"}),))),
        ("state:unassigned state:delayed", Search(states=(frozenset({"UNASSIGNED"}), frozenset({"DELAYED"})))),
        ("id:0199f0aa-12", Search(ids=("0199f0aa12",))),
        (ID, Search(ids=(ID.replace("-", ""),))),
        (ID.upper(), Search(ids=(ID.replace("-", ""),))),
        (f'"{ID}"', Search(words=(ID,))),
        ("property.to:ann@example.org", Search(properties=(Property("to", "=", "ann@example.org"),))),
        ('property.to:"Ann B"', Search(properties=(Property("to", "=", "Ann B"),))),
        ("property.size:>=10", Search(properties=(Property("size", ">=", "10"),))),
        ("property.size:<", Search(properties=(Property("size", "=", "<"),))),
        ("property.at:10:30", Search(properties=(Property("at", "=", "10:30"),))),
        # What we do not know is a plain word.
        ("state:broken", Search(words=("state:broken",))),
        ("id:xyz", Search(words=("id:xyz",))),
        ("id:0", Search(words=("id:0",))),
        ("topic:", Search(words=("topic:",))),
        ("property.:x", Search(words=("property.:x",))),
        ("colour:red", Search(words=("colour:red",))),
        ('colour:"dark red"', Search(words=("colour:dark red",))),
        ("https://example.org/a", Search(words=("https://example.org/a",))),
        ("a\0b", Search(words=("ab",))),
        ("' OR 1=1 --", Search(words=("'", "OR", "1=1", "--"))),
    ],
)
def test_search_box(text, expected):
    assert searchbox.parse(text) == expected


def test_what_is_too_much_is_left_out():
    assert len(searchbox.parse(" ".join(f"word{number}" for number in range(50))).words) == searchbox.MAX_TERMS
    assert searchbox.parse("x" * 1000).words == ("x" * searchbox.MAX_LENGTH,)


@pytest.mark.parametrize(
    ("word", "digits", "expected"),
    [("0199", 4, "0199"), ("019", 4, ""), ("CAFE-1", 4, "cafe1"), ("cafés", 4, ""), ("0199", 8, ""), ("f" * 33, 4, "")],
)
def test_words_that_can_begin_an_id(word, digits, expected):
    assert searchbox.id_prefix(word, digits=digits) == expected
