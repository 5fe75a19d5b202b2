"""Changes to the library: assets and folders, one service each.

Owns what makes a node tree an asset. What is done to an asset after its original arrived is the workflow's, which the
launchers start; here it is only ended when its work is no longer wanted, or asked for again. Bytes are stored before
the transaction begins: a slow upload holds no lock.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from django.conf import settings
from django.db import transaction

from content import blobs, paths, services
from content.services import Tree
from dam import installation, media, structure
from dam.structure import AssetState
from workflow import engine
from workflow.models import Workflow, WorkflowState

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1024 * 1024
_GONE = "The original was replaced or removed."


class UploadRefused(ValueError):
    """What was sent cannot become an asset. The text tells the sender what to do."""


class UploadTooLarge(UploadRefused):
    """The file is larger than this installation takes."""


class AssetExists(Exception):
    """There is something of that name in the folder. `is_replaceable` says whether it is an asset."""

    def __init__(self, path: str, *, is_replaceable: bool) -> None:
        self.path = path
        self.is_replaceable = is_replaceable
        what = f"{paths.name(path)} exists in {paths.parent(path)}"
        super().__init__(
            f"{what}. Rename your file, or replace the one that is there."
            if is_replaceable
            else f"{what} and is a folder. Rename your file."
        )


class AssetMissing(Exception):
    """There is no such asset or folder in the library."""

    def __init__(self, path: str) -> None:
        super().__init__(f"The library has no {path}. It may have been moved or removed: look at its folder.")


def create_asset(*, folder: str, name: str, stream: IO[bytes], by: str) -> str:
    """Store an original as a new asset and return its path; the launchers start its processing.

    Raises paths.PathInvalid, UploadRefused, UploadTooLarge, AssetExists, AssetMissing (of the folder).
    """
    path = _free_path(folder, name)
    blob = blobs.store(_bounded(stream, name))
    tree = _asset_tree(path, digest=blob.digest, size=blob.size, by=by)
    try:
        services.create_tree(path=path, tree=tree, by=by)
    except services.NodeExists as error:
        raise AssetExists(path, is_replaceable=_is_asset(path)) from error
    logger.info("asset created", extra={"asset": path, "bytes": blob.size, "by": by})
    return path


def put_asset(*, folder: str, name: str, stream: IO[bytes], by: str, is_replacing: bool = False) -> str:
    """Create an asset or, if `is_replacing`, give the one of that name another original. `stream` can be rewound."""
    try:
        return create_asset(folder=folder, name=name, stream=stream, by=by)
    except AssetExists as exists:
        if not (is_replacing and exists.is_replaceable):
            raise
        stream.seek(0)
        replace_original(path=exists.path, stream=stream, by=by)
        return exists.path


def replace_original(*, path: str, stream: IO[bytes], by: str) -> None:
    """Give an asset another original; renditions of the old one go at once, work on it ends.

    Raises AssetMissing, UploadRefused, UploadTooLarge.
    """
    _require_asset(path)
    blob = blobs.store(_bounded(stream, paths.name(path)))
    with transaction.atomic():
        _end_processing(path, by=by)
        _remove_generated(path, by=by)
        set_state(path=path, state=AssetState.UNPROCESSED, by=by)
        services.set_properties(
            path=structure.metadata(path), properties={"dc:format": _mime_type(path), "dam:size": blob.size}, by=by
        )
        original = structure.resource(structure.original(path))
        before = services.get(original)
        services.set_properties(
            path=original,
            properties={structure.MIME_TYPE: _mime_type(path), "jcr:lastModifiedBy": by},
            binaries={structure.DATA: blob.digest},
            by=by,
        )
        if before is not None and before.binaries[structure.DATA].digest == blob.digest:
            # The same bytes again are no change to any launcher, but a wish to see them processed.
            _process(path, by=by)
    logger.info("original replaced", extra={"asset": path, "bytes": blob.size, "by": by})


@transaction.atomic
def retry_asset(*, path: str, by: str) -> None:
    """Process a failed asset again, from where it failed if its workflow can; harmless while it is being processed."""
    _require_asset(path)
    running = _running_workflows(path)
    failed = next((workflow for workflow in running if workflow.is_retryable), None)
    if failed is not None:
        engine.retry_workflow(workflow_id=failed.id, by=by)
    elif not running:
        _process(path, by=by)


@transaction.atomic
def remove_asset(*, path: str, by: str) -> None:
    """Remove an asset with its renditions and end the work on it. Raises AssetMissing."""
    _require_asset(path)
    _end_processing(path, by=by)
    services.remove_node(path=path, by=by)
    logger.info("asset removed", extra={"asset": path, "by": by})


def create_folder(*, parent: str, name: str, by: str) -> str:
    """Create a folder and return its path. Raises paths.PathInvalid, AssetExists, AssetMissing (of the parent)."""
    path = _free_path(parent, name.strip())
    content = Tree("nt:unstructured", {"jcr:title": paths.name(path)})
    try:
        services.create_tree(
            path=path, tree=Tree(structure.FOLDER, {"jcr:createdBy": by}, children={"jcr:content": content}), by=by
        )
    except services.NodeExists as error:
        raise AssetExists(path, is_replaceable=False) from error
    return path


def set_state(*, path: str, state: AssetState, failure: str = "", by: str) -> None:
    """Write the state of an asset; marked as the engine's own doing, so that no launcher takes it for news."""
    services.set_properties(
        path=structure.content(path),
        properties={structure.STATE: state.value, structure.FAILURE: failure or None},
        by=by,
        user_data=engine.USER_DATA,
    )


