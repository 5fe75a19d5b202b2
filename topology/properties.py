"""What an instance tells about itself: providers register names, the agent asks them with every heartbeat.

Values are text. If two providers tell the same name, the higher ranking wins, and on equal ranking the earlier one.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError

from topology import snapshot

logger = logging.getLogger(__name__)

Provider = Callable[[str], dict[str, str]]

VALID_NAME = re.compile(r"[a-zA-Z0-9._-]+")


@dataclass(frozen=True)
class _Registration:
    names: frozenset[str]
    provider: Provider
    ranking: int


_registrations: list[_Registration] = []
# Providers that failed when they were last asked: each failure is logged when it begins, not with every heartbeat.
_failing: set[Provider] = set()


def is_valid_name(name: str) -> bool:
    return VALID_NAME.fullmatch(name) is not None


def register(names: Iterable[str], provider: Provider, ranking: int = 0) -> None:
    """Have `provider(sling_id)` asked for these names; what it leaves out is not told, what it adds is dropped."""
    declared = frozenset(names)
    if wrong := sorted(name for name in declared if not is_valid_name(name)):
        raise ValueError(f"Property names may hold letters, digits, '.', '_' and '-': {', '.join(map(repr, wrong))}.")
    _registrations.append(_Registration(declared, provider, ranking))


def unregister(provider: Provider) -> None:
    _registrations[:] = [entry for entry in _registrations if entry.provider is not provider]


def collect(sling_id: str) -> dict[str, str]:
    """Ask every provider and return what this instance tells about itself."""
    found: dict[str, str] = {}
    # The strongest first, of equal rankings the earlier registration: what is found already stays.
    for entry in sorted(_registrations, key=lambda entry: -entry.ranking):
        answer = _ask(entry.provider, sling_id)
        found = {name: answer[name] for name in entry.names & answer.keys()} | found
    return dict(sorted(found.items()))


def _ask(provider: Provider, sling_id: str) -> dict[str, str]:
    try:
        answer = provider(sling_id)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if provider not in _failing:
            logger.exception("property provider failed", extra={"provider": provider})
        _failing.add(provider)
        return {}
    _failing.discard(provider)
    return answer


def standard(sling_id: str) -> dict[str, str]:
    """Tell what every instance tells: its name, what it is, where it is reached."""
    return {
        snapshot.NAME: settings.OFFLOADING_NAME or f"Instance {sling_id}",
        snapshot.DESCRIPTION: settings.OFFLOADING_DESCRIPTION or f"Instance with id {sling_id}",
        snapshot.ENDPOINTS: settings.OFFLOADING_ENDPOINT,
        snapshot.CONSOLE_PATH: "/system/console",
    }


STANDARD_NAMES = (snapshot.NAME, snapshot.DESCRIPTION, snapshot.ENDPOINTS, snapshot.CONSOLE_PATH)
