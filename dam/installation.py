"""What an installation gets from the library when it is migrated: the root folder, two models and their launchers.

Everything here may run any number of times. What an operator changed stays: a launcher that is there is left alone, a
model is renewed only while it is as it was shipped. The launchers start the offloading model, so that the topic
switches alone decide which instance processes a new picture.
"""

from typing import Any

from django.apps import apps
from django.db import connection, transaction

from content import services
from dam import structure
from workflow import catalog, engine, launchers
from workflow.definition import external_step, process_step

UPDATE_ASSET = "/etc/workflow/models/dam/update_asset/jcr:content/model"
UPDATE_ASSET_OFFLOADING = "/etc/workflow/models/dam/update_asset_offloading/jcr:content/model"
MODELS = (UPDATE_ASSET, UPDATE_ASSET_OFFLOADING)

_BY = "system"
_ORIGINALS = "/content/dam(/.*/)renditions/original"
_PROCESS = "com.day.cq.dam.core.process."

_UPDATE_ASSET_STEPS = (
    process_step("Gate Keeper", _PROCESS + "GateKeeperProcess"),
    process_step("Metadata Processor", _PROCESS + "MetadataProcessorProcess"),
    process_step(
        "Process Thumbnails",
        _PROCESS + "ThumbnailProcess",
        CONFIGS="[140:100:false,48:48:false,319:319:false]",
        WIDTH=1280,
        HEIGHT=1280,
        MIME_TYPE="image/jpeg",
        KEEP_FORMAT_LIST="image/png,image/gif",
        QUALITY=90,
        SKIP="audio/mpeg,video/(.*)",
    ),
    process_step(
        "DAM Update Asset Workflow Completed",
        "com.day.cq.dam.core.impl.process.DamUpdateAssetWorkflowCompletedProcess",
    ),
)
_OFFLOADING_STEPS = (
    process_step("Gate Keeper", _PROCESS + "GateKeeperProcess"),
    external_step(
        "DAM Workflow Offloading",
        _PROCESS + "AssetOffloadingProcess",
        jobTopic=engine.OFFLOADING_TOPIC,
        workflowModel=UPDATE_ASSET,
        offloadingInputIncludeWorkflowPayload="true",
        offloadingInputIncludeWorkflowModel="true",
        offloadingOutputIncludeWorkflowPayload="true",
        # Unlike in the original, the model does not come back: no worker has a reason to change it here.
        offloadingOutputIncludeWorkflowModel="false",
        period=5,
        timeout=3600,
    ),
)


def _launcher(event_type: int, condition: str, description: str) -> dict[str, Any]:
    return {
        "eventType": event_type,
        "nodetype": structure.FILE,
        "glob": _ORIGINALS,
        "conditions": [condition],
        "workflow": UPDATE_ASSET_OFFLOADING,
        "enabled": True,
        "description": description,
        "excludeList": f"event-user-data:{engine.USER_DATA}" if event_type == launchers.CHANGED else "",
        "runModes": "author",
    }


_NO_FILM, _FILM = "jcr:content/jcr:mimeType!=video/.*", "jcr:content/jcr:mimeType==video/.*"
_LAUNCHERS = {
    "update_asset_create": _launcher(launchers.ADDED, _NO_FILM, "A new original"),
    "update_asset_mod": _launcher(launchers.CHANGED, _NO_FILM, "A replaced original"),
    "update_asset_create_without_DM": _launcher(launchers.ADDED, _FILM, "A new original that is a film"),
    "update_asset_mod_without_DM": _launcher(launchers.CHANGED, _FILM, "A replaced original that is a film"),
}


def after_migrate(**_facts: object) -> None:
    """Install once all tables are there; a partial migration leaves it to the one that completes it."""
    tables = {model._meta.db_table for model in apps.get_models()}
    if tables.issubset(connection.introspection.table_names()):
        install()


@transaction.atomic
def install() -> None:
    """Bring the installation to what this version ships."""
    services.ensure_folder(path=structure.ROOT, by=_BY)
    catalog.install_model(path=UPDATE_ASSET, title="DAM Update Asset", steps=_UPDATE_ASSET_STEPS, by=_BY)
    catalog.install_model(
        path=UPDATE_ASSET_OFFLOADING, title="DAM Update Asset Offloading", steps=_OFFLOADING_STEPS, by=_BY
    )
    for name, properties in _LAUNCHERS.items():
        launchers.install_launcher(name=name, properties=properties, by=_BY)


def model_for_new_assets() -> str:
    """Return the model that the launcher for new originals starts, whether or not that is switched on."""
    launcher = services.get(f"{launchers.CONFIG}/update_asset_create")
    return str(launcher.properties.get("workflow") or UPDATE_ASSET_OFFLOADING) if launcher else UPDATE_ASSET_OFFLOADING
