"""Callers of the API."""

import pytest

from tests.offloading import api


@pytest.fixture
def staff(admin):
    """Return a program that acts as somebody who may do everything."""
    return api.Caller(admin)


@pytest.fixture
def looker(reader):
    """Return a program that acts as somebody who may look and no more."""
    return api.Caller(reader)
