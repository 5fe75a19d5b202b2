"""The jobs that this app does itself: those that look after other jobs."""

from django.utils import timezone

from offloading import exceptions
from offloading.jobs import bulk, history
from offloading.jobs.consumers import JobExecutionContext, JobExecutionResult, JobExecutor, job_consumer
from offloading.jobs.running import RunningJob
from offloading.models import Job


@job_consumer
class HistoryCleanUp(JobExecutor):
    """Deletes finished jobs by age, topic and state. Properties: see `history.read_request`."""

    topics = ("org/apache/sling/event/impl/jobs/tasks/HistoryCleanUpTask",)

    def process(self, job: RunningJob, context: JobExecutionContext) -> JobExecutionResult:
        try:
            request = history.read_request(job.properties, timezone.now())
        except exceptions.PropertiesInvalid as error:
            return context.result().message(str(error)).cancelled()
        context.init_progress(history.count(request))
        deleted = 0
        for seen, rows in history.delete(request):
            deleted += rows
            context.increment_progress(seen)
            if context.is_stopped:
                return context.result().message(f"Stopped after {_jobs(deleted)}.").cancelled()
        return context.result().message(f"{_jobs(deleted)} deleted.").succeeded()


@job_consumer
class BulkOrder(JobExecutor):
    """Does something to all jobs of a filter. Properties: see `bulk.Order`."""

    topics = (bulk.TOPIC,)

    def process(self, job: RunningJob, context: JobExecutionContext) -> JobExecutionResult:
        try:
            order = bulk.Order.from_properties(job.properties)
        except exceptions.QueryInvalid as error:
            return context.result().message(str(error)).cancelled()
        given_at = Job.objects.values_list("created_at", flat=True).get(pk=job.id)
        context.init_progress(bulk.meant(order, job.id, given_at).count())
        report = bulk.carry_out(order, job_id=job.id, given_at=given_at, progress=context)
        result = context.result().message(str(report))
        return result.cancelled() if report.is_stopped or report.has_failed else result.succeeded()


def _jobs(count: int) -> str:
    return f"{count} finished job{'' if count == 1 else 's'}"
