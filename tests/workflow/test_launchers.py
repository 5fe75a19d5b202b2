import pytest
from django.db import transaction

from content import services as content
from content.nodes import Tree
from content.signals import NodeEvent
from tests.workflow import steps
from workflow import launchers
from workflow.launchers import LauncherInvalid
from workflow.models import Workflow

ORIGINAL = "/content/photos/a.jpg/jcr:content/renditions/original"
GLOB = "/content/photos(/.*/)renditions/original"
CREATE = {
    "eventType": 1,
    "nodetype": "nt:file",
    "glob": GLOB,
    "conditions": ["jcr:content/jcr:mimeType!=video/.*"],
    "workflow": "/model",
    "enabled": True,
}
MODIFY = {**CREATE, "eventType": 16, "excludeList": "jcr:lastModified,event-user-data:changedByWorkflowProcess"}


def event(kind="added", path=ORIGINAL, primary_type="nt:file", names=(), user_data="", old_path=""):
    return NodeEvent(kind, path, primary_type, names, "anna", user_data, old_path)


def matches(properties, event, values=None, types=None):
    launcher = launchers.parse("/l", properties)
    lookup = lambda path, name: (values or {}).get((path, name))  # noqa: E731
    happened = launchers.occurrences(event, lambda path: (types or {}).get(path, ""))
    return [each.path for each in happened if launcher.matches(each, lookup)]


JPEG = {(f"{ORIGINAL}/jcr:content", "jcr:mimeType"): "image/jpeg"}
VIDEO = {(f"{ORIGINAL}/jcr:content", "jcr:mimeType"): "video/mp4"}
IN_FILE = event("changed", f"{ORIGINAL}/jcr:content", "nt:resource", ("jcr:data",))
FILE = {ORIGINAL: "nt:file"}


@pytest.mark.parametrize(
    "launcher, happened, values, expected",
    [
        (CREATE, event(), JPEG, True),
        (CREATE, event(), VIDEO, False),
        (CREATE, event(), {}, True),  # a missing value is no video
        (CREATE, event("changed"), JPEG, False),
        (CREATE, event("removed"), JPEG, False),
        (CREATE, event(primary_type="nt:unstructured"), JPEG, False),
        (CREATE, event(path="/content/photos/renditions/original"), JPEG, False),  # something has to be in between
        (CREATE, event(path="/content/photos/a/renditions/original/more"), JPEG, False),  # the whole path has to fit
        (CREATE, event(path="/elsewhere/content/photos/a/renditions/original"), JPEG, False),
        (CREATE, event("added", f"{ORIGINAL}/jcr:content", "nt:resource"), JPEG, False),
        (CREATE, event("moved", ORIGINAL, old_path="/content/x"), JPEG, True),
        ({**CREATE, "eventType": 2}, event("moved", "/content/x", old_path=ORIGINAL), JPEG, True),
        ({**CREATE, "nodetype": ""}, event(primary_type="any"), JPEG, True),
        (MODIFY, IN_FILE, JPEG, True),
        (MODIFY, event("changed", names=("jcr:data",)), JPEG, True),
        (MODIFY, event("changed", names=("jcr:lastModified",)), JPEG, False),
        (MODIFY, event("changed", names=("jcr:lastModified", "jcr:data")), JPEG, True),
        (MODIFY, event("changed", names=("jcr:data",), user_data="changedByWorkflowProcess"), JPEG, False),
        ({**CREATE, "eventType": 17}, IN_FILE, JPEG, True),  # bits
        ({**CREATE, "conditions": ["jcr:content/jcr:mimeType==image/.*"]}, event(), JPEG, True),
        ({**CREATE, "conditions": ["jcr:content/jcr:mimeType==image/.*"]}, event(), {}, False),
        ({**CREATE, "conditions": ["jcr:content/jcr:mimeType==image/.*", "x==y"]}, event(), JPEG, False),
        ({**CREATE, "conditions": None, "condition": "dc:format!="}, event(), {(ORIGINAL, "dc:format"): "a"}, True),
        ({**CREATE, "conditions": None, "condition": "dc:format!="}, event(), {}, False),
        ({**CREATE, "conditions": "autoTag==true"}, event(), {(ORIGINAL, "autoTag"): True}, True),
        ({**CREATE, "conditions": ["tags==red"]}, event(), {(ORIGINAL, "tags"): ["blue", "red"]}, True),
        ({**CREATE, "conditions": ["tags!=red"]}, event(), {(ORIGINAL, "tags"): ["blue", "red"]}, False),
    ],
)
def test_launcher_fits_what_happened(launcher, happened, values, expected):
    assert bool(matches(launcher, happened, values, FILE)) is expected


