"""Payload lists: what the two job properties say."""

import pytest

from content import paths
from offloading.transport import payload


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("", ()),
        (" , ,", ()),
        ("/content/a", ("/content/a",)),
        ("/content/a,\n   /content/b", ("/content/a", "/content/b")),
        ("/content/a,/content/a", ("/content/a",)),
        (["/content/Paris, France.jpg", "/content/a"], ("/content/Paris, France.jpg", "/content/a")),
        ([], ()),
        ("/content/a/b,/content/a,/content/ab", ("/content/a", "/content/ab")),
        ("/content/cafe\u0301", ("/content/caf\u00e9",)),
    ],
)
def test_list_is_trimmed_and_reduced_to_its_outermost_paths(value, expected):
    assert payload.inputs({"offloading.input.payload": value}) == expected


def test_longer_keys_are_accepted_and_the_shorter_ones_win():
    properties = {
        "offloading.job.input.payload": "/long/in",
        "offloading.job.output.payload": "/long/out",
        "offloading.output.payload": "/short/out",
    }
    assert payload.inputs(properties) == ("/long/in",)
    assert payload.outputs(properties) == ("/short/out",)


@pytest.mark.parametrize(
    "value", ["content/a", "/content/../etc", "/content//a", "/", 17, ["content/a"], [17], [""], {"/content/a": 1}]
)
def test_what_is_no_list_of_paths_is_refused(value):
    with pytest.raises(paths.PathInvalid):
        payload.inputs({"offloading.input.payload": value})


def test_joined_list_reads_back():
    assert payload.join([]) == ""
    assert payload.join(["/a", "/b", "/a"]) == "/a,/b"
    assert payload.inputs({payload.INPUT: payload.join(["/a", "/b", "/a"])}) == ("/a", "/b")
    assert payload.inputs({payload.INPUT: payload.join(["/a, b", "/c"])}) == ("/a, b", "/c")
