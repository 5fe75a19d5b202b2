import math

import pytest

from content import values


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"": 1}, "property name"),
        ({"n" * 256: 1}, "property name"),
        ({"a\nb": 1}, "control character"),
        ({"a": "NUL\0"}, "NUL"),
        ({"a": ["\ud800"]}, "half a character"),
        ({"a": math.nan}, "no word"),
        ({"a": {"b": math.inf}}, "no word"),
        ({"a": b"bytes"}, "holds a bytes"),
        ({"a": {1: 2}}, "Use text as keys"),
    ],
)
def test_what_no_database_could_give_back_is_refused(given, said):
    with pytest.raises(values.PropertyInvalid, match=said):
        values.validate(given)


def test_values_are_copied_and_tuples_become_lists():
    given = {"a": {"b": (1, "x", None, True, 1.5)}}
    checked = values.validate(given)
    assert checked == {"a": {"b": [1, "x", None, True, 1.5]}}
    assert checked["a"] is not given["a"]


@pytest.mark.parametrize("name", ["", "t" * 101, None, "a\0"])
def test_a_type_is_a_short_text(name):
    with pytest.raises(values.PropertyInvalid):
        values.validate_type(name)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, None, True),
        (None, False, False),
        ([1, {"a": True}], [1, {"a": True}], True),
        ([1, {"a": True}], [1, {"a": 1}], False),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([1], [1, 2], False),
        ("1", 1, False),
    ],
)
def test_same_is_what_json_calls_the_same(one, other, is_same):
    assert values.same(one, other) is is_same