def _asset_tree(path: str, *, digest: str, size: int, by: str) -> Tree:
    mime_type = _mime_type(path)
    original = Tree(
        structure.FILE,
        children={
            "jcr:content": Tree(
                structure.RESOURCE,
                {structure.MIME_TYPE: mime_type, "jcr:lastModifiedBy": by},
                {structure.DATA: digest},
            )
        },
    )
    content = Tree(
        structure.ASSET_CONTENT,
        {
            structure.STATE: AssetState.UNPROCESSED.value,
            "dam:relativePath": path.removeprefix(structure.ROOT + "/"),
            "cq:name": paths.name(path),
            "cq:parentPath": paths.parent(path),
            "jcr:lastModifiedBy": by,
        },
        children={
            "metadata": Tree("nt:unstructured", {"dc:format": mime_type, "dam:size": size}),
            "renditions": Tree("nt:folder", children={structure.ORIGINAL: original}),
            "related": Tree("nt:unstructured"),
        },
    )
    return Tree(structure.ASSET, {"jcr:createdBy": by}, children={"jcr:content": content})


def _mime_type(path: str) -> str:
    """What the name says; the bytes have their say when the asset is processed."""
    return media.by_name(paths.name(path))


def _bounded(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Pass the stream on while it is neither empty nor too large."""
    limit = settings.OFFLOADING_UPLOAD_BYTES
    total = 0
    while chunk := stream.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > limit:
            raise UploadTooLarge(f"{name} is larger than {limit:,} bytes, the most that is taken here. Send less.")
        yield chunk
    if not total:
        raise UploadRefused(f"{name} is empty: it has no bytes. Look at the file on your side and send it again.")


def _free_path(folder: str, name: str) -> str:
    """Return where `name` shall lie. Raises what create_asset raises before it reads a byte."""
    if name == "jcr:content":
        raise paths.PathInvalid("The name 'jcr:content' is taken by the library itself. Use another one.")
    path = paths.join(paths.validate(folder), name)
    view = services.get(folder) if structure.is_in_library(folder) else None
    if view is None or view.primary_type not in structure.FOLDER_TYPES:
        raise AssetMissing(folder)
    existing = services.get(path)
    if existing is not None:
        raise AssetExists(path, is_replaceable=existing.primary_type == structure.ASSET)
    return path


def _is_asset(path: str) -> bool:
    view = services.get(path) if paths.is_below(path, structure.ROOT) else None
    return view is not None and view.primary_type == structure.ASSET


def _require_asset(path: str) -> None:
    if not _is_asset(path):
        raise AssetMissing(path)


def _process(path: str, *, by: str) -> None:
    """Start the workflow that a new asset gets, whatever the launchers think."""
    engine.start_workflow(
        model_path=installation.model_for_new_assets(), payload=structure.original(path), initiator=by
    )


def _running_workflows(path: str) -> list[Workflow]:
    """List the workflows on an asset that are under way; one that runs under a job of another ends with that."""
    running = Workflow.objects.filter(
        payload__in=(path, structure.original(path)), payload_root="", is_offloaded=False, state=WorkflowState.RUNNING
    )
    return list(running.order_by("started_at", "id"))


def _end_processing(path: str, *, by: str) -> None:
    """Terminate the workflows on an asset, so that none of them writes what it made of an original that is gone."""
    for _ in range(5):
        running = _running_workflows(path)
        if not running:
            return
        for workflow in running:
            # Refused if it has just ended or moved on to its next job; the next look shows which.
            with suppress(engine.ActionRefused):
                engine.terminate_workflow(
                    workflow_id=workflow.id, by=by, comment="The original was replaced or removed."
                )


def _remove_generated(path: str, *, by: str) -> None:
    for rendition in services.children(structure.renditions(path)):
        if rendition.name.startswith(structure.GENERATED):
            services.remove_node(path=rendition.path, by=by)
