"""Launchers: start a workflow when something happens in the content tree.

A launcher is a content node with the properties of `cq:WorkflowLauncher`. Matching is pure (`parse`, `occurrences`,
`Launcher.matches`); `node_changed` looks at one event of the tree in the transaction of the change, so that an upload
and the workflow it starts exist together or not at all. A launcher that cannot be used is skipped and logged, and never
in the way.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from content import paths, services
from content.models import Node
from content.signals import NodeEvent
from workflow import catalog, definition, engine

log = logging.getLogger(__name__)

LAUNCHER_TYPE = "cq:WorkflowLauncher"
CONFIG = "/libs/settings/workflow/launcher/config"
CONFIG_FOLDERS = (CONFIG, "/conf/global/settings/workflow/launcher/config", "/etc/workflow/launcher/config")

# The event types are those of the Java Content Repository (javax.jcr.observation.Event).
ADDED, REMOVED, CHANGED = 1, 2, 16

NEVER_BELOW = (
    "/var/workflow/instances",
    "/tmp",
    "/var/audit",
    "/var/classes",
    "/var/eventing",
    "/var/linkchecker",
    "/var/mobile",
    "/var/offloading",
)
USER_DATA = "event-user-data:"
# Every instance is an author: a launcher for publish instances alone does not concern it.
RUN_MODE = "author"

Lookup = Callable[[str, str], Any]
"""(path of a node, name of a property) -> its value, or None"""


class LauncherInvalid(ValueError):
    """A launcher cannot be used. Says which property is wrong."""


@dataclass(frozen=True)
class Occurrence:
    """One thing that happened, in the launchers' terms."""

    event_type: int
    path: str
    primary_type: str
    property_names: tuple[str, ...]
    user_data: str


@dataclass(frozen=True)
class Condition:
    """`relpath==regex` or `relpath!=regex`, on a property relative to the node of the event."""

    relative_path: str
    pattern: re.Pattern[str]
    is_negated: bool

    def holds(self, path: str, lookup: Lookup) -> bool:
        """Compare the value; a missing one counts as the empty text, of several values one match is enough."""
        folder, _, name = self.relative_path.rpartition("/")
        value = lookup(f"{path}/{folder}" if folder else path, name)
        found = any(self.pattern.fullmatch(_text(each)) for each in (value if isinstance(value, list) else [value]))
        return found != self.is_negated


@dataclass(frozen=True)
class Launcher:
    """What to watch for, and the model to start then."""

    path: str
    event_type: int
    node_type: str
    glob: re.Pattern[str]
    conditions: tuple[Condition, ...]
    excluded_properties: frozenset[str]
    excluded_user_data: frozenset[str]
    workflow: str

    def matches(self, occurrence: Occurrence, lookup: Lookup) -> bool:
        """Say whether `occurrence` starts the workflow. Conditions are looked up last: they read the tree."""
        return (
            bool(self.event_type & occurrence.event_type)
            and self.node_type in ("", "nt:base", occurrence.primary_type)
            and occurrence.user_data not in self.excluded_user_data
            and self._concerns(occurrence)
            and self.glob.fullmatch(occurrence.path) is not None
            and all(condition.holds(occurrence.path, lookup) for condition in self.conditions)
        )

    def _concerns(self, occurrence: Occurrence) -> bool:
        """An event on a property is ignored if the property is excluded; so is a change of excluded ones alone."""
        if occurrence.event_type != CHANGED or not occurrence.property_names:
            return True
        return not self.excluded_properties.issuperset(occurrence.property_names)


def parse(path: str, properties: Mapping[str, Any]) -> Launcher | None:
    """Read a launcher node; None if it is switched off or meant for others. Raises LauncherInvalid."""
    if not _applies(properties):
        return None
    if not properties.get("workflow"):
        raise LauncherInvalid("workflow is empty; set it to the path of a model")
    try:
        event_type = int(properties["eventType"])
    except (KeyError, TypeError, ValueError):
        raise LauncherInvalid(f"eventType is {properties.get('eventType')!r}; 1, 2 or 16 is needed") from None
    excluded = _entries(properties.get("excludeList"))
    conditions = [*_entries_of(properties.get("conditions")), *_entries_of(properties.get("condition"))]
    return Launcher(
        path=path,
        event_type=event_type,
        node_type=str(properties.get("nodetype") or ""),
        glob=_compiled("glob", str(properties.get("glob") or "")),
        conditions=tuple(_condition(text) for text in conditions),
        excluded_properties=frozenset(entry for entry in excluded if not entry.startswith(USER_DATA)),
        excluded_user_data=frozenset(e.removeprefix(USER_DATA) for e in excluded if e.startswith(USER_DATA)),
        workflow=str(properties["workflow"]),
    )


