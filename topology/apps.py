from django.apps import AppConfig


class TopologyConfig(AppConfig):
    name = "topology"

    def ready(self) -> None:
        from topology import properties

        properties.register(properties.STANDARD_NAMES, properties.standard)