def test_change_inside_a_file_is_one_of_the_file():
    assert matches(MODIFY, IN_FILE, JPEG, FILE) == [ORIGINAL]
    assert matches(MODIFY, IN_FILE, JPEG, {ORIGINAL: "nt:folder"}) == []


@pytest.mark.parametrize(
    "change",
    [{"enabled": False}, {"enabled": None}, {"runModes": "publish"}, {"features": ["com.example.flag"]}],
)
def test_launcher_for_others_is_passed_over(change):
    assert launchers.parse("/l", {**CREATE, **change}) is None


@pytest.mark.parametrize("change", [{"enabled": "true"}, {"runModes": "author,publish"}, {"disabledFeatures": ["x"]}])
def test_launcher_for_us_is_taken(change):
    assert launchers.parse("/l", {**CREATE, **change}) is not None


@pytest.mark.parametrize(
    "change, said",
    [
        ({"glob": "/content/(photos"}, "glob '/content/\\(photos' is no regular expression"),
        ({"eventType": "added"}, "eventType is 'added'"),
        ({"conditions": ["jcr:mimeType"]}, "neither == nor !="),
        ({"conditions": ["a==["]}, "conditions '\\[' is no regular expression"),
        ({"workflow": ""}, "workflow is empty"),
    ],
)
def test_unusable_launcher_says_what_is_wrong(change, said):
    with pytest.raises(LauncherInvalid, match=said):
        launchers.parse("/l", {**CREATE, **change})


def upload(path="/content/photos/a.jpg", mime_type="image/jpeg"):
    content.ensure_folder(path="/content/photos", by="anna")
    file = Tree("nt:file", children={"jcr:content": Tree("nt:resource", {"jcr:mimeType": mime_type})})
    renditions = Tree("nt:folder", children={"original": file})
    tree = Tree("test:Photo", children={"jcr:content": Tree("test:Content", children={"renditions": renditions})})
    content.create_tree(path=path, tree=tree, by="anna")


@pytest.fixture
def model(instance, install, process):
    return install(process(steps.write("seen")))


def test_upload_starts_the_workflow_once(model):
    launchers.install_launcher(name="create", properties={**CREATE, "workflow": model})
    launchers.install_launcher(name="modify", properties={**MODIFY, "workflow": model})
    upload()
    workflow = Workflow.objects.get()
    assert (workflow.payload, workflow.initiator, workflow.state) == (ORIGINAL, "anna", "RUNNING")


def test_replaced_bytes_start_it_again(model):
    launchers.install_launcher(name="modify", properties={**MODIFY, "workflow": model})
    upload()
    content.set_properties(path=f"{ORIGINAL}/jcr:content", properties={"jcr:mimeType": "image/png"}, by="anna")
    assert Workflow.objects.get().payload == ORIGINAL


def test_what_a_workflow_writes_starts_no_further_one(model, instance):
    watching = {"eventType": 17, "glob": f"{ORIGINAL}.*", "workflow": model, "enabled": True}
    launchers.install_launcher(
        name="all", properties={**watching, "excludeList": "event-user-data:changedByWorkflowProcess"}
    )
    launchers.install_launcher(name="create", properties={**CREATE, "workflow": model})
    upload()
    started = Workflow.objects.count()
    assert instance.work() == started
    assert Workflow.objects.filter(state="COMPLETED").count() == started
    assert content.get(f"{ORIGINAL}/seen") is not None


@pytest.mark.parametrize("broken", [{"glob": "("}, {"workflow": "/no/model"}, {"conditions": ["../x==1"]}])
def test_broken_launcher_never_breaks_an_upload_and_is_logged_once(model, caplog, broken):
    launchers._warn_once.cache_clear()
    launchers.install_launcher(name="broken", properties={**CREATE, "workflow": model, **broken})
    launchers.install_launcher(name="good", properties={**CREATE, "workflow": model})
    upload("/content/photos/a.jpg")
    upload("/content/photos/b.jpg")
    assert Workflow.objects.count() == 2
    if "conditions" not in broken:
        assert [record.launcher for record in caplog.records if record.msg == "launcher skipped"] == [
            "/libs/settings/workflow/launcher/config/broken"
        ]


def test_changed_launcher_is_in_force_at_once_and_survives_an_upgrade(model):
    launchers.install_launcher(name="create", properties={**CREATE, "workflow": model})
    path = f"{launchers.CONFIG}/create"
    content.set_properties(path=path, properties={"enabled": False}, by="operator")
    launchers.install_launcher(name="create", properties={**CREATE, "workflow": model})
    upload()
    assert not Workflow.objects.exists()


def test_upload_that_is_rolled_back_leaves_no_workflow(model, instance):
    launchers.install_launcher(name="create", properties={**CREATE, "workflow": model})
    with pytest.raises(RuntimeError), transaction.atomic():
        upload()
        raise RuntimeError
    assert not Workflow.objects.exists()
    assert instance.work() == 0
