"""The product's settings, with the job that does nothing."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PRODUCT

INSTALLED_APPS = [*PRODUCT, "tests.benchmarks.engines.noop"]
