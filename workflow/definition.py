"""What a workflow model is: steps in sequence, between one START and one END. Pure: values in, values out.

How a model lies in the content tree is said in catalog.py, what a step does in processes.py. The step types are those
of `com.day.cq.workflow.model.WorkflowNode`; four of them can run, a model with another one is refused by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class ModelInvalid(ValueError):
    """A workflow model cannot be run. Says which node is wrong and what would be right."""


class StepType(StrEnum):
    """The step types that the engine runs."""

    START = "START"
    PROCESS = "PROCESS"
    EXTERNAL_PROCESS = "EXTERNAL_PROCESS"
    END = "END"


DEFAULT_PERIOD_SECONDS = 5
DEFAULT_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class Step:
    """One node of a model. `metadata` holds the arguments under their stored names (`PROCESS_ARGS`, `jobTopic`, …)."""

    type: StepType
    title: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    description: str = ""

    @property
    def process(self) -> str:
        """The name that the process of this step is registered under; "" for START and END."""
        return str(self.metadata.get(self.type.value, ""))

    @property
    def period_seconds(self) -> int:
        return max(1, _number(self.metadata, "period", DEFAULT_PERIOD_SECONDS))

    @property
    def timeout_seconds(self) -> int:
        return max(1, _number(self.metadata, "timeout", DEFAULT_TIMEOUT_SECONDS))

    @property
    def advances_on_timeout(self) -> bool:
        return is_true(self.metadata.get("advanceOnTimeout"))


@dataclass(frozen=True)
class Transition:
    """The way from one node to the next, by node id."""

    source: str
    target: str


@dataclass(frozen=True)
class Model:
    """A runnable model: `steps` in the order in which they run, START first and END last."""

    path: str
    title: str
    steps: tuple[Step, ...]
    version: str = "1.0"
    description: str = ""

    @property
    def first(self) -> Step:
        """The step after START."""
        return self.steps[1]

    def step(self, step_id: str) -> Step:
        for step in self.steps:
            if step.id == step_id:
                return step
        raise ModelInvalid(f"The model {self.path} has no node {step_id!r}; it has {_names(self.steps)}.")

    def after(self, step: Step) -> Step:
        """Return the step that follows `step`, which is not END."""
        return self.steps[self.steps.index(step) + 1]


def process_step(title: str, process: str, **arguments: Any) -> Step:
    """Describe a PROCESS step; `arguments` are stored as they are called (`PROCESS_ARGS="…"`)."""
    return Step(StepType.PROCESS, title, {"PROCESS": process, "PROCESS_AUTO_ADVANCE": "true", **arguments})


def external_step(title: str, process: str, **arguments: Any) -> Step:
    """Describe an EXTERNAL_PROCESS step; `period` and `timeout` are seconds."""
    defaults = {"period": DEFAULT_PERIOD_SECONDS, "timeout": DEFAULT_TIMEOUT_SECONDS, "PROCESS_AUTO_ADVANCE": "true"}
    return Step(StepType.EXTERNAL_PROCESS, title, {"EXTERNAL_PROCESS": process, **defaults, **arguments})


def in_sequence(path: str, title: str, steps: Sequence[Step], **facts: str) -> Model:
    """Return the model that runs `steps` one after the other, with START, END and node ids added."""
    nodes = [Step(StepType.START, "Start"), *steps, Step(StepType.END, "End")]
    numbered = tuple(replace(step, id=f"node{number}") for number, step in enumerate(nodes))
    _check_steps(path, numbered)
    return Model(path=path, title=title, steps=numbered, **facts)


def ordered(path: str, title: str, steps: Iterable[Step], transitions: Iterable[Transition], **facts: str) -> Model:
    """Return the model in running order. Raises ModelInvalid unless its nodes form one line from START to END."""
    by_id = {step.id: step for step in steps}
    follows = _follows(path, by_id, transitions)
    line = [_only(path, by_id.values(), StepType.START)]
    end = _only(path, by_id.values(), StepType.END)
    while line[-1] != end:
        target = follows.get(line[-1].id)
        if target is None:
            raise ModelInvalid(f"The model {path} ends at {line[-1].id!r}, before its END node.")
        if len(line) > len(by_id):
            raise ModelInvalid(f"The model {path} runs in a circle through {target!r}.")
        line.append(by_id[target])
    if len(line) != len(by_id):
        raise ModelInvalid(f"The model {path} has nodes that no transition leads to: {_names(by_id.values(), line)}.")
    _check_steps(path, line)
    return Model(path=path, title=title, steps=tuple(line), **facts)


def step_type(path: str, step_id: str, value: object) -> StepType:
    """Return the step type called `value`. Raises ModelInvalid naming those that can run."""
    try:
        return StepType(str(value))
    except ValueError:
        known = ", ".join(StepType)
        raise ModelInvalid(f"Node {step_id!r} of {path} has the type {value!r}; this engine runs {known}.") from None


def to_json(model: Model) -> dict[str, Any]:
    """Write `model` as plain data, the form in which a running instance keeps the version it was started with."""
    return {
        "path": model.path,
        "title": model.title,
        "version": model.version,
        "description": model.description,
        "nodes": [
            {
                "id": step.id,
                "type": step.type.value,
                "title": step.title,
                "description": step.description,
                "metaData": dict(step.metadata),
            }
            for step in model.steps
        ],
    }


def from_json(data: Mapping[str, Any]) -> Model:
    """Read back what `to_json` wrote."""
    steps = (
        Step(StepType(node["type"]), node["title"], node["metaData"], node["id"], node["description"])
        for node in data["nodes"]
    )
    return Model(data["path"], data["title"], tuple(steps), data["version"], data["description"])


def is_true(value: object) -> bool:
    """Read a flag as models store it: a boolean or the word "true"."""
    return value is True or str(value).strip().lower() == "true"


def _number(metadata: Mapping[str, Any], key: str, default: int) -> int:
    value = metadata.get(key, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ModelInvalid(f"{key} is {value!r}; a whole number of seconds is needed.") from None


def _follows(path: str, by_id: Mapping[str, Step], transitions: Iterable[Transition]) -> dict[str, str]:
    follows: dict[str, str] = {}
    for transition in transitions:
        for end in (transition.source, transition.target):
            if end not in by_id:
                raise ModelInvalid(f"A transition of {path} names {end!r}; the nodes are {_names(by_id.values())}.")
        if transition.source in follows:
            raise ModelInvalid(f"Node {transition.source!r} of {path} has two ways out; this engine runs a sequence.")
        follows[transition.source] = transition.target
    return follows


def _only(path: str, steps: Iterable[Step], wanted: StepType) -> Step:
    found = [step for step in steps if step.type is wanted]
    if len(found) != 1:
        raise ModelInvalid(f"The model {path} has {len(found)} {wanted} nodes; exactly one is needed.")
    return found[0]


def _check_steps(path: str, steps: Sequence[Step]) -> None:
    if len(steps) == 2:
        raise ModelInvalid(f"The model {path} has no step between START and END.")
    for step in steps:
        if step.type in (StepType.PROCESS, StepType.EXTERNAL_PROCESS) and not step.process:
            raise ModelInvalid(f"Step {step.title!r} of {path} names no process: set its property {step.type}.")
        if step.type is StepType.EXTERNAL_PROCESS:
            _ = (step.period_seconds, step.timeout_seconds)  # both raise on what is no number


def _names(steps: Iterable[Step], without: Sequence[Step] = ()) -> str:
    return ", ".join(sorted(repr(step.id) for step in steps if step not in without))
