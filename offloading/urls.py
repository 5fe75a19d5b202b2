"""Addresses of the Offloading Browser, the jobs and the replication agents, and the one that Granite's clients know."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter
from django.views.generic import RedirectView

from offloading.views import (
    families,
    granite,
    instances,
    jobs,
    metrics,
    queues,
    replication,
    schedules,
    statistics,
    topics,
)


class NameConverter(StringConverter):
    """A name as a database can look for it: PostgreSQL knows no NUL."""

    regex = r"[^/\x00]+"


register_converter(NameConverter, "name")

app_name = "offloading"
GRANITE = "libs/granite/offloading/content/view"
urlpatterns = [
    # Topics
    path("offloading/", topics.topic_list, name="topic-list"),
    path("offloading/switch/", topics.topic_switch, name="topic-switch"),
    path("offloading/instances/<name:sling_id>/", instances.instance_detail, name="instance-detail"),
    path("offloading/instances/<name:sling_id>/drain/", instances.instance_drain, name="instance-drain"),
    # Jobs
    path("offloading/jobs/", jobs.job_list, name="job-list"),
    path("offloading/jobs/bulk/", jobs.job_bulk, name="job-bulk"),
    path("offloading/jobs/<uuid:job_id>/", jobs.job_detail, name="job-detail"),
    path("offloading/jobs/<uuid:job_id>/retry/", jobs.job_retry, name="job-retry"),
    path("offloading/jobs/<uuid:job_id>/stop/", jobs.job_stop, name="job-stop"),
    path("offloading/jobs/<uuid:job_id>/remove/", jobs.job_remove, name="job-remove"),
    path("offloading/jobs/<uuid:job_id>/move/", jobs.job_move, name="job-move"),
    # Failures
    path("offloading/failures/", families.family_list, name="family-list"),
    path("offloading/failures/<name:fingerprint>/", families.family_detail, name="family-detail"),
    path("offloading/failures/<name:fingerprint>/retry-one/", families.family_retry_one, name="family-retry-one"),
    path("offloading/failures/<name:fingerprint>/retry-all/", families.family_retry_all, name="family-retry-all"),
    path("offloading/failures/<name:fingerprint>/remove/", families.family_remove, name="family-remove"),
    # Queues
    path("offloading/queues/", queues.queue_list, name="queue-list"),
    path("offloading/queues/configurations/new/", queues.queue_new, name="queue-new"),
    path("offloading/queues/pauses/new/", queues.topic_pause, name="topic-pause"),
    path("offloading/queues/pauses/end/", queues.topic_resume, name="topic-resume"),
    path("offloading/queues/<name:name>/", queues.queue_detail, name="queue-detail"),
    path("offloading/queues/<name:name>/edit/", queues.queue_edit, name="queue-edit"),
    path("offloading/queues/<name:name>/remove/", queues.queue_remove, name="queue-remove"),
    path("offloading/queues/<name:name>/pause/", queues.queue_pause, name="queue-pause"),
    path("offloading/queues/<name:name>/resume/", queues.queue_resume, name="queue-resume"),
    path("offloading/pauses/", queues.pause_notice, name="pause-notice"),
    # Schedules
    path("offloading/schedules/", schedules.schedule_list, name="schedule-list"),
    path("offloading/schedules/new/", schedules.schedule_create, name="schedule-create"),
    path("offloading/schedules/<name:name>/", schedules.schedule_detail, name="schedule-detail"),
    path("offloading/schedules/<name:name>/times/", schedules.schedule_change, name="schedule-change"),
    path("offloading/schedules/<name:name>/suspend/", schedules.schedule_suspend, name="schedule-suspend"),
    path("offloading/schedules/<name:name>/resume/", schedules.schedule_resume, name="schedule-resume"),
    path("offloading/schedules/<name:name>/run/", schedules.schedule_run, name="schedule-run"),
    path("offloading/schedules/<name:name>/remove/", schedules.schedule_remove, name="schedule-remove"),
    # Statistics
    path("offloading/jobs/statistics/", statistics.statistics_page, name="statistics"),
    path("offloading/jobs/statistics/reset/", statistics.statistics_reset, name="statistics-reset"),
    path("metrics", metrics.exposition, name="metrics"),
    # Replication
    path("offloading/replication/", replication.agent_list, name="agent-list"),
    path(
        "offloading/replication/transfers/<int:transfer_id>/retry/", replication.transfer_retry, name="transfer-retry"
    ),
    # Granite
    path(f"{GRANITE}.html", RedirectView.as_view(pattern_name="offloading:topic-list")),
    path(f"{GRANITE}/views/wrapper/items/servletComponentPlaceholder.list.json", granite.topics, name="granite-topics"),
    path(
        f"{GRANITE}/views/wrapper/items/servletComponentPlaceholder.config.html",
        granite.configure,
        name="granite-config",
    ),
]
