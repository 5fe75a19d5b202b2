"""The websocket through the real ASGI application: who gets in, and what they hear."""

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.layers import InMemoryChannelLayer, channel_layers
from django.db import connection

from config.asgi import application
from config.live import outbox, tail

pytestmark = pytest.mark.django_db(transaction=True)
ORIGIN = b"http://localhost"


class Browser(ApplicationCommunicator):
    """One end of a websocket. (channels' own communicator needs a server package that we have no use for.)"""

    def __init__(self, client=None, *, origin: bytes = ORIGIN, path: str = "/live/"):
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items()) if client else ""
        headers = [(b"origin", origin), (b"host", b"localhost"), (b"cookie", cookies.encode())]
        super().__init__(application, {"type": "websocket", "path": path, "headers": headers, "subprotocols": []})

    async def connect(self) -> bool:
        await self.send_input({"type": "websocket.connect"})
        return (await self.receive_output(5))["type"] == "websocket.accept"

    async def hear(self) -> str:
        return (await self.receive_output(5))["text"]

    async def close(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(5)


def is_let_in(*args, **kwargs) -> bool:
    async def attempt():
        browser = Browser(*args, **kwargs)
        is_in = await browser.connect()
        await browser.close()
        return is_in

    return async_to_sync(attempt)()


def test_somebody_logged_in_is_let_in(reader_client):
    assert is_let_in(reader_client)


def test_nobody_else_is_let_in():
    assert not is_let_in()


def test_page_of_another_origin_is_not_let_in(reader_client):
    assert not is_let_in(reader_client, origin=b"http://evil.example")


def test_no_other_path_is_served(reader_client):
    assert not is_let_in(reader_client, path="/live/more/")


def test_hints_of_another_thread_arrive_and_what_the_browser_says_is_ignored(reader_client):
    async def listen():
        browser = Browser(reader_client)
        assert await browser.connect()
        await browser.send_input({"type": "websocket.receive", "text": '{"kinds": ["jobs"]}'})
        await asyncio.to_thread(leave_two_hints)
        heard = await browser.hear()
        await browser.close()
        return heard

    assert async_to_sync(listen)() == '{"kinds": ["assets", "jobs"], "keys": ["/content/dam/a.jpg"]}'


def leave_two_hints():
    def leave():
        outbox.hint("jobs")
        outbox.hint("assets", "/content/dam/a.jpg")
        connection.close()

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()


class Faltering(InMemoryChannelLayer):
    """A channel layer whose server is away for the first message."""

    is_away = True

    async def group_send(self, group, message):
        if self.is_away:
            self.is_away = False
            raise ConnectionError("no server")
        await super().group_send(group, message)


def test_hints_arrive_again_when_the_channel_layer_is_back(reader_client, settings, monkeypatch, caplog):
    monkeypatch.setattr(tail, "AFTER_ERROR_SECONDS", 0.1)
    layer = Faltering()
    monkeypatch.setattr(channel_layers, "backends", {"default": layer})

    async def listen():
        browser = Browser(reader_client)
        assert await browser.connect()
        await asyncio.to_thread(leave_two_hints)
        while layer.is_away:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(leave_two_hints)
        heard = await browser.hear()
        await browser.close()
        return heard

    assert "jobs" in async_to_sync(listen)()
