"""The steps of the library's workflow models, under the process names of the talk.

A step reads and writes through its session, which may show a copy of the asset that came from another installation.
What is wrong with a file is said with the file's name and is final: trying again would not mend it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from django.utils import timezone

from content import paths
from content.session import Session
from dam import media, structure
from dam.metadata import readers
from dam.renditions import boxes, makers
from dam.renditions.boxes import Box, Rendition, Wanted
from dam.structure import AssetState
from workflow import offload, processes
from workflow.processes import Arguments, EndWorkflow, ProcessFailed, WorkItem

# In the metadata of a workflow: the jobs that its offloading step added, in order.
OFFLOADING_JOBS = "dam.offloadingJobs"

_CORE = "com.day.cq.dam.core.process."


@processes.process(_CORE + "GateKeeperProcess", label="Gate Keeper")
class GateKeeperProcess(processes.WorkflowProcess):
    """Ends the workflow if there is nothing to work on any more."""

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> None:
        asset = structure.asset_of(item.payload)
        if session.get(structure.resource(structure.original(asset))) is None:
            raise EndWorkflow(f"{asset} has no original any more; it was moved or removed.")


@processes.process(_CORE + "MetadataProcessorProcess", label="Metadata Processor")
class MetadataProcessorProcess(processes.WorkflowProcess):
    """Writes what is known about the original to the metadata node."""

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> None:
        asset = structure.asset_of(item.payload)
        original = session.file_path(structure.resource(structure.original(asset)))
        with _told_of(asset):
            found = readers.read(original, _mime_type(asset, session), now=timezone.now())
        node = session.get(structure.metadata(asset))
        stale = {
            name: None
            for name in (node.properties if node else {})
            if name.startswith(readers.OWNED_PREFIXES) and name not in found
        }
        session.put(structure.metadata(asset), "nt:unstructured", {**stale, **found})


@processes.process(_CORE + "ThumbnailProcess", label="Process Thumbnails")
class ThumbnailProcess(processes.WorkflowProcess):
    """Makes the thumbnails in CONFIGS and the web rendition of WIDTH x HEIGHT, all from one load of the original."""

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> None:
        asset = structure.asset_of(item.payload)
        mime_type = _mime_type(asset, session)
        if _is_skipped(mime_type, args):
            item.log(f"{mime_type} is skipped")
            return
        original = session.file_path(structure.resource(structure.original(asset)))
        with _told_of(asset):
            made = list(makers.make(original, mime_type, _wanted(args)))
        for rendition in made:
            _put(session, structure.rendition(asset, rendition.name), rendition)
        names = {rendition.name for rendition in made}
        for old in session.children(structure.renditions(asset)):
            if old.name.startswith(structure.GENERATED) and old.name not in names:
                session.remove(old.path)


@processes.process(
    "com.day.cq.dam.core.impl.process.DamUpdateAssetWorkflowCompletedProcess",
    label="DAM Update Asset Workflow Completed",
)
class DamUpdateAssetWorkflowCompletedProcess(processes.WorkflowProcess):
    """Marks the asset as processed; it travels home with the renditions if they were made elsewhere."""

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> None:
        state = {structure.STATE: AssetState.PROCESSED.value, structure.FAILURE: None}
        session.set_properties(structure.content(structure.asset_of(item.payload)), state)


@processes.external_process(_CORE + "AssetOffloadingProcess", label="Asset Offloading")
class AssetOffloadingProcess(offload.WorkflowOffloadingProcess):
    """Lets a job run the model on the whole asset. With `includeMimeTypes`, assets of other types are passed over."""

    def workflow_payload(self, item: WorkItem, session: Session) -> str:
        return structure.asset_of(item.payload)

    def execute(self, item: WorkItem, session: Session, args: Arguments) -> str | None:
        if not self._is_included(item, session, args):
            return None
        job_id = super().execute(item, session, args)
        # The instance forgets an external step once it is over; whoever tells the asset's story does not.
        item.metadata[OFFLOADING_JOBS] = [*item.metadata.get(OFFLOADING_JOBS, []), job_id]
        return job_id

    def _is_included(self, item: WorkItem, session: Session, args: Arguments) -> bool:
        patterns = _entries(args.get("includeMimeTypes"))
        original = session.get(structure.resource(structure.original(structure.asset_of(item.payload))))
        mime_type = str(original.properties.get(structure.MIME_TYPE)) if original else media.UNKNOWN
        return not patterns or any(re.fullmatch(pattern, mime_type) for pattern in patterns)


@contextmanager
def _told_of(asset: str) -> Iterator[None]:
    """Turn the refusal of a picture into the failure of the step, with the name of the file in front."""
    try:
        yield
    except media.PictureRefused as refusal:
        raise ProcessFailed(f"{paths.name(asset)} {refusal}") from refusal


def _mime_type(asset: str, session: Session) -> str:
    """Return what the original is by its bytes. Raises ProcessFailed if that is not what its name promises."""
    with session.open(structure.resource(structure.original(asset))) as file, _told_of(asset):
        return media.settle(paths.name(asset), file.read(media.HEAD_BYTES))


def _is_skipped(mime_type: str, args: Arguments) -> bool:
    return any(re.fullmatch(pattern, mime_type) for pattern in _entries(args.get("SKIP")))


def _wanted(args: Arguments) -> Wanted:
    try:
        thumbnails = boxes.parse_configs(str(args.get("CONFIGS") or ""))
        web = Box(int(args.get("WIDTH") or 1280), int(args.get("HEIGHT") or 1280))
        quality = min(max(int(args.get("QUALITY") or 90), 1), 100)
    except ValueError as error:
        raise ProcessFailed(f"An argument of the thumbnail step is wrong: {error}. Correct it in the model.") from error
    kept = args.get("KEEP_FORMAT_LIST")
    return Wanted(thumbnails, web, quality, frozenset(_entries(kept)) if kept else Wanted.kept_formats)


def _put(session: Session, path: str, rendition: Rendition) -> None:
    session.put(path, structure.FILE)
    session.put(
        structure.resource(path),
        structure.RESOURCE,
        {
            structure.MIME_TYPE: rendition.mime_type,
            "tiff:ImageWidth": rendition.width,
            "tiff:ImageLength": rendition.height,
        },
        {structure.DATA: session.store(BytesIO(rendition.data))},
    )


def _entries(value: object) -> list[str]:
    entries = value if isinstance(value, list) else str(value or "").split(",")
    return [str(entry).strip() for entry in entries if str(entry).strip()]
