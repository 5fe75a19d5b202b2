"""Does what a journey asks for inside an installation: a JSON array a line, `[name, ...arguments]`, an answer a line.

A process that stays, as loading the project takes longer than all the rest.
"""

import hashlib
import json
import sys

import django

if __name__ == "__main__":
    django.setup()
    from content import blobs
    from content import services as content
    from offloading import services
    from offloading.jobs import manager
    from offloading.transport import payload
    from topology import identity
    from topology import services as topology

    def put(path: str, size: int, seed: str) -> str:
        """Make or replace a node with `size` bytes, always the same for one seed."""
        pattern = hashlib.sha256(seed.encode()).digest()
        digest = blobs.store([(pattern * (size // len(pattern) + 1))[:size]]).digest
        if content.get(path) is None:
            content.create_node(path=path, primary_type="nt:file", binaries={"jcr:data": digest}, by="journey")
        else:
            content.set_properties(path=path, binaries={"jcr:data": digest}, by="journey")
        return digest

    def remove(path: str) -> None:
        content.remove_node(path=path, by="journey")

    def add(node: str | None, seconds: float = 0) -> str:
        """Add a job that takes `node` along and brings it back."""
        from tests.journeys.freight.job_consumers import TOPIC

        properties = {payload.INPUT: node, payload.OUTPUT: node, "node": node} if node else {}
        return manager.add_job(TOPIC, properties | {"seconds": seconds}).id.hex

    def switch(sling_id: str, topic: str, action: str) -> None:
        services.configure_instance(sling_id=sling_id or identity.sling_id(), actions={topic: action}, by="journey")

    def read(path: str) -> dict[str, object] | None:
        """Return the properties of a node and the digests of its binaries."""
        node = content.get(path)
        return node and node.properties | {name: ref.digest for name, ref in node.binaries.items()}

    def children(path: str) -> list[str]:
        return [node.path for node in content.children(path)]

    def instances() -> list[str]:
        return [each.sling_id for each in topology.current_view().instances]

    acts = {act.__name__: act for act in (put, remove, add, switch, read, children, instances)}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(acts[name](*arguments)), flush=True)  # noqa: T201  the answer
