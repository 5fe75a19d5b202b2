"""An announcement: what one instance knows of the topology, as JSON and as values. Pure.

The format of org.apache.sling.discovery.base.connectors.announcement.Announcement, version 1; keys are written in its
order and everything beyond ASCII as \\u escapes. Registering and expiring announcements is the `registry`'s.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from topology import identity, properties

PROTOCOL_VERSION = 1
# Every hop nests once more. A chain of installations this long is none that anybody built.
MAX_DEPTH = 32
# Longer patience would be an instance that nobody misses when it is gone.
MAX_BACKOFF_SECONDS = 86_400
# What can stand in the address of the cluster's page.
_CLUSTER_ID = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,255}")


class AnnouncementInvalid(ValueError):
    """The text is no announcement; the message says what is wrong with it."""


@dataclass(frozen=True)
class AnnouncedInstance:
    sling_id: str
    is_leader: bool
    properties: dict[str, str] = field(hash=False)


@dataclass(frozen=True)
class Announcement:
    """`cluster_id` and `instances` are those of the owner's cluster; both are empty in a loop reply."""

    owner_id: str
    cluster_id: str = ""
    instances: tuple[AnnouncedInstance, ...] = ()
    nested: tuple["Announcement", ...] = ()
    is_inherited: bool = False
    is_loop: bool = False
    server_info: str = ""
    backoff_seconds: int = 0
    is_reset: bool = False
    protocol_version: int = PROTOCOL_VERSION

    def all_instances(self) -> Iterator[AnnouncedInstance]:
        """Every instance in it, the owner's cluster first, then the nested ones in order."""
        for part in self.parts():
            yield from part.instances

    def parts(self) -> Iterator["Announcement"]:
        """This announcement and all below it, each of them one cluster."""
        yield self
        for inner in self.nested:
            yield from inner.parts()

    def is_valid(self) -> bool:
        """Tell if it may be registered: of our version, with a cluster that its owner belongs to."""
        members = {instance.sling_id for instance in self.instances}
        return self.is_loop or (self.protocol_version == PROTOCOL_VERSION and self.owner_id in members)

    def lasting(self) -> "Announcement":
        """Return it without what concerns a single request, so that equal knowledge compares as equal."""
        return replace(self, backoff_seconds=0, is_reset=False, nested=tuple(inner.lasting() for inner in self.nested))


# --- Writing ------------------------------------------------------------------------------------------------------


def dumps(announcement: Announcement, created_ms: int) -> str:
    return json.dumps(as_json(announcement, created_ms), separators=(",", ":"), ensure_ascii=True)


def as_json(announcement: Announcement, created_ms: int) -> dict[str, Any]:
    """Return the JSON object. `created_ms` is the time of writing, in nested announcements too; nobody relies on it."""
    body: dict[str, Any] = {
        "ownerId": announcement.owner_id,
        "protocolVersion": announcement.protocol_version,
        "created": created_ms,
        "inherited": announcement.is_inherited,
    }
    if announcement.is_loop:
        body["loop"] = True
    if announcement.server_info:
        body["serverInfo"] = announcement.server_info
    if not announcement.is_loop:
        instances = [_instance_json(instance, announcement.cluster_id) for instance in announcement.instances]
        body["localClusterView"] = {"id": announcement.cluster_id, "instances": instances}
    if announcement.backoff_seconds > 0:
        body["backoffInterval"] = announcement.backoff_seconds
    if announcement.is_reset:
        body["resetBackoff"] = True
    body["topologyAnnouncements"] = [as_json(inner, created_ms) for inner in announcement.nested]
    return body


def _instance_json(instance: AnnouncedInstance, cluster_id: str) -> dict[str, Any]:
    return {
        "slingId": instance.sling_id,
        "isLeader": instance.is_leader,
        "cluster": cluster_id,
        "properties": instance.properties,
    }


# --- Reading ------------------------------------------------------------------------------------------------------


def loads(text: str) -> Announcement:
    """Parse the text of an announcement. Raises AnnouncementInvalid."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnouncementInvalid("The announcement is no JSON.") from error
    return from_json(body)


def from_json(body: Any, depth: int = 0) -> Announcement:
    """Read a parsed announcement. Raises AnnouncementInvalid naming the key that is missing or wrong."""
    if depth > MAX_DEPTH:
        raise AnnouncementInvalid(f"Announcements are nested deeper than {MAX_DEPTH}.")
    if not isinstance(body, dict):
        raise AnnouncementInvalid("An announcement must be a JSON object.")
    start = Announcement(
        owner_id=_sling_id(body, "ownerId"),
        protocol_version=_value(body, "protocolVersion", int, -1),
        backoff_seconds=min(max(0, _value(body, "backoffInterval", int, 0)), MAX_BACKOFF_SECONDS),
        is_reset=_value(body, "resetBackoff", bool, False),
    )
    if _value(body, "loop", bool, False):
        return replace(start, is_loop=True)
    cluster = _value(body, "localClusterView", dict, {"id": "", "instances": []})
    return replace(
        start,
        is_inherited=_value(body, "inherited", bool, False),
        server_info=_text(_value(body, "serverInfo", str, ""), "serverInfo"),
        cluster_id=_cluster_id(cluster) if "localClusterView" in body else "",
        instances=tuple(_instance(entry) for entry in _value(cluster, "instances", list)),
        nested=tuple(from_json(inner, depth + 1) for inner in _value(body, "topologyAnnouncements", list)),
    )


def _instance(entry: Any) -> AnnouncedInstance:
    if not isinstance(entry, dict):
        raise AnnouncementInvalid("An instance must be a JSON object.")
    told = _value(entry, "properties", dict)
    return AnnouncedInstance(
        sling_id=_sling_id(entry, "slingId"),
        is_leader=_value(entry, "isLeader", bool),
        properties={name: _text(told[name], "properties") for name in told if properties.is_valid_name(name)},
    )


def _sling_id(body: dict[str, Any], key: str) -> str:
    value = str(_value(body, key, str))
    if not identity.VALID_ID.fullmatch(value):
        raise AnnouncementInvalid(f"'{key}' is no sling id.")
    return value


def _cluster_id(cluster: dict[str, Any]) -> str:
    value = _text(_value(cluster, "id", str), "id")
    if not _CLUSTER_ID.fullmatch(value):
        raise AnnouncementInvalid("'id' is no id of a cluster.")
    return value


def _value(body: dict[str, Any], key: str, kind: type, missing: Any = None) -> Any:
    value = body.get(key, missing)
    # In Python True is an int as well; in JSON it is not.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise AnnouncementInvalid(f"'{key}' is missing or no {kind.__name__}.")
    return value


def _text(value: Any, key: str) -> str:
    """Return a text that every database can keep: neither NUL nor half a character in it."""
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise AnnouncementInvalid(f"'{key}' is no clean text.")
    return value
