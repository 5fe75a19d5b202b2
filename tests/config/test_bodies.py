"""The limit in front of Django, called as a server calls it, and once by a server."""

import json
import socket
import threading
import time

import pytest
import uvicorn
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator

from config.bodies import BodyLimit

LIMIT = 100
SPARE = 1024 * 1024


@pytest.fixture(autouse=True)
def limit(settings):
    settings.OFFLOADING_UPLOAD_BYTES = LIMIT


async def reading(scope, receive, send):
    """Do with a body what Django does: take all of it in, and give up in silence if the caller hangs up."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@async_to_sync
async def ask(pieces, *, application=reading, path="/assets/upload/content/dam", **headers):
    """Send the pieces of a body; return status, headers and body of the answer, and how many pieces were not read."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    caller = ApplicationCommunicator(BodyLimit(application), scope)
    for number, piece in enumerate(pieces, start=1):
        await caller.send_input({"type": "http.request", "body": piece, "more_body": number < len(pieces)})
    start = await caller.receive_output(1)
    body = await caller.receive_output(1)
    await caller.wait()
    return start["status"], dict(start["headers"]), body["body"], caller.input_queue.qsize()


def test_body_within_the_limit_passes():
    assert ask([b"x" * 60, b"x" * 40], content_length="100")[::2] == (200, b"100")
    assert ask([b""])[::2] == (200, b"0")


def test_announced_body_above_the_limit_is_refused_unread():
    status, headers, body, unread = ask([b"x"], content_length=str(LIMIT + SPARE + 1))
    assert (status, unread) == (413, 1)
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert body == (
        b"That is more than 100 bytes, the most that is taken at once here. "
        b"Send less, or raise OFFLOADING_UPLOAD_BYTES on this instance.\n"
    )


def test_body_of_unknown_length_is_ended_at_the_limit():
    status, _, body, unread = ask([b"x" * LIMIT, b"x" * SPARE, b"x", b"x"], accept="application/json")
    assert (status, unread) == (413, 1)
    assert set(json.loads(body)) == {"error", "remedy"}


def test_length_that_is_none_is_no_way_around():
    assert ask([b"x" * (LIMIT + SPARE), b"x"], content_length="-1")[0] == 413


def test_other_instances_may_send_documents_of_their_size():
    assert ask([b"x"], path="/bin/receive", content_length=str(64 * 1024**2))[0] == 200
    status, _, body, _ = ask([b"x"], path="/bin/receive", content_length=str(66 * 1024**2))
    assert (status, set(json.loads(body))) == (413, {"error", "remedy"})


@pytest.fixture
def port():
    """Serve Django behind the limit with uvicorn in a thread of this process."""
    from config.asgi import application

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, ws="none", lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("length", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_server_answers_and_hangs_up(port, length):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.sendall(f"POST /assets/upload/content/dam HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
        if "chunked" in length:
            caller.sendall(b"%x\r\n" % (LIMIT + SPARE + 1) + b"x" * (LIMIT + SPARE + 1))
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"on this instance.\n")
