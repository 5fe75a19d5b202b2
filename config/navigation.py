"""The left rail: what it offers, in which order. An entry shows as soon as its address exists."""

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True)
class Entry:
    """One line of the rail. `key` is the letter that leads there, where it has one (templates/ui/_keys.html)."""

    label: str
    url_name: str
    key: str
    icon: str


ENTRIES = (
    Entry("Topology", "topology:cluster-list", "t", "server-stack"),
    Entry("Offloading", "offloading:topic-list", "o", "arrows-right-left"),
    Entry("Jobs", "offloading:job-list", "j", "bolt"),
    Entry("Failures", "offloading:family-list", "", "exclamation-triangle"),
    Entry("Queues", "offloading:queue-list", "q", "queue-list"),
    Entry("Schedules", "offloading:schedule-list", "", "calendar-days"),
    Entry("Replication", "offloading:agent-list", "", "paper-airplane"),
    Entry("Workflow", "workflow:workflow-list", "w", "rectangle-group"),
    Entry("Assets", "dam:root", "a", "photo"),
    Entry("Audit", "audit:entry-list", "", "clipboard-document-list"),
)


@dataclass(frozen=True)
class Link:
    """An entry as it shows: where it leads, and whether the page asked for is one of its own."""

    label: str
    url: str
    key: str
    icon: str
    is_current: bool


def links(path: str) -> list[Link]:
    """Return the entries whose addresses exist; the one that `path` lies below, most exactly, is marked."""
    found = [(entry, url) for entry in ENTRIES if (url := _address(entry.url_name))]
    current = max((url for _, url in found if path.startswith(url)), key=len, default="")
    return [Link(entry.label, url, entry.key, entry.icon, is_current=url == current) for entry, url in found]


def _address(url_name: str) -> str:
    try:
        return reverse(url_name)
    except NoReverseMatch:
        return ""
