"""Applying the result of a copy, at the origin: content and outcome in one transaction, at most once, or not at all.

A result counts only if the job is still held under the fence that was sent, and if the originals of the payload are
what they were. Otherwise it is kept aside as a FENCED transfer that says why.
"""

import datetime
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from content import blobs, bundles, models
from content import services as content
from offloading import exceptions
from offloading.jobs import transitions
from offloading.models import JobState, Transfer
from offloading.transport import copies, manifest, messages, payload, signing
from topology import services as topology

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
    """The answer that lets the target clear its copy away: applied, or not and why."""

    reason: str = ""


def receive(result: messages.Result, *, caller: str) -> messages.Lacking | Settled:
    """Apply a result, or say which blobs are missing for that. The same result again gets the same answer.

    Raises `signing.Refused` if it comes from elsewhere than the job was sent to.
    """
    sent = _sent(result)
    if sent is None:
        return Settled("This installation has no such job, or never sent it under that fence.")
    _require_target(sent, caller)
    back = _noted(sent, result, caller)
    if back.state in (Transfer.State.DONE, Transfer.State.FENCED):
        return Settled(back.error)
    try:
        return _settle(sent, back, result)
    except blobs.BlobMissing:
        return _lacking(result) or Settled()
    except exceptions.StaleFence:
        return _too_late(back)


def _sent(result: messages.Result) -> Transfer | None:
    sent = Transfer.objects.select_related("job").filter(job_id=result.job_id, fence=result.fence)
    return sent.filter(direction=Transfer.Direction.OUT, is_sender=True).first()


def _require_target(sent: Transfer, caller: str) -> None:
    """The result may come from any instance of the cluster that the job was sent to."""
    if caller == sent.peer:
        return
    cluster = topology.current_view().cluster_of(caller)
    if cluster is None:
        remedy = "Try again when the connectors have told of it."
        raise signing.Refused("unknown-instance", "The topology does not show this instance now", remedy)
    # As it was when the job was sent: the instance that got it may have left the topology since.
    if cluster.id != sent.manifest.get("cluster_id"):
        raise signing.Refused("not-the-target", "The job was sent to another cluster", "Leave it alone.", status=403)


def _noted(sent: Transfer, result: messages.Result, caller: str) -> Transfer:
    """Note what came, with the sender's account of what travelled."""
    sizes = manifest.sizes(result.entries)
    back, _ = Transfer.objects.update_or_create(
        job_id=sent.job_id,
        fence=sent.fence,
        direction=Transfer.Direction.BACK,
        is_sender=False,
        defaults={"blobs_moved": result.moved.blobs, "bytes_moved": result.moved.bytes},
        create_defaults={
            "peer": caller,
            "peer_label": sent.peer_label,
            "state": Transfer.State.SENDING,
            "manifest": {"entries": result.entries, "state": result.state, "message": result.message},
            "blobs_total": len(sizes),
            "bytes_total": sum(sizes.values()),
            "blobs_moved": result.moved.blobs,
            "bytes_moved": result.moved.bytes,
            "tries": 1,
        },
    )
    return back


def _settle(sent: Transfer, back: Transfer, result: messages.Result) -> messages.Lacking | Settled:
    """Do all of it, or nothing: the job is locked under its fence from here to the end."""
    with transaction.atomic():
        transitions.hold(job_id=sent.job_id, fence=sent.fence)
        if result.state != JobState.SUCCEEDED:
            return _finish(sent, back, result, state=JobState(result.state), message=result.message)
        if reason := _conflict(sent, result):
            message = f"The result of {sent.peer_label} was not applied: {reason}"
            return _finish(sent, back, result, state=JobState.ERROR, message=message, reason=reason)
        if lacking := _lacking(result):
            return lacking
        _apply(sent, result)
        return _finish(sent, back, result, state=JobState.SUCCEEDED, message=result.message)


def _lacking(result: messages.Result) -> messages.Lacking | None:
    return copies.lacking_of(manifest.sizes(result.entries))


def _apply(sent: Transfer, result: messages.Result) -> None:
    found = bundles.changes(sent.manifest["entries"], result.entries)
    bundles.apply_changes(found, by=copies.BY, user_data=copies.USER_DATA)


def _finish(
    sent: Transfer,
    back: Transfer,
    result: messages.Result,
    *,
    state: JobState,
    message: str,
    reason: str = "",
) -> Settled:
    transitions.finish_remote(
        job_id=sent.job_id,
        fence=sent.fence,
        outcome_state=state,
        message=message,
        attempts=[_attempt(report) for report in result.attempts],
    )
    _close(back, reason)
    facts = {"job": sent.job_id, "peer": back.peer_label, "state": state, "bytes": back.bytes_moved, "reason": reason}
    log.info("result settled", extra=facts)
    return Settled(reason)


def _too_late(back: Transfer) -> Settled:
    """The job moved on: keep the result aside, unless another request has just settled it."""
    with transaction.atomic():
        now = Transfer.objects.select_for_update().get(id=back.id)
        if now.state not in (Transfer.State.DONE, Transfer.State.FENCED):
            now.error = "The job had moved on: it was taken back, stopped or given to another instance."
            _close(now, now.error)
            log.warning("result came too late", extra={"job": now.job_id, "fence": now.fence, "peer": now.peer_label})
    return Settled(now.error)


def _close(back: Transfer, reason: str) -> None:
    state = Transfer.State.FENCED if reason else Transfer.State.DONE
    Transfer.objects.filter(id=back.id).update(state=state, error=reason, finished_at=Now())


def _attempt(report: messages.AttemptReport) -> dict[str, Any]:
    ended_at = datetime.datetime.fromisoformat(report.ended_at) if report.ended_at else None
    return {
        "fence": report.fence,
        "instance": report.instance,
        "instance_label": report.instance_label,
        "started_at": datetime.datetime.fromisoformat(report.started_at),
        "ended_at": ended_at,
        "outcome": report.outcome,
        "message": report.message,
        "log": report.log,
    }


# --- What must not have changed here meanwhile -----------------------------------------------------------------------


def _conflict(sent: Transfer, result: messages.Result) -> str:
    """Say why the result must not be applied; "" if nothing speaks against it."""
    outputs = payload.outputs(sent.job.properties)
    if strangers := manifest.outside(result.entries, outputs):
        return f"it has {strangers[0]}, which is not in the job's output payload ({', '.join(outputs) or 'none'})."
    entries = sent.manifest["entries"]
    known = {entry["path"] for entry in entries}
    return _gone(path for path in outputs if path in known) or _changed(manifest.originals(entries))


def _gone(roots: Iterable[str]) -> str:
    return next((f"{path} was removed or moved meanwhile." for path in roots if content.get(path) is None), "")


def _changed(originals: Mapping[str, Mapping[str, str]]) -> str:
    """Compare the originals that were sent with those that are here, and keep them so until the transaction ends."""
    list(models.Node.objects.filter(path__in=originals).order_by("path").select_for_update().values_list("id"))
    for path, sent in originals.items():
        node = content.get(path)
        if node is None:
            return f"the original {path} was removed or moved meanwhile."
        if {name: ref.digest for name, ref in node.binaries.items()} != sent:
            return f"the original {path} was replaced meanwhile."
    return ""
