"""The jobs that this app does itself: those that look after other jobs."""

from django.utils import timezone

from offloading import exceptions
from offloading.jobs import history
from offloading.jobs.consumers import JobExecutionContext, JobExecutionResult, JobExecutor, job_consumer
from offloading.jobs.running import RunningJob


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


def _jobs(count: int) -> str:
    return f"{count} finished job{'' if count == 1 else 's'}"