def occurrences(event: NodeEvent, type_of: Callable[[str], str]) -> list[Occurrence]:
    """Translate an event of the tree. `type_of` gives the primary type of a path ("" if nothing is there).

    A file keeps its bytes and its MIME type in its child `jcr:content`: a change of that child is one of the file.
    """

    def occurrence(event_type: int, path: str, primary_type: str = event.primary_type) -> Occurrence:
        return Occurrence(event_type, path, primary_type, tuple(event.property_names), event.user_data)

    if event.kind == "added":
        return [occurrence(ADDED, event.path)]
    if event.kind == "removed":
        return [occurrence(REMOVED, event.path)]
    if event.kind == "moved":
        return [occurrence(REMOVED, event.old_path), occurrence(ADDED, event.path)]
    found = [occurrence(CHANGED, event.path)]
    if paths.name(event.path) == "jcr:content" and type_of(paths.parent(event.path)) == "nt:file":
        found.append(occurrence(CHANGED, paths.parent(event.path), "nt:file"))
    return found


def node_changed(*, event: NodeEvent, **_facts: object) -> None:
    """Start the workflows of every launcher that `event` concerns, in the caller's transaction."""
    if any(event.path == root or paths.is_below(event.path, root) for root in NEVER_BELOW):
        return
    happened = occurrences(event, _type_of)
    for launcher in _enabled():
        for occurrence in happened:
            if launcher.matches(occurrence, _property):
                _start(launcher, occurrence, by=event.by)


def install_launcher(*, name: str, properties: Mapping[str, Any], by: str = "system") -> None:
    """Create the shipped launcher `name` unless it is there: what an operator changed in it stays."""
    path = paths.join(CONFIG, name)
    if services.get(path) is None:
        services.ensure_folder(path=CONFIG, by=by)
        services.create_node(path=path, primary_type=LAUNCHER_TYPE, properties=dict(properties), by=by)


def _enabled() -> Iterable[Launcher]:
    rows = Node.objects.filter(parent__path__in=CONFIG_FOLDERS, primary_type=LAUNCHER_TYPE).order_by("path", "id")
    for path, properties in rows.values_list("path", "properties"):
        try:
            launcher = parse(path, properties)
        except LauncherInvalid as error:
            _warn_once(path, str(error))
        else:
            if launcher is not None:
                yield launcher


def _start(launcher: Launcher, occurrence: Occurrence, *, by: str) -> None:
    try:
        engine.start_workflow(model_path=launcher.workflow, payload=occurrence.path, initiator=by)
    except (catalog.ModelMissing, definition.ModelInvalid) as error:
        _warn_once(launcher.path, str(error))


@lru_cache(maxsize=1000)
def _warn_once(launcher: str, reason: str) -> None:
    log.warning("launcher skipped", extra={"launcher": launcher, "reason": reason})


def _type_of(path: str) -> str:
    view = services.get(path)
    return view.primary_type if view else ""


def _property(path: str, name: str) -> Any:
    try:
        view = services.get(path)
    except paths.PathInvalid:
        return None  # no node can lie there
    return view.properties.get(name) if view else None


def _applies(properties: Mapping[str, Any]) -> bool:
    """No feature flags exist here, so a launcher that needs one that is on never applies."""
    run_modes = _entries(properties.get("runModes"))
    return (
        definition.is_true(properties.get("enabled"))
        and (not run_modes or RUN_MODE in run_modes)
        and not _entries_of(properties.get("features"))
    )


def _condition(text: str) -> Condition:
    relative_path, operator, pattern = re.match(r"(.*?)(?:([=!]=)(.*))?$", text, re.DOTALL).groups()  # type: ignore[union-attr]  # matches any text
    if not operator:
        raise LauncherInvalid(f"condition {text!r} has neither == nor !=")
    return Condition(relative_path.strip(), _compiled("conditions", pattern.strip()), operator == "!=")


@lru_cache(maxsize=1000)
def _compiled(where: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise LauncherInvalid(f"{where} {pattern!r} is no regular expression: {error}") from None


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entries(value: object) -> list[str]:
    return [entry.strip() for entry in str(value or "").split(",") if entry.strip()]


def _entries_of(value: object) -> list[str]:
    """A property with one or several values, as a list without the empty ones."""
    values = value if isinstance(value, list) else [value]
    return [str(each) for each in values if each]
