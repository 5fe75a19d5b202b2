"""The replication agents, as nodes below /etc/replication/agents.author that follow the topology by themselves.

`offloading_<sling id>` stands for the way to one instance of another cluster. It appears when the instance does,
follows its endpoint, and goes when the instance goes, unless somebody has switched it off: that decision is kept for
its return. A switched-off agent sends nothing. Names and properties are those of the talk and of CQ's agents.
"""

import logging
from typing import Any

from content import paths
from content import services as content
from topology import snapshot

log = logging.getLogger(__name__)

FOLDER = "/etc/replication/agents.author"
PREFIX = "offloading_"
BY = "offloading-agentmanager"
_CONTENT = "jcr:content"


def agent_path(sling_id: str) -> str:
    """Return the node of the agent for an instance of another cluster."""
    return f"{FOLDER}/{PREFIX}{sling_id}"


def follow(view: snapshot.TopologyView) -> None:
    """Bring the agents to what the view shows. Calling twice is safe; each agent is written only if it differs."""
    others = {each.sling_id: each for each in view.instances if not view.is_local_member(each.sling_id)}
    content.ensure_folder(path=FOLDER, by=BY)
    standing = {
        paths.name(node.path).removeprefix(PREFIX): node
        for node in content.children(FOLDER)
        if node.name.startswith(PREFIX)
    }
    for sling_id, instance in others.items():
        if sling_id not in standing:
            _make(instance)
        else:
            _adjust(instance)
    for sling_id in standing.keys() - others.keys():
        _retire(sling_id)


def paused() -> set[str]:
    """Return the sling ids of the instances whose agents were switched off."""
    return {
        paths.name(paths.parent(node.path)).removeprefix(PREFIX)
        for node in content.read_subtree(FOLDER)
        if node.name == _CONTENT and node.properties.get("enabled") is False
    }


def _make(instance: snapshot.InstanceDescription) -> None:
    path = agent_path(instance.sling_id)
    page = content.Tree("cq:PageContent", _settings(instance))
    tree = content.Tree("cq:Page", children={_CONTENT: page})
    try:
        content.create_tree(path=path, tree=tree, by=BY)
    except content.NodeExists:
        return  # another member of the cluster was quicker
    log.info("agent made", extra={"agent": path, "endpoint": instance.endpoint})


def _settings(instance: snapshot.InstanceDescription) -> dict[str, Any]:
    return {
        "jcr:title": f"Offloading to {instance.label}",
        "jcr:description": "Sends jobs with their payload to this instance. Made and kept up to date automatically.",
        "sling:resourceType": "cq/replication/components/agent",
        "enabled": True,
        "transportUri": _uri(instance),
        "protocolHTTPMethod": "POST",
        "serializationType": "Default",
        # Milliseconds. Tries begin half a second apart and double up to this.
        "retryDelay": 60_000,
        "triggerSpecific": True,
        "userId": "offloading-service",
        "logLevel": "info",
    }


def _uri(instance: snapshot.InstanceDescription) -> str:
    return f"{instance.endpoint.rstrip('/')}/bin/receive" if instance.endpoint else ""


def _adjust(instance: snapshot.InstanceDescription) -> None:
    """Follow the endpoint; what people set otherwise stays."""
    path = f"{agent_path(instance.sling_id)}/{_CONTENT}"
    node = content.get(path)
    title = f"Offloading to {instance.label}"
    if node is not None and node.properties.get("transportUri") != _uri(instance):
        content.set_properties(path=path, properties={"transportUri": _uri(instance), "jcr:title": title}, by=BY)
        log.info("agent follows", extra={"agent": path, "endpoint": instance.endpoint})


def _retire(sling_id: str) -> None:
    path = agent_path(sling_id)
    page = content.get(f"{path}/{_CONTENT}")
    if page is None or page.properties.get("enabled") is not False:
        content.remove_node(path=path, by=BY)
        log.info("agent removed", extra={"agent": path})
