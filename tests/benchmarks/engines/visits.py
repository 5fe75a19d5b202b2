"""A person's browser, as far as a clock needs it: logs in, and measures the time to the first byte of a page."""

import http.client
import re
import time
from urllib.parse import urlencode

from config import demo

VISITS = 20


class Visitor:
    """Somebody who is logged in, on one connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(demo.HOST, port, timeout=120)
        self._cookies: dict[str, str] = {}
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self._ask("GET", "/login/")[1])
        assert token, "the log-in page has no form"
        form = {"csrfmiddlewaretoken": token[1], "username": demo.USERNAME, "password": demo.PASSWORD}
        status, _, _ = self._ask("POST", "/login/", urlencode(form))
        if status != 302:
            raise RuntimeError(f"The log-in was answered with {status}, not with a redirect")

    def first_byte(self, path: str, **query: str) -> float:
        """Return p95 of the milliseconds to the first byte of the page; it must be one."""
        address = f"{path}?{urlencode({key: value for key, value in query.items() if value})}"
        self._ask("GET", address)  # what is loaded once is not what is measured
        waits = []
        for _ in range(VISITS):
            status, _, seconds = self._ask("GET", address)
            if status != 200:
                raise RuntimeError(f"{address} was answered with {status}")
            waits.append(seconds * 1000)
        return sorted(waits)[int(0.95 * len(waits)) - 1]

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, address: str, body: str | None = None) -> tuple[int, str, float]:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        began = time.perf_counter()
        self._connection.request(method, address, body, headers)
        response = self._connection.getresponse()
        seconds = time.perf_counter() - began
        text = response.read().decode(errors="replace")
        for cookie in response.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return response.status, text, seconds
