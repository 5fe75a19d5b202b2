"""Callers of the API, for its tests. What they are answered must be what the OpenAPI document says."""

import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import yaml
from django.test import Client
from rest_framework.authtoken.models import Token

ROOT = "/api/v1"
DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs/reference/openapi.yaml"


class Caller:
    """Sends JSON with the token of a person."""

    def __init__(self, user):
        self._client = Client(headers={"Authorization": f"Token {Token.objects.create(user=user).key}"})

    def get(self, path, **parameters):
        return _checked("get", self._client.get(_address(path), parameters))

    def post(self, path, body=None):
        return self._send("post", path, body)

    def put(self, path, body):
        return self._send("put", path, body)

    def delete(self, path):
        return _checked("delete", self._client.delete(_address(path)))

    def raw(self, path, data, content_type="application/json"):
        return _checked("post", self._client.post(_address(path), data=data, content_type=content_type))

    def _send(self, method, path, body):
        data = "" if body is None else json.dumps(body)
        send = getattr(self._client, method)
        return _checked(method, send(_address(path), data=data, content_type="application/json"))


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


@cache
def document():
    """Return the OpenAPI document."""
    return yaml.safe_load(DOCUMENT.read_text())


def _checked(method, answer):
    """Return the answer if it has the status and the shape that the document has for the operation."""
    operation = _operations().get(_template(answer.wsgi_request.path), {}).get(method)
    if operation is None:
        return answer
    told = operation["responses"].get(str(answer.status_code))
    assert told or answer.status_code >= 400, f"{operation['operationId']} answers {answer.status_code}"
    [content] = (told or operation["responses"]["default"]).get("content", {None: None}).values()
    if content is None:
        assert answer.content == b""
    else:
        schema = content["schema"] | {"components": document()["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
    return answer


@cache
def _operations():
    return document()["paths"]


def _template(path):
    """Return the path of the document that an address is one of; those without parameters come first."""
    found = [each for each in _operations() if _pattern(each).fullmatch(path)]
    return min(found, key=lambda each: each.count("{"), default="")


@cache
def _pattern(template):
    """A topic has slashes in it, every other parameter has none."""
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", template.replace("{topic}", ".+")))


def _address(path):
    return path if path.startswith("/") else f"{ROOT}/{path}"
