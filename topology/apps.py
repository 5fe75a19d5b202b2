from django.apps import AppConfig


class TopologyConfig(AppConfig):
    name = "topology"

    def ready(self) -> None:
        from topology import checks, properties  # noqa: F401 - importing registers the checks

        properties.register(properties.STANDARD_NAMES, properties.standard)
