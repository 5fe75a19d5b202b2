from django.apps import AppConfig


class WorkflowConfig(AppConfig):
    name = "workflow"

    def ready(self) -> None:
        from content.signals import node_changed
        from offloading.jobs.signals import job_changed
        from workflow import launchers, waiting

        node_changed.connect(launchers.node_changed, dispatch_uid="workflow.launchers")
        job_changed.connect(waiting.job_changed, dispatch_uid="workflow.waiting")
