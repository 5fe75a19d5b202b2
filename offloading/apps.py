from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules


class OffloadingConfig(AppConfig):
    name = "offloading"

    def ready(self) -> None:
        from offloading import capabilities
        from offloading.jobs import audit, configuration, consumers, notifications, pauses
        from offloading.transport import news
        from topology import properties, wakeup

        autodiscover_modules("job_consumers")
        consumers.load(settings.OFFLOADING_CONSUMERS)
        properties.register(capabilities.PROPERTY_NAMES, capabilities.announce)
        news.connect()
        notifications.connect()
        audit.connect()
        wakeup.on("queues", configuration.forget)
        wakeup.on("queues", pauses.forget)
