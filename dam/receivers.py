"""Keeps dam:assetState in step with the workflow on the asset, in the transaction of the workflow's own change.

`processed` of a picture is written by the last step of the model, together with the renditions and wherever it runs;
here are the beginning, the failure, and the end of a workflow that made nothing.
"""

import uuid

from content import paths
from content.models import Node
from dam import ingestion, installation, structure
from dam.structure import AssetState
from workflow.models import Workflow, WorkflowState

ENDED = "Processing was ended before it was done. Retry starts it anew."


def workflow_changed(
    *, workflow_id: uuid.UUID, payload: str, payload_root: str, state: str, failure_message: str, **_facts: object
) -> None:
    """Receive workflow.signals.workflow_changed: at every step of every workflow, so it mostly finds nothing to do."""
    if payload_root or not paths.is_below(payload, structure.ROOT):
        return
    asset = structure.asset_of(payload)
    content = Node.objects.filter(path=structure.content(asset)).values_list("properties", flat=True).first()
    if content is None:
        return
    old = (content.get(structure.STATE, ""), content.get(structure.FAILURE, ""))
    new, failure = _state_after(state, failure_message, old[0])
    if (new, failure) == old:
        return
    workflow = Workflow.objects.get(pk=workflow_id)
    # What runs under the job of another workflow is told of by that one.
    if workflow.model_path in installation.MODELS and not workflow.is_offloaded:
        ingestion.set_state(path=asset, state=new, failure=failure, by=workflow.initiator)


def _state_after(state: str, failure_message: str, current: str) -> tuple[AssetState, str]:
    if state == WorkflowState.COMPLETED or (state == WorkflowState.ABORTED and current == AssetState.PROCESSED):
        return AssetState.PROCESSED, ""
    if failure_message:
        return AssetState.FAILED, failure_message
    if state == WorkflowState.ABORTED:
        return AssetState.FAILED, ENDED
    return AssetState.PROCESSING, ""
