"""Workflow instances: start, wait, go on, fail, complete, retry, terminate.

Every change is one guarded update together with its history and its signal, in the caller's transaction or one of its
own. Where a job is involved, its row is locked before the instance's: outcomes of jobs do it in that order too.
Running the steps of an instance under a job is execution.py's, asking for external steps poller.py's.
"""

import logging
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from content import paths
from content.session import Session
from offloading.exceptions import JobRefused
from offloading.jobs import ids, manager
from offloading.jobs.consumers import RunningJob
from offloading.models import Job, JobState
from workflow import catalog, definition, history, processes, signals
from workflow.models import Workflow, WorkflowState

log = logging.getLogger(__name__)

TOPIC = "com/adobe/granite/workflow/job"
OFFLOADING_TOPIC = "com/adobe/granite/workflow/offloading"
WORKFLOW_ID = "workflow.id"
# What a session of the engine carries, so that launchers can tell its writes from those of people.
USER_DATA = "changedByWorkflowProcess"
RETRIES = 3
RETRY_DELAY_SECONDS = 2.0


class ActionRefused(Exception):
    """The instance is not in a state in which this can be done. Says which it is in."""


def start_workflow(
    *, model_path: str, payload: str, initiator: str, metadata: Mapping[str, Any] | None = None
) -> Workflow:
    """Start the model on the node at `payload`: the instance and its first job, in the caller's transaction.

    Raises catalog.ModelMissing or definition.ModelInvalid.
    """
    model = catalog.read_model(model_path, Session(by=initiator))
    with transaction.atomic():
        workflow = Workflow.objects.create(
            model_path=model.path,
            model_title=model.title,
            definition=definition.to_json(model),
            payload=payload,
            initiator=initiator,
            metadata=dict(metadata or {}),
        )
        history.record(workflow=workflow, action=history.STARTED, user=initiator)
        schedule(workflow=workflow, node_id=model.first.id)
        announce(workflow)
    return workflow


def open_offloaded(*, job: RunningJob, model: definition.Model, payload: str, initiator: str) -> Workflow:
    """Return the instance that runs under `job`, made ready to begin: new, or the one of the attempt before."""
    facts = {
        "model_path": model.path,
        "model_title": model.title,
        "definition": definition.to_json(model),
        "payload": payload,
        "payload_root": job.payload_root,
        "initiator": initiator,
        "state": WorkflowState.RUNNING,
        "resume_node": model.first.id,
        "current_node": model.first.id,
        "failure_message": "",
        "metadata": {},
        "ended_at": None,
    }
    with job.guard():
        workflow, is_new = Workflow.objects.update_or_create(job_id=job.id, is_offloaded=True, defaults=facts)
        if is_new:
            history.record(workflow=workflow, action=history.STARTED, user=initiator)
        announce(workflow)
    return workflow


def subject(payload: str) -> str:
    """Return what people call a payload: the name of the node whose content it is, or its own."""
    return paths.name(payload.partition("/jcr:content")[0] or payload)


def schedule(*, workflow: Workflow, node_id: str, result_id: str = "") -> None:
    """Add the job that runs `workflow` from `node_id` on, taking over the result of its external step if it has one."""
    job = manager.add_job(
        TOPIC,
        {WORKFLOW_ID: str(workflow.id)},
        title=f"{subject(workflow.payload)}: {workflow.model_title}",
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAY_SECONDS,
    )
    if job is None:
        raise JobRefused(f"The queue of topic {TOPIC} drops its jobs: no workflow can run. Give it another type.")
    facts = {"job_id": job.id, "resume_node": node_id, "current_node": node_id, "result_id": result_id}
    Workflow.objects.filter(pk=workflow.pk).update(**facts)


def wait(*, workflow: Workflow, step: definition.Step, external_id: str, metadata: dict[str, Any]) -> None:
    """Leave the instance waiting for the external step that has just begun."""
    Workflow.objects.filter(pk=workflow.pk).update(
        current_node=step.id,
        external_id=external_id,
        next_poll_at=Now() + timedelta(seconds=step.period_seconds),
        external_until=Now() + timedelta(seconds=step.timeout_seconds),
        metadata=metadata,
    )
    announce(workflow)


def pass_over(*, workflow: Workflow, step: definition.Step, metadata: dict[str, Any]) -> None:
    """Go on behind an external step that had nothing to do."""
    following = definition.from_json(workflow.definition).after(step)
    if following.type is definition.StepType.END:
        complete(workflow=workflow, metadata=metadata)
        return
    Workflow.objects.filter(pk=workflow.pk).update(metadata=metadata)
    history.finish_open(workflow=workflow)
    schedule(workflow=workflow, node_id=following.id)
    announce(workflow)


def go_on(*, workflow: Workflow) -> bool:
    """Schedule the rest of an instance whose external step succeeded. False if it does not wait for that any more."""
    return _leave_waiting(
        workflow, node_id=workflow.current_node, result_id=workflow.external_id, action=history.TRANSITION
    )


def advance_on_timeout(*, workflow: Workflow) -> bool:
    """Go on behind an external step that took too long, without its result."""
    model = definition.from_json(workflow.definition)
    step = model.step(workflow.current_node)
    return _leave_waiting(workflow, node_id=model.after(step).id, result_id="", action=history.TIMEOUT)


def complete(*, workflow: Workflow, metadata: dict[str, Any], comment: str = "") -> None:
    """End the instance as completed."""
    history.finish_open(workflow=workflow, comment=comment)
    _running(workflow).update(
        state=WorkflowState.COMPLETED, current_node="", failure_message="", metadata=metadata, ended_at=Now()
    )
    workflow.current_node = ""
    history.record(workflow=workflow, action=history.COMPLETED)
    announce(workflow)


