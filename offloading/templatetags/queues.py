"""How the state of a queue looks: one icon, one word, one tone."""

from django import template

from offloading.jobs.overview import QueueState
from offloading.models import QueueType
from offloading.templatetags import jobs

register = template.Library()


@register.inclusion_tag(jobs.BADGE)
def queue_state(state: QueueState) -> dict[str, object]:
    """Show what a queue does now, what keeps it from working first."""
    if state.pause:
        return jobs.badge(("warn", "pause-circle"), "Paused")
    if state.settings.type == QueueType.DROP:
        return jobs.badge(("warn", "no-symbol"), "Refuses jobs")
    if state.settings.type == QueueType.IGNORE:
        return jobs.badge(("warn", "archive-box"), "Keeps jobs")
    if state.active:
        return jobs.badge(("busy", "arrow-path"), "Running", moving=True)
    return jobs.badge(("quiet", "clock"), "Waiting") if state.ready else jobs.badge(("quiet", "check"), "Idle")
