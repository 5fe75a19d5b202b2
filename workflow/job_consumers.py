"""The job consumers of the workflow engine; what they run is in execution.py."""

from offloading.jobs.consumers import JobConsumer, JobResult, RunningJob, job_consumer
from workflow import engine, execution, offloaded, processes
from workflow.models import Workflow


@job_consumer
class WorkflowJobConsumer(JobConsumer):
    """Runs an instance of this installation from where its job begins to its end or its next external step."""

    topics = (engine.TOPIC,)

    def process(self, job: RunningJob) -> JobResult:
        workflow = Workflow.objects.filter(pk=job.get(engine.WORKFLOW_ID)).first()
        if workflow is None:
            job.message = (
                f"This installation has no workflow {job.get(engine.WORKFLOW_ID)}. Enable {engine.TOPIC} on an "
                "instance of the installation that started it."
            )
            return JobResult.CANCEL
        return execution.run(workflow, job)


@job_consumer
class WorkflowOffloadingJobConsumer(JobConsumer):
    """Runs a whole workflow on the payload that the job names. The job ends when the workflow has ended."""

    topics = (engine.OFFLOADING_TOPIC,)

    def process(self, job: RunningJob) -> JobResult:
        try:
            workflow = offloaded.open_workflow(job)
        except processes.ProcessFailed as error:
            job.message = str(error)
            return JobResult.CANCEL
        return execution.run(workflow, job)