def fail(*, workflow: Workflow, message: str) -> bool:
    """Set the failure of an instance that cannot go on by itself. False if it has moved on meanwhile.

    The instance stays running, to be retried; an offloaded one ends, for its fate is its job's.
    """
    ending = {"state": WorkflowState.ABORTED, "ended_at": Now()} if workflow.is_offloaded else {}
    unchanged = _running(workflow).filter(job_id=workflow.job_id, external_id=workflow.external_id)
    with transaction.atomic():
        if not unchanged.update(failure_message=message, next_poll_at=None, **ending):
            return False
        history.fail_open(workflow=workflow, comment=message)
        announce(workflow)
    log.warning("workflow failed", extra={"workflow": workflow.id, "payload": workflow.payload, "reason": message})
    return True


def retry_workflow(*, workflow_id: uuid.UUID, by: str) -> Workflow:
    """Let a failed instance go on: from where its job began, or with its external step anew. Raises ActionRefused."""
    with transaction.atomic():
        workflow = _locked(workflow_id)
        if not workflow.is_retryable:
            raise ActionRefused(_state_of(workflow, "It has not failed, so there is nothing to retry."))
        Workflow.objects.filter(pk=workflow.pk).update(failure_message="", external_id="", external_until=None)
        history.record(workflow=workflow, action=history.RETRIED, user=by)
        if workflow.external_id:
            _abandon(workflow)
            schedule(workflow=workflow, node_id=workflow.current_node)
        else:
            schedule(workflow=workflow, node_id=workflow.resume_node, result_id=workflow.result_id)
        announce(workflow)
    return workflow


def terminate_workflow(*, workflow_id: uuid.UUID, by: str, comment: str = "") -> Workflow:
    """End a running instance as aborted and stop what it started. Raises ActionRefused."""
    with transaction.atomic():
        workflow = _locked(workflow_id)
        if workflow.state != WorkflowState.RUNNING:
            raise ActionRefused(_state_of(workflow, "Only a running workflow can be terminated."))
        Workflow.objects.filter(pk=workflow.pk).update(state=WorkflowState.ABORTED, ended_at=Now(), next_poll_at=None)
        history.finish_open(workflow=workflow, action=history.ABORTED, comment=comment)
        history.record(workflow=workflow, action=history.ABORTED, user=by, comment=comment)
        _abandon(workflow)
        _stop(workflow.job_id, by=by)
        announce(workflow)
    return workflow


def announce(workflow: Workflow) -> None:
    """Send the state that the instance has now, and read it into `workflow`."""
    workflow.refresh_from_db()
    signals.workflow_changed.send(
        sender=Workflow,
        workflow_id=workflow.id,
        payload=workflow.payload,
        payload_root=workflow.payload_root,
        state=workflow.state,
        failure_message=workflow.failure_message,
    )


def work_item(
    workflow: Workflow, step: definition.Step, metadata: dict[str, Any], write_log: processes.Log
) -> processes.WorkItem:
    """Return `workflow` as the process of `step` sees it."""
    return processes.WorkItem(
        workflow_id=workflow.id,
        model_path=workflow.model_path,
        payload=workflow.payload,
        initiator=workflow.initiator,
        node=step,
        metadata=metadata,
        log=write_log,
    )


def session_of(workflow: Workflow) -> Session:
    """Return a session for the steps of `workflow`: its view of the tree, its initiator, the engine's mark."""
    return Session(root=workflow.payload_root, by=workflow.initiator, user_data=USER_DATA)


def _running(workflow: Workflow) -> QuerySet[Workflow]:
    return Workflow.objects.filter(pk=workflow.pk, state=WorkflowState.RUNNING)


def _leave_waiting(workflow: Workflow, *, node_id: str, result_id: str, action: str) -> bool:
    with transaction.atomic():
        waiting = _running(workflow).exclude(external_id="").filter(external_id=workflow.external_id)
        if not waiting.update(external_id="", next_poll_at=None, external_until=None, failure_message=""):
            return False
        history.finish_open(workflow=workflow, action=action)
        schedule(workflow=workflow, node_id=node_id, result_id=result_id)
        announce(workflow)
    return True


def _locked(workflow_id: uuid.UUID) -> Workflow:
    """Lock the instance after the jobs it depends on. Raises Workflow.DoesNotExist."""
    seen = Workflow.objects.get(pk=workflow_id)
    job_ids = [job_id for job_id in (seen.job_id, ids.parse(seen.external_id)) if job_id]
    list(Job.objects.select_for_update().filter(pk__in=job_ids).order_by("id"))
    workflow = Workflow.objects.select_for_update().get(pk=workflow_id)
    if (workflow.job_id, workflow.external_id) != (seen.job_id, seen.external_id):
        raise ActionRefused("The workflow has just moved on. Look at it again.")
    return workflow


def _abandon(workflow: Workflow) -> None:
    if not workflow.external_id:
        return
    step = definition.from_json(workflow.definition).step(workflow.current_node)
    item = work_item(workflow, step, workflow.metadata, processes.no_log)
    try:
        processes.external_steps.find(step.process).abandon(workflow.external_id, item, step.metadata)
    except processes.ProcessFailed as error:
        log.warning("external step not stopped", extra={"workflow": workflow.id, "reason": str(error)})


def _stop(job_id: uuid.UUID | None, *, by: str) -> None:
    if job_id and Job.objects.filter(pk=job_id, state__in=(JobState.QUEUED, JobState.ACTIVE)).exists():
        manager.stop_job(job_id, by)


def _state_of(workflow: Workflow, why: str) -> str:
    return f"The workflow {workflow.model_title} on {workflow.payload} is {workflow.get_state_display().lower()}. {why}"
