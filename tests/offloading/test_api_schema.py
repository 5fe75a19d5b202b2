import pytest
import yaml
from django.core.management import call_command

from offloading.api import urls
from tests.offloading.api import DOCUMENT, document


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "openapi.yaml"
    call_command("spectacular", file=str(path), validate=True, fail_on_warn=True)
    return path.read_text()


@pytest.fixture(scope="module")
def operations():
    return {each["operationId"]: each for path in document()["paths"].values() for each in path.values()}


def test_document_is_what_the_code_says(generated):
    assert generated == DOCUMENT.read_text(), "Run `make openapi`."


def test_every_operation_says_what_it_does(operations):
    assert all(each["summary"] and each["description"] for each in operations.values())
    assert all("default" in each["responses"] for each in operations.values())
    methods = ("get", "post", "put", "delete")
    views = [entry.callback.view_class for entry in urls.urlpatterns]
    assert len(operations) == sum(hasattr(view, method) for view in views for method in methods)


@pytest.mark.parametrize("name", ["addJob", "addJobs", "actOnJobs", "putQueue", "pauseQueue", "scheduleJob"])
def test_main_operations_have_an_example_that_is_taken(operations, name, staff, db):
    content = operations[name]["requestBody"]["content"]["application/json"]
    [example] = [each["value"] for each in content["examples"].values()]
    paths = {
        "addJob": ("post", "jobs/"),
        "addJobs": ("post", "jobs/bulk/"),
        "actOnJobs": ("post", "jobs/actions/"),
        "putQueue": ("put", "queues/mail/"),
        "pauseQueue": ("post", "queues/%3Cmain%20queue%3E/pause/"),
        "scheduleJob": ("post", "schedules/"),
    }
    method, path = paths[name]
    answer = getattr(staff, method)(path, example)
    assert answer.status_code in (200, 201) or "no job that could be" in answer.json()["detail"]


def test_document_is_served(looker, db):
    answer = looker.get("/api/schema/")
    assert answer.status_code == 200
    assert yaml.safe_load(answer.content)["openapi"] == "3.1.0"


def test_document_names_no_machine():
    text = DOCUMENT.read_text()
    assert "offloading_session" in text
    assert "127.0.0.1" not in text
