"""What all tests share: every test has its own home and blob store, and there are people and their browsers."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from offloading.jobs import configuration, pauses, placement


@pytest.fixture(autouse=True)
def own_home(settings, tmp_path):
    """Point everything that is kept in files to a folder of this test."""
    settings.OFFLOADING_HOME = tmp_path
    settings.OFFLOADING_DATA = tmp_path
    settings.OFFLOADING_BLOBS = tmp_path / "blobs"
    return tmp_path


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """Passwords are hashed a million times over, on purpose; no test is about that."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    """Each test has its own database: what was read from another one must not be taken for this one's."""
    for module in (configuration, pauses, placement):
        monkeypatch.setattr(module, "CACHE_SECONDS", 0.0)
        module.forget()


@pytest.fixture
def admin(db):
    """Return somebody who may do everything."""
    return get_user_model().objects.create_superuser("admin", password="admin")


@pytest.fixture
def reader(db):
    """Return somebody who may look and no more."""
    return get_user_model().objects.create_user("reader", password="reader")


@pytest.fixture
def staff_client(admin):
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def reader_client(reader):
    client = Client()
    client.force_login(reader)
    return client
