from django.apps import AppConfig


class TopologyConfig(AppConfig):
    name = "topology"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from topology import checks, properties, sessions  # noqa: F401 - importing registers the checks

        properties.register(properties.STANDARD_NAMES, properties.standard)
        connection_created.connect(sessions.notice_dead_clients)
