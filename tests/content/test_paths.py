import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content import paths

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/content", "/content"),
        ("/content/dam/a b.jpg/jcr:content", "/content/dam/a b.jpg/jcr:content"),
        ("/cafe\u0301", "/caf\u00e9"),
        ("/...", "/..."),
        ("/<b>", "/<b>"),
        ("/" + "n" * 255, "/" + "n" * 255),
        ("/a" * 64, "/a" * 64),
    ],
)
def test_a_good_path_comes_back_in_normal_form(path, normal):
    assert paths.validate(path) == normal


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "not absolute"),
        ("content", "not absolute"),
        ("../etc/passwd", "not absolute"),
        ("//content", "empty name"),
        ("/content/", "empty name"),
        ("/content//dam", "empty name"),
        ("/content/../etc", "not allowed"),
        ("/content/./dam", "not allowed"),
        ("/content/a\x00b", "control character"),
        ("/content/a\nb", "control character"),
        ("/content/a\x7fb", "control character"),
        ("/content/\ud800", "control character"),
        ("/" + "n" * 256, "256 bytes"),
        ("/" + "é" * 128, "256 bytes"),
        ("/a" * 65, "65 levels"),
        (("/" + "n" * 200) * 10, "2010 bytes"),
    ],
)
def test_a_bad_path_is_refused_with_the_reason(path, said):
    with pytest.raises(paths.PathInvalid, match=said):
        paths.validate(path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\x01", "n" * 300])
def test_a_bad_name_is_refused(name):
    with pytest.raises(paths.PathInvalid):
        paths.validate_name(name)
    with pytest.raises(paths.PathInvalid):
        paths.join("/content", name)


def test_messages_stay_short_whatever_is_sent():
    with pytest.raises(paths.PathInvalid) as caught:
        paths.validate("/" + "n" * 100_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("path", "root", "is_below"),
    [
        ("/a/b", "/a", True),
        ("/a", "/a", False),
        ("/ab", "/a", False),
        ("/a", "/", True),
        ("/", "/", False),
        ("/a", "/a/b", False),
    ],
)
def test_below_means_strictly_below(path, root, is_below):
    assert paths.is_below(path, root) is is_below


@pytest.mark.parametrize(
    ("path", "parent", "name", "depth"), [("/", "/", "", 0), ("/a", "/", "a", 1), ("/a/b", "/a", "b", 2)]
)
def test_a_path_falls_apart_into_parent_and_name(path, parent, name, depth):
    assert (paths.parent(path), paths.name(path), paths.depth(path)) == (parent, name, depth)


@given(st.lists(NAMES, min_size=1, max_size=6))
def test_names_joined_are_a_path_that_falls_apart_again(names):
    path = paths.ROOT
    for name in names:
        path = paths.join(path, name)
    assert paths.validate(path) == path
    assert path[1:].split("/") == [unicodedata.normalize("NFC", name) for name in names]
    assert paths.join(paths.parent(path), paths.name(path)) == path


@given(st.text(max_size=60) | st.text("/.a\x00é\u0301", max_size=60))
def test_any_text_is_refused_or_made_safe_for_good(text):
    try:
        path = paths.validate(text)
    except paths.PathInvalid:
        return
    assert paths.validate(path) == path
    assert path.startswith("/") and "//" not in path and "\x00" not in path
    assert not {".", ".."} & set(path.split("/"))
