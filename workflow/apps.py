from django.apps import AppConfig


class WorkflowConfig(AppConfig):
    name = "workflow"

    def ready(self) -> None:
        from content.signals import node_changed
        from offloading.jobs.signals import jobs_changed
        from workflow import launchers, waiting

        node_changed.connect(launchers.node_changed, dispatch_uid="workflow.launchers")
        jobs_changed.connect(waiting.jobs_changed, dispatch_uid="workflow.waiting")
