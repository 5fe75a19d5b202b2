"""The lists that say what an instance may do: how entries match, what is announced, what a switch does to them."""

import pytest

from offloading import topics

ALL = ["a/b", "a/c", "a/*", "d"]


@pytest.mark.parametrize(
    ("entry", "pattern", "matches"),
    [
        ("*", "a/b", True),
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b", "a", False),
        ("a.", "a/b", True),
        ("a/.", "a/b", True),
        ("a.", "a/b/c", False),
        ("a.", "a", False),
        ("a*", "a/b", True),
        ("a/*", "a/b/c", True),
        ("a/*", "a", False),
        ("a/*", "ab/c", False),
        ("a/*", "a/*", True),
        ("a/*", "a/**", True),
        ("a.", "a/*", True),
        ("a/**", "a/b", True),
        (" a/b ", "a/b", True),
        ("", "a", False),
    ],
)
def test_entry_matches_registered_pattern(entry, pattern, matches):
    assert topics.is_listed(pattern, [entry]) is matches


@pytest.mark.parametrize(
    ("whitelist", "blacklist", "announced"),
    [
        (["*"], [], ("a/*", "a/b", "a/c", "d")),
        ([], [], ("a/*", "a/b", "a/c", "d")),
        (["d"], [], ("d",)),
        (["*"], ["a/b"], ("a/*", "a/c", "d")),
        (["a/b", "d"], ["a/b"], ("d",)),
        (["*"], ["*"], ()),
        (["*"], ["a/*"], ("d",)),
    ],
)
def test_announced_is_the_white_list_without_the_black_list(whitelist, blacklist, announced):
    assert topics.announced(ALL, whitelist, blacklist) == announced


@pytest.mark.parametrize(
    ("pattern", "whitelist", "blacklist", "reason"),
    [
        ("a/b", ["*"], [], ""),
        ("a/b", ["*"], ["a/b"], "blacklisted"),
        ("a/b", ["*"], ["*"], "blacklisted"),
        ("a/b", ["d"], [], "not in whitelist"),
        ("a/b", ["d"], ["a/b"], "blacklisted"),
    ],
)
def test_reason_names_the_list(pattern, whitelist, blacklist, reason):
    assert topics.why_not(pattern, whitelist, blacklist) == reason


@pytest.mark.parametrize(
    ("before", "actions", "after"),
    [
        ((["*"], []), {"d": "disable"}, (["*"], ["d"])),
        ((["*"], ["d"]), {"d": "disable"}, (["*"], ["d"])),
        ((["*"], ["d"]), {"d": "enable"}, (["*"], [])),
        ((["*"], []), {"d": "enable"}, (["*"], [])),
        ((["*"], []), {"d": "exclusive"}, (["d"], [])),
        ((["*"], ["d"]), {"d": "exclusive"}, (["d"], [])),
        ((["*"], []), {"d": "exclusive", "a/b": "exclusive"}, (["a/b", "d"], [])),
        ((["*"], []), {"d": "exclusive", "a/b": "disable"}, (["d"], ["a/b"])),
        # Leaving the exclusive mode: everything else stays off, now by the black list.
        ((["d"], []), {"a/b": "enable"}, (["*"], ["a/*", "a/c"])),
        ((["d"], []), {"d": "enable"}, (["*"], ["a/*", "a/b", "a/c"])),
        ((["d"], []), {"d": "disable"}, (["*"], ["a/*", "a/b", "a/c", "d"])),
        ((["d"], []), dict.fromkeys(ALL, "enable"), (["*"], [])),
        # What was off already is only told so once more: still exclusive.
        ((["d"], []), {"a/b": "disable"}, (["d"], ["a/b"])),
    ],
)
def test_actions_change_the_lists(before, actions, after):
    assert topics.apply_actions(ALL, *before, actions) == after


@pytest.mark.parametrize("entry", ["*", "a/*", "a."])
def test_enabling_one_pattern_keeps_others_off_that_the_same_entry_turned_off(entry):
    registered = ["a/b", "a/c"]
    white, black = topics.apply_actions(registered, ["*"], [entry], {"a/b": "enable"})
    assert topics.announced(registered, white, black) == ("a/b",)


@pytest.mark.parametrize("action", ["enable", "disable"])
@pytest.mark.parametrize("lists", [(["*"], []), (["d"], []), (["a/b"], ["a/b"]), (["*"], ["a/b", "d"])])
@pytest.mark.parametrize("pattern", ["a/b", "d"])
def test_action_changes_the_pattern_it_names_and_no_other(lists, pattern, action):
    registered = ["a/b", "a/c", "d"]
    before = set(topics.announced(registered, *lists))
    after = set(topics.announced(registered, *topics.apply_actions(registered, *lists, {pattern: action})))
    assert after == (before | {pattern} if action == "enable" else before - {pattern})
