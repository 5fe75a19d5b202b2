"""The left rail: what it offers, in which order. An entry shows as soon as its address exists."""

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True)
class Entry:
    """One line of the rail. `key` is the first part of the addresses it stands for, and so tells where one is."""

    label: str
    url_name: str
    key: str
    icon: str


ENTRIES = (
    Entry("Topology", "topology:cluster-list", "topology", "server-stack"),
    Entry("Offloading", "offloading:topic-list", "offloading", "arrows-right-left"),
    Entry("Jobs", "offloading:job-list", "jobs", "bolt"),
    Entry("Queues", "offloading:queue-list", "queues", "queue-list"),
    Entry("Replication", "offloading:agent-list", "replication", "paper-airplane"),
    Entry("Workflow", "workflow:workflow-list", "workflow", "rectangle-group"),
    Entry("Assets", "dam:root", "assets", "photo"),
    Entry("Audit", "audit:entry-list", "audit", "clipboard-document-list"),
)


@dataclass(frozen=True)
class Link:
    """An entry as it shows: where it leads, and whether the page asked for is one of its own."""

    label: str
    url: str
    icon: str
    is_current: bool


def links(path: str) -> list[Link]:
    """Return the entries whose addresses exist, with the one that `path` lies below marked."""
    section = path.strip("/").partition("/")[0]
    found = []
    for entry in ENTRIES:
        try:
            url = reverse(entry.url_name)
        except NoReverseMatch:
            continue
        found.append(Link(label=entry.label, url=url, icon=entry.icon, is_current=entry.key == section))
    return found
