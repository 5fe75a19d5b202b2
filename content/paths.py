"""Paths of the tree: absolute, "/"-separated, NFC-normalised. Pure text; whether a node is there is asked of services.

"/" is the root. It can be listed and searched below, but it is not a node and has no properties.
"""

import unicodedata

ROOT = "/"
# A name is one index entry and, on WebDAV and in archives, one file name: 255 bytes fit all of them.
MAX_NAME_BYTES = 255
# PostgreSQL refuses index entries above about 2700 bytes; the column is indexed twice.
MAX_PATH_BYTES = 2000
MAX_DEPTH = 64


class PathInvalid(ValueError):
    """The text is no path or name of the tree. The message says what is wrong with it and what to do."""


def validate(path: str) -> str:
    """Return the path in normal form, or raise PathInvalid."""
    if not path.startswith("/"):
        raise PathInvalid(f"The path {_shown(path)} is not absolute. Start it with '/'.")
    if path == ROOT:
        return ROOT
    names = path[1:].split("/")
    if len(names) > MAX_DEPTH:
        raise PathInvalid(f"The path {_shown(path)} has {len(names)} levels. Use at most {MAX_DEPTH}.")
    normal = "/" + "/".join(_checked(name, path) for name in names)
    size = len(normal.encode())
    if size > MAX_PATH_BYTES:
        raise PathInvalid(f"The path {_shown(path)} is {size} bytes long. Use at most {MAX_PATH_BYTES}.")
    return normal


def validate_name(name: str) -> str:
    """Return the name of one node in normal form, or raise PathInvalid."""
    if "/" in name:
        raise PathInvalid(f"The name {_shown(name)} contains '/'. Use another character in its place.")
    return _checked(name, name)


def parent(path: str) -> str:
    """Return the path above; the root is its own parent."""
    return path.rpartition("/")[0] or ROOT


def name(path: str) -> str:
    """Return the last name of the path; "" for the root."""
    return path.rpartition("/")[2]


def join(parent: str, name: str) -> str:
    """Return the path of the child `name` of `parent`. The name is checked, for it may come from a person."""
    return parent.rstrip("/") + "/" + validate_name(name)


def depth(path: str) -> int:
    """Return how many names the path has; 0 for the root."""
    return 0 if path == ROOT else path.count("/")


def is_below(path: str, root: str) -> bool:
    """Say whether `path` lies strictly below `root`."""
    return path != ROOT and path.startswith(root.rstrip("/") + "/") and path != root


def tree_order(path: str) -> tuple[str, ...]:
    """Return a sort key that puts each subtree together, its root first."""
    return tuple(path.split("/"))


def _checked(name: str, whole: str) -> str:
    if not name:
        raise PathInvalid(f"There is an empty name in {_shown(whole)}. Remove the doubled or trailing '/'.")
    if name in (".", ".."):
        raise PathInvalid(f"The name {name!r} in {_shown(whole)} is not allowed. Write the path it leads to instead.")
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise PathInvalid(f"The name {_shown(name)} contains the control character {character!r}. Remove it.")
    normal = unicodedata.normalize("NFC", name)
    size = len(normal.encode())
    if size > MAX_NAME_BYTES:
        raise PathInvalid(f"The name {_shown(name)} is {size} bytes long. Use at most {MAX_NAME_BYTES}.")
    return normal


def _shown(text: str) -> str:
    """Quote text for a message: control characters visible, and short enough to be read."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
