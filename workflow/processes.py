"""What a step of a workflow does: the classes that apps register, and how they say what became of it.

Owns the two contracts (`WorkflowProcess`, `WorkflowExternalProcess`), their registries and their exceptions. An app
registers its processes by importing their module in its `AppConfig.ready()`. Who calls them when is execution.py's.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from content.session import Session
from workflow.definition import Step

Arguments = Mapping[str, Any]
Log = Callable[[str], None]
P = TypeVar("P")
ProcessClass = TypeVar("ProcessClass", bound="type[WorkflowProcess]")
ExternalClass = TypeVar("ExternalClass", bound="type[WorkflowExternalProcess]")


class WorkflowException(Exception):
    """The step failed and may succeed when tried again: the job's retries decide."""


class ProcessFailed(Exception):
    """The step failed for good. The text is for people: what was wrong with which thing, and what to do."""


class EndWorkflow(Exception):
    """Nothing is left to do: the instance ends as completed, the text says why."""


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """What a step works on.

    `payload` is a path as the session sees it. `metadata` belongs to the whole instance: what a step puts in, later
    steps read. `log` adds a line to the attempt's log, which is visible on the job and travels home with it.
    """

    workflow_id: uuid.UUID
    model_path: str
    payload: str
    initiator: str
    node: Step
    metadata: dict[str, Any]
    log: Log


def no_log(_text: str) -> None:
    """Stand in for the attempt's log where no attempt runs: while an external step is asked for, or abandoned."""


class WorkflowProcess:
    """A PROCESS step. It changes content through `session` only and does not save: the engine does, at the end."""

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> None:
        raise NotImplementedError


class WorkflowExternalProcess:
    """An EXTERNAL_PROCESS step: starts something that goes on elsewhere, and knows how to ask for it."""

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> str | None:
        """Start it, inside the engine's transaction. Return its id, or None when there is nothing to wait for."""
        raise NotImplementedError

    def has_finished(self, external_id: str, item: WorkItem, session: Session, args: Arguments) -> bool:
        """Say whether it succeeded (True) or still goes on. Raises ProcessFailed if it failed or is lost."""
        raise NotImplementedError

    def handle_result(self, external_id: str, item: WorkItem, session: Session, args: Arguments) -> None:
        """Take over the result, once, before the workflow goes on."""

    def abandon(self, external_id: str, item: WorkItem, args: Arguments) -> None:
        """Stop what goes on elsewhere: the instance was terminated, or the step starts anew."""


@dataclass(frozen=True)
class Registered(Generic[P]):
    """A process under its name; `label` is the other name that a model may use."""

    name: str
    label: str
    process: P


class Registry(Generic[P]):
    """Processes by name."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, Registered[P]] = {}

    def register(self, name: str, label: str, process: P) -> None:
        known = self._entries.get(name)
        if known is not None and type(known.process) is not type(process):
            raise ValueError(f"The {self._kind} {name!r} is registered twice: {known.process!r} and {process!r}.")
        self._entries[name] = Registered(name, label or name, process)

    def find(self, name: str) -> P:
        """Return the process registered as `name` or labelled so. Raises ProcessFailed listing those that are."""
        entry = self._entries.get(name) or next((e for e in self._entries.values() if e.label == name), None)
        if entry is None:
            known = ", ".join(sorted(self._entries)) or "none"
            raise ProcessFailed(f"This instance has no {self._kind} {name!r}. It has: {known}.")
        return entry.process

    def all(self) -> list[Registered[P]]:
        return sorted(self._entries.values(), key=lambda entry: entry.name)

    @contextmanager
    def register_temporarily(self, name: str, process: P) -> Iterator[None]:
        """Register for the length of a block, for tests."""
        before = dict(self._entries)
        self._entries[name] = Registered(name, name, process)
        try:
            yield
        finally:
            self._entries = before


process_steps = Registry[WorkflowProcess]("process")
external_steps = Registry[WorkflowExternalProcess]("external process")


def process(name: str, *, label: str = "") -> Callable[[ProcessClass], ProcessClass]:
    """Register the decorated WorkflowProcess class under `name`."""

    def register(cls: ProcessClass) -> ProcessClass:
        process_steps.register(name, label, cls())
        return cls

    return register


def external_process(name: str, *, label: str = "") -> Callable[[ExternalClass], ExternalClass]:
    """Register the decorated WorkflowExternalProcess class under `name`."""

    def register(cls: ExternalClass) -> ExternalClass:
        external_steps.register(name, label, cls())
        return cls

    return register
