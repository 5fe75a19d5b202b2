"""What one instance may do: its white list and its black list over the patterns that its consumers registered.

Pure. The entries have Sling's matcher syntax: `*` is everything, `a.` or `a/.` one level below `a`, `a*` or `a/*` any
level below `a`, anything else is exact. They are matched against the registered *patterns*, not against the topics of
jobs: what is announced = what the white list matches, without what the black list matches.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

EVERYTHING = "*"
ENABLE, DISABLE, EXCLUSIVE = "enable", "disable", "exclusive"
ACTIONS = (ENABLE, DISABLE, EXCLUSIVE)

BLACKLISTED = "blacklisted"
NOT_IN_WHITELIST = "not in whitelist"


def is_listed(pattern: str, entries: Iterable[str]) -> bool:
    """Say whether any of `entries` matches the registered `pattern`."""
    return any(_matches(entry.strip(), pattern) for entry in entries)


def why_not(pattern: str, whitelist: Sequence[str], blacklist: Sequence[str]) -> str:
    """Say why `pattern` is not announced: "" (it is), "blacklisted" or "not in whitelist"."""
    if is_listed(pattern, blacklist):
        return BLACKLISTED
    return "" if is_listed(pattern, whitelist or (EVERYTHING,)) else NOT_IN_WHITELIST


def announced(registered: Iterable[str], whitelist: Sequence[str], blacklist: Sequence[str]) -> tuple[str, ...]:
    """Return what an instance with these consumers and lists announces, sorted."""
    return tuple(sorted(pattern for pattern in set(registered) if not why_not(pattern, whitelist, blacklist)))


def apply_actions(
    registered: Collection[str], whitelist: Sequence[str], blacklist: Sequence[str], actions: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the lists after `actions`, which map a registered pattern to "enable", "disable" or "exclusive".

    Exclusive patterns become the whole white list. An exclusive instance that is told to enable anything, or to disable
    what it was exclusive for, leaves that mode: the white list is `*` again and every other pattern that was off stays
    off, now by the black list. So each action changes the pattern it names and no other, exclusive ones excepted.
    """
    exclusive = sorted(pattern for pattern, action in actions.items() if action == EXCLUSIVE)
    enabled = {pattern for pattern, action in actions.items() if action != DISABLE}
    disabled = {pattern for pattern, action in actions.items() if action == DISABLE}
    black = _without(blacklist, enabled, registered) | disabled
    if exclusive:
        return exclusive, sorted(black)
    white = list(whitelist) or [EVERYTHING]
    was_exclusive = EVERYTHING not in white
    if was_exclusive and (enabled or any(is_listed(pattern, white) for pattern in disabled)):
        black |= {p for p in registered if not is_listed(p, white) and p not in enabled}
        white = [EVERYTHING]
    return white, sorted(black)


def _without(blacklist: Sequence[str], enabled: Collection[str], registered: Collection[str]) -> set[str]:
    """Return the black list with no entry left that matches an `enabled` pattern, and all else as dark as before."""
    hitting = {entry for entry in blacklist if any(_matches(entry.strip(), pattern) for pattern in enabled)}
    still_off = {p for p in registered if p not in enabled and is_listed(p, hitting)}
    kept = set(blacklist) - hitting
    return kept | {p for p in still_off if not is_listed(p, kept)}


def _matches(entry: str, pattern: str) -> bool:
    if entry == EVERYTHING:
        return True
    if entry.endswith("**"):  # Sling's matcher finds nothing here; whoever writes it means "deep"
        entry = entry[:-1]
    if entry.endswith("*"):
        return pattern.startswith(_below(entry))
    if entry.endswith("."):
        prefix = _below(entry)
        return pattern.startswith(prefix) and "/" not in pattern[len(prefix) :]
    return bool(entry) and entry == pattern


def _below(entry: str) -> str:
    return entry[:-1].rstrip("/") + "/"
