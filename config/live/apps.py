from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "config.live"
    label = "live"

    def ready(self) -> None:
        from config.live import receivers
        from content.signals import node_changed
        from offloading.jobs.configuration import queues_changed
        from offloading.jobs.scheduling import schedules_changed
        from offloading.jobs.signals import jobs_changed
        from topology.signals import topology_changed
        from workflow.signals import workflow_changed

        node_changed.connect(receivers.on_node_changed)
        jobs_changed.connect(receivers.on_jobs_changed)
        queues_changed.connect(receivers.on_queues_changed)
        schedules_changed.connect(receivers.on_schedules_changed)
        topology_changed.connect(receivers.on_topology_changed)
        workflow_changed.connect(receivers.on_workflow_changed)
