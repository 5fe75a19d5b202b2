from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class DamConfig(AppConfig):
    name = "dam"

    def ready(self) -> None:
        from dam import installation, processes, receivers  # noqa: F401  # processes registers the steps of the models
        from workflow.signals import workflow_changed

        workflow_changed.connect(receivers.workflow_changed, dispatch_uid="dam.receivers")
        # Django tells only apps with models of their own that it has migrated; an asset is made of content nodes.
        below = apps.get_app_config("workflow")
        post_migrate.connect(installation.after_migrate, sender=below, dispatch_uid="dam.installation")
