"""The far end of an offloaded workflow: from the job that arrived to the instance that runs under it.

Model and payload are read from where the job's payload lies; a model that was not sent along is taken from this
installation. The whole instance runs under the one job, which ends when the instance has ended.
"""

from content.session import Session
from offloading.jobs.consumers import RunningJob
from workflow import catalog, definition, engine, processes
from workflow.models import Workflow

MODEL = "offloading.workflow.model"
PAYLOAD = "offloading.workflow.payload"


def open_workflow(job: RunningJob) -> Workflow:
    """Return the instance for `job`, the same one at every attempt. Raises processes.ProcessFailed."""
    payload = _required(job, PAYLOAD)
    initiator = job.initiator or "offloading"
    session = Session(root=job.payload_root, by=initiator)
    model = _model(_required(job, MODEL), session, initiator)
    if session.get(payload) is None:
        raise processes.ProcessFailed(f"The payload {payload} {_absence(job)}. Retry the workflow that offloaded it.")
    return engine.open_offloaded(job=job, model=model, payload=payload, initiator=initiator)


def _required(job: RunningJob, name: str) -> str:
    value = str(job.get(name) or "").strip()
    if not value:
        raise processes.ProcessFailed(f"The job has no property {name}; it must be the path of a node.")
    return value


def _model(path: str, session: Session, initiator: str) -> definition.Model:
    try:
        model = _read(path, session, initiator)
    except definition.ModelInvalid as error:
        raise processes.ProcessFailed(str(error)) from error
    for step in model.steps:
        if step.type is definition.StepType.EXTERNAL_PROCESS:
            raise processes.ProcessFailed(
                f"Step {step.title!r} of {path} is an external one, which cannot run inside an offloaded workflow. "
                "Offload a model without external steps."
            )
    return model


def _read(path: str, session: Session, initiator: str) -> definition.Model:
    for place in (session, Session(by=initiator)):
        try:
            return catalog.read_model(path, place)
        except catalog.ModelMissing:
            continue
    raise processes.ProcessFailed(
        f"The model {path} is neither in the payload nor on this instance. "
        "Send it along (offloadingInputIncludeWorkflowModel), or install it here."
    )


def _absence(job: RunningJob) -> str:
    return "did not come with the job" if job.payload_root else "does not exist any more"
