"""The settings of the journeys, without the fence."""

from tests.journeys.settings import *  # noqa: F403
from tests.journeys.settings import INSTALLED_APPS as JOURNEYS

INSTALLED_APPS = [*JOURNEYS, "tests.journeys.unfenced"]
