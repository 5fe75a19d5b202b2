"""Callers of the API, for its tests."""

import json

from django.test import Client
from rest_framework.authtoken.models import Token

ROOT = "/api/v1"


class Caller:
    """Sends JSON with the token of a person, and keeps the answer that came last."""

    def __init__(self, user):
        self._client = Client(headers={"Authorization": f"Token {Token.objects.create(user=user).key}"})

    def get(self, path, **parameters):
        return self._client.get(_address(path), parameters)

    def post(self, path, body=None):
        return self._send("post", path, body)

    def put(self, path, body):
        return self._send("put", path, body)

    def delete(self, path):
        return self._client.delete(_address(path))

    def raw(self, path, data, content_type="application/json"):
        return self._client.post(_address(path), data=data, content_type=content_type)

    def _send(self, method, path, body):
        data = "" if body is None else json.dumps(body)
        return getattr(self._client, method)(_address(path), data=data, content_type="application/json")


def wrong(answer, status=400):
    """Return the fields that a problem names, each with what it says. Fails if it is no whole problem."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:offloading:problem:")
    assert problem["title"] and problem["detail"]
    assert problem["errors"] and all(each["message"] and each["remedy"] for each in problem["errors"])
    return {each["field"]: each["message"] for each in problem["errors"]}


def _address(path):
    return path if path.startswith("/") else f"{ROOT}/{path}"
