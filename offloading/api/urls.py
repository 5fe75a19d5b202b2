"""Addresses of the API, below /api/v1/."""

from django.urls import path

from offloading.api import endpoint, families, jobs, queues, schedules, statistics

app_name = "api"
urlpatterns = [
    # Jobs
    path("jobs/", jobs.Jobs.as_view(), name="jobs"),
    path("jobs/bulk/", jobs.JobsBulk.as_view(), name="jobs-bulk"),
    path("jobs/actions/", jobs.JobActions.as_view(), name="job-actions"),
    path("jobs/statistics/", statistics.Statistics.as_view(), name="statistics"),
    path("jobs/statistics/reset/", statistics.StatisticsReset.as_view(), name="statistics-reset"),
    path("jobs/<uuid:job_id>/", jobs.OneJob.as_view(), name="job"),
    path("jobs/<uuid:job_id>/retry/", jobs.JobRetry.as_view(), name="job-retry"),
    path("jobs/<uuid:job_id>/stop/", jobs.JobStop.as_view(), name="job-stop"),
    path("jobs/<uuid:job_id>/move/", jobs.JobMove.as_view(), name="job-move"),
    # Queues and pauses
    path("queues/", queues.Queues.as_view(), name="queues"),
    path("queues/<str:name>/", queues.OneQueue.as_view(), name="queue"),
    path("queues/<str:name>/pause/", queues.QueuePause.as_view(), name="queue-pause"),
    path("queues/<str:name>/resume/", queues.QueueResume.as_view(), name="queue-resume"),
    path("topics/pauses/", queues.TopicPauses.as_view(), name="topic-pauses"),
    path("topics/pauses/<path:topic>/", queues.TopicPause.as_view(), name="topic-pause"),
    # Schedules
    path("schedules/", schedules.Schedules.as_view(), name="schedules"),
    path("schedules/<str:name>/", schedules.OneSchedule.as_view(), name="schedule"),
    path("schedules/<str:name>/times/", schedules.ScheduleTimes.as_view(), name="schedule-times"),
    path("schedules/<str:name>/suspend/", schedules.ScheduleSuspend.as_view(), name="schedule-suspend"),
    path("schedules/<str:name>/resume/", schedules.ScheduleResume.as_view(), name="schedule-resume"),
    path("schedules/<str:name>/run/", schedules.ScheduleRun.as_view(), name="schedule-run"),
    # Failures
    path("failure-families/", families.Families.as_view(), name="families"),
    path("failure-families/<str:fingerprint>/", families.OneFamily.as_view(), name="family"),
    path("failure-families/<str:fingerprint>/retry-one/", families.FamilyRetryOne.as_view(), name="family-retry-one"),
    path("failure-families/<str:fingerprint>/retry-all/", families.FamilyRetryAll.as_view(), name="family-retry-all"),
    path("failure-families/<str:fingerprint>/remove/", families.FamilyRemove.as_view(), name="family-remove"),
    path("<path:address>", endpoint.Nowhere.as_view(), name="nowhere"),
]
