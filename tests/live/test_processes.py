"""A hint from one process reaches the browser at another: real files, a real server, a real websocket."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
LOG_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
user = User.objects.create_user("reader")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path):
    outside = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    return outside | {"OFFLOADING_HOME": str(tmp_path / "home"), "OFFLOADING_PORT": str(free_port())}


def manage(environment: dict[str, str], *words: str) -> str:
    command = [sys.executable, "manage.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def server(environment):
    manage(environment, "migrate", "-v0")
    port = environment["OFFLOADING_PORT"]
    command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", port, "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    yield f"ws://127.0.0.1:{port}/live/"
    process.terminate()
    process.wait(20)


def dial(url: str, cookie: str):
    """Connect as soon as the server listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect(url, additional_headers={"Cookie": cookie}, origin=url.replace("ws", "http", 1)[:-6])
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)


def test_hint_of_another_process_arrives(server, environment):
    cookie = manage(environment, "shell", "-v0", "-c", LOG_IN).strip()
    with dial(server, cookie) as browser:
        manage(environment, "shell", "-v0", "-c", "from config.live import outbox; outbox.hint('replication', 'x')")
        assert json.loads(browser.recv(timeout=10)) == {"kinds": ["replication"], "keys": ["x"]}
