"""Run the steps of a workflow instance under a job, until its end, an external step, or a failure.

Content is written once, at the end of the job: what the steps change is buffered in their session and saved together
with the job's outcome in one `job.apply()`, so a crashed attempt leaves nothing half done. Only the progress (current
node, history) is written at each step, guarded by the job's fence, so that people see it. Another attempt of the job
begins again where the job began.
"""

import time
from typing import Any

from django.db import InterfaceError, OperationalError

from content import blobs, services
from offloading.exceptions import StaleFence
from offloading.jobs.consumers import JobResult, RunningJob
from workflow import definition, engine, history, processes
from workflow.definition import Step, StepType
from workflow.models import Workflow, WorkflowState

CUT_OFF = "This attempt was cut off."


class Superseded(Exception):
    """The instance does not belong to this job any more: it was terminated, or has gone on from there."""


def run(workflow: Workflow, job: RunningJob) -> JobResult:
    """Run `workflow` from where `job` begins. Exceptions that no step declared are recorded and go on upwards."""
    try:
        return _attempt(Execution(workflow, job))
    except Superseded as superseded:
        job.message = str(superseded)
        return JobResult.CANCEL


def _attempt(execution: "Execution") -> JobResult:
    try:
        return execution.walk()
    except processes.EndWorkflow as end:
        return execution.complete(comment=str(end))
    except processes.WorkflowException as error:
        execution.record_failure(str(error))
        return JobResult.FAILED
    except (processes.ProcessFailed, definition.ModelInvalid) as error:
        execution.record_failure(str(error))
        return JobResult.CANCEL
    except (StaleFence, Superseded, OperationalError, InterfaceError):
        raise  # nothing is wrong with the step: others hold the job, or the database was away, and the job begins again
    except Exception as error:
        execution.record_failure(f"{type(error).__name__}: {error}")
        raise


class Execution:
    """One attempt of one job at one instance."""

    def __init__(self, workflow: Workflow, job: RunningJob) -> None:
        self._workflow = workflow
        self._job = job
        self._model = definition.from_json(workflow.definition)
        self._session = engine.session_of(workflow)
        self._metadata: dict[str, Any] = dict(workflow.metadata)
        self._step_began: float | None = None
        self._step: Step | None = None

    def walk(self) -> JobResult:
        self._begin()
        step = self._model.step(self._workflow.resume_node)
        if self._workflow.result_id:
            self._take_over_result(step)
            step = self._model.after(step)
        while step.type is not StepType.END:
            self._enter(step)
            if step.type is StepType.EXTERNAL_PROCESS:
                return self._start_external(step)
            process = processes.process_steps.find(step.process)
            process.execute(self._item(step), self._session, step.metadata)
            step = self._model.after(step)
        return self.complete()

    def complete(self, *, comment: str = "") -> JobResult:
        """Save everything, end the instance and end the job, in one transaction."""
        self._leave()
        with self._job.apply():
            workflow = self._hold()
            self._save()
            engine.complete(workflow=workflow, metadata=self._metadata, comment=comment)
        return JobResult.OK

    def record_failure(self, message: str) -> None:
        """Write down why the attempt failed; whether there is another one is the job's matter."""
        self._job.message = message
        self._leave(f"failed: {message}")
        with self._job.guard():
            history.fail_open(workflow=self._hold(), comment=message)

    def _begin(self) -> None:
        with self._job.guard():
            workflow = self._hold()
            history.finish_open(workflow=workflow, action=history.FAILED, comment=CUT_OFF)
            Workflow.objects.filter(pk=workflow.pk).update(failure_message="")
            engine.announce(workflow)

    def _hold(self) -> Workflow:
        """Lock the instance until the transaction ends. Raises Superseded if it is no longer this job's."""
        # A job that has started an external step is over for the instance, even if somebody retries the job itself.
        mine = Workflow.objects.select_for_update().filter(
            pk=self._workflow.pk, state=WorkflowState.RUNNING, job_id=self._job.id, external_id=""
        )
        workflow = mine.first()
        if workflow is None:
            raise Superseded("The workflow was terminated, or has gone on from here. Look at the workflow itself.")
        return workflow

    def _take_over_result(self, step: Step) -> None:
        process = processes.external_steps.find(step.process)
        process.handle_result(self._workflow.result_id, self._item(step), self._session, step.metadata)

    def _enter(self, step: Step) -> None:
        self._leave()
        with self._job.guard():
            workflow = self._hold()
            history.begin(workflow=workflow, step=step)
            Workflow.objects.filter(pk=workflow.pk).update(current_node=step.id)
            engine.announce(workflow)
        self._step, self._step_began = step, time.monotonic()

    def _leave(self, remark: str = "") -> None:
        """Put the step that ends into the attempt's log, which travels home with an offloaded job."""
        if self._step is not None and self._step_began is not None:
            took = f"{time.monotonic() - self._step_began:.3f} s"
            self._job.log(f"{self._step.title}: {took}{', ' if remark else ''}{remark}")
        self._step = None

    def _start_external(self, step: Step) -> JobResult:
        """Start the external step, save, and end this job: all or nothing. The rest is another job's."""
        process = processes.external_steps.find(step.process)
        with self._job.apply():
            workflow = self._hold()
            external_id = process.execute(self._item(step), self._session, step.metadata)
            self._save()
            if external_id is None:
                engine.pass_over(workflow=workflow, step=step, metadata=self._metadata)
            else:
                engine.wait(workflow=workflow, step=step, external_id=external_id, metadata=self._metadata)
            self._leave()
        return JobResult.OK

    def _save(self) -> None:
        """Write what the steps changed. Another attempt reads anew what somebody else changed in the way of it."""
        try:
            self._session.save()
        except (services.NodeMissing, services.NodeExists, blobs.BlobMissing) as error:
            raise processes.WorkflowException(str(error)) from error

    def _item(self, step: Step) -> processes.WorkItem:
        return engine.work_item(self._workflow, step, self._metadata, self._job.log)
