"""External steps that offload: they add a job, wait for it, and tell success, failure and loss apart.

`job_properties` builds what the job carries from the arguments of the step, under the stored names of the shipped
models. Subclasses say what the payload is. Which instance runs the job, and how its payload gets there, is
offloading's.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from content.session import Session
from offloading.jobs import manager, states
from offloading.models import JobState
from offloading.transport import payload
from workflow import definition, engine, offloaded, processes, waiting
from workflow.processes import Arguments, ProcessFailed, WorkItem

RETRIES = 3
RETRY_DELAY_SECONDS = 2.0


class JobOffloadingProcess(processes.WorkflowExternalProcess):
    """Adds a job of the topic in the argument `jobTopic`, with the workflow's payload if the arguments say so."""

    def properties(self, item: WorkItem, session: Session, args: Arguments) -> dict[str, Any]:
        """Return the job's properties. Raises ProcessFailed if an argument is missing or unusable."""
        return job_properties(args, workflow_payload=self.workflow_payload(item, session))

    def workflow_payload(self, item: WorkItem, session: Session) -> str:
        """Return the path to send along as the workflow's payload; a step that knows better overrides this."""
        return item.payload

    def title(self, item: WorkItem, args: Arguments) -> str:
        return f"{engine.subject(item.payload)}: {item.node.title}"

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> str | None:
        job = manager.add_job(
            _required(args, "jobTopic"),
            self.properties(item, session, args),
            title=self.title(item, args),
            retries=RETRIES,
            retry_delay_seconds=RETRY_DELAY_SECONDS,
        )
        if job is None:
            raise ProcessFailed(
                f"The queue of topic {args['jobTopic']} drops its jobs. Give it another type, then retry."
            )
        return str(job.id)

    def has_finished(self, external_id: str, item: WorkItem, session: Session, args: Arguments) -> bool:
        job = manager.get_job(uuid.UUID(external_id))
        if job is None:
            raise ProcessFailed(
                f"The job {external_id} of this step is gone, its result with it. Retry starts it anew."
            )
        if job.state in states.UNFINISHED:
            return False
        if job.state == JobState.SUCCEEDED:
            return True
        raise ProcessFailed(waiting.why_ended(job))

    def abandon(self, external_id: str, item: WorkItem, args: Arguments) -> None:
        job = manager.get_job(uuid.UUID(external_id))
        if job is not None and job.state in states.UNFINISHED:
            manager.stop_job(job.id, item.initiator)


class WorkflowOffloadingProcess(JobOffloadingProcess):
    """Adds a job that runs the model in the argument `workflowModel` on the workflow's payload."""

    def properties(self, item: WorkItem, session: Session, args: Arguments) -> dict[str, Any]:
        model = _required(args, "workflowModel")
        return {
            **job_properties(args, workflow_payload=self.workflow_payload(item, session), workflow_model=model),
            offloaded.MODEL: model,
            offloaded.PAYLOAD: str(args.get("workflowPayload") or item.payload),
            "initiator": item.initiator,
        }


def job_properties(args: Arguments, *, workflow_payload: str, workflow_model: str = "") -> dict[str, Any]:
    """Return the properties that the arguments of the generic offloading steps ask for. Pure."""
    return {
        **_pairs(args.get("jobProperties")),
        payload.INPUT: _payload(args, "Input", workflow_payload, workflow_model),
        payload.OUTPUT: _payload(args, "Output", workflow_payload, workflow_model),
    }


def _payload(args: Arguments, way: str, workflow_payload: str, workflow_model: str) -> str | list[str]:
    """One flat list: what is named, then the workflow's payload, then the model; each path once."""
    wanted = [str(entry).strip() for entry in _list(args.get(f"offloading{way}"))]
    if definition.is_true(args.get(f"offloading{way}IncludeWorkflowPayload")):
        wanted.append(workflow_payload)
    if workflow_model and definition.is_true(args.get(f"offloading{way}IncludeWorkflowModel")):
        wanted.append(workflow_model)
    return payload.join(path for path in wanted if path)


def _pairs(value: object) -> dict[str, str]:
    pairs = {}
    for entry in _list(value):
        key, separator, text = str(entry).partition("|")
        if not separator or not key.strip():
            raise ProcessFailed(f"jobProperties has the entry {entry!r}; it must be written key|value.")
        pairs[key.strip()] = text
    return pairs


def _list(value: object) -> Iterable[object]:
    if value is None or value == "":
        return []
    return value if isinstance(value, list | tuple) else [value]


def _required(args: Mapping[str, Any], name: str) -> str:
    value = str(args.get(name) or "").strip()
    if not value:
        raise ProcessFailed(f"The step has no argument {name}. Set it in the model.")
    return value
