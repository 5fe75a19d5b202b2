"""Tells at every start which settings of the topology cannot mean what they say."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from topology.connectors import allowlist


@register()
def connector_settings(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    wrong_urls = [url for url in settings.OFFLOADING_CONNECTOR_URLS if not _is_address(url)]
    return [
        *(
            Error(
                f"OFFLOADING_CONNECTOR_URLS has {url!r}, which is no address of a connector.",
                hint="Write it as http://host:4502/libs/sling/topology/connector.",
                id="topology.E001",
            )
            for url in wrong_urls
        ),
        *(
            Warning(
                f"OFFLOADING_CONNECTOR_WHITELIST has {entry!r}, which is no subnet and lets nobody in.",
                hint="Write it as 10.0.0.0/24 or as '10.0.0.0 255.255.255.0'.",
                id="topology.W001",
            )
            for entry in allowlist.malformed(settings.OFFLOADING_CONNECTOR_WHITELIST)
        ),
    ]


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
