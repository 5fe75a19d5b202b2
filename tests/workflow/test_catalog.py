import pytest

from content import services as content
from content.session import Session
from workflow import catalog
from workflow.definition import ModelInvalid, external_step, process_step

PATH = "/etc/workflow/models/some/shipped/jcr:content/model"
STEPS = [process_step("Gate", "some.Gate", PROCESS_ARGS="x"), external_step("Offload", "some.Offload", timeout=60)]

pytestmark = pytest.mark.django_db


def install(steps=STEPS, title="Shipped model"):
    catalog.install_model(path=PATH, title=title, steps=steps)


def read(root=""):
    return catalog.read_model(PATH, Session(root=root, by="test"))


def test_installed_model_is_read_back():
    install()
    model = read()
    assert (model.path, model.title, model.version) == (PATH, "Shipped model", "1.0")
    assert [(step.title, step.process) for step in model.steps[1:-1]] == [
        ("Gate", "some.Gate"),
        ("Offload", "some.Offload"),
    ]
    assert model.first.metadata["PROCESS_ARGS"] == "x"
    assert content.get("/etc/workflow/models/some/shipped").primary_type == "cq:Page"


def test_installing_twice_changes_nothing():
    install()
    before = content.read_subtree(PATH)
    install()
    assert content.read_subtree(PATH) == before


def test_new_shipped_model_replaces_one_that_nobody_changed():
    install()
    install([process_step("Gate", "some.Gate")])
    assert (len(read().steps), read().version) == (3, "1.1")


def test_model_changed_by_a_person_stays():
    install()
    content.set_properties(path=f"{PATH}/nodes/node1/metaData", properties={"PROCESS_ARGS": "mine"}, by="anna")
    install([process_step("Gate", "some.Gate")])
    assert read().first.metadata["PROCESS_ARGS"] == "mine"


def test_model_is_one_subtree_that_can_lie_elsewhere():
    install()
    root = "/var/offloading/1"
    content.ensure_folder(path=root + "/etc/workflow/models/some/shipped/jcr:content", by="test")
    content.copy_node(path=PATH, destination=root + PATH, by="test")
    content.remove_node(path=PATH, by="test")
    assert read(root).path == PATH


def test_missing_model_is_missing():
    with pytest.raises(catalog.ModelMissing, match="No workflow model at"):
        read()


def test_node_of_an_unknown_type_is_named():
    install()
    content.set_properties(path=f"{PATH}/nodes/node1", properties={"type": "PARTICIPANT"}, by="anna")
    with pytest.raises(ModelInvalid, match="'node1' .* has the type 'PARTICIPANT'"):
        read()
