"""From an upload to a processed asset, and every way in which that can go wrong."""

from io import BytesIO

import pytest

from content import blobs, paths, services
from dam import ingestion, installation, structure
from offloading.models import Job
from tests.dam import pictures
from workflow import engine
from workflow.models import Workflow

GENERATED = {
    "cq5dam.thumbnail.48.48.png",
    "cq5dam.thumbnail.140.100.png",
    "cq5dam.thumbnail.319.319.png",
    "cq5dam.web.1280.1280.jpeg",
}


def test_upload_ends_processed(library):
    asset = library.upload("photo.jpg", pictures.oriented(6))
    assert asset == "/content/dam/photo.jpg"
    assert library.state(asset) == "processing", "its workflow exists as soon as the asset does"
    library.work()
    assert library.state(asset) == "processed"
    assert library.failure(asset) is None
    assert library.renditions(asset) == {"original", *GENERATED}
    assert library.metadata(asset)["tiff:ImageWidth"] == 300
    assert library.metadata(asset)["dc:format"] == "image/jpeg"


def test_original_stays_byte_for_byte(library):
    data = pictures.oriented(6)
    asset = library.upload("photo.jpg", data)
    library.work()
    resource = services.get(structure.resource(structure.original(asset)))
    digest = resource.binaries["jcr:data"].digest
    with blobs.open_blob(digest) as file:
        assert file.read() == data
    assert resource.properties["jcr:mimeType"] == "image/jpeg"


def test_asset_tree_has_the_shape_of_the_talk(library):
    asset = library.upload()
    types = {view.path.removeprefix(asset): view.primary_type for view in services.read_subtree(asset)}
    assert types == {
        "": "dam:Asset",
        "/jcr:content": "dam:AssetContent",
        "/jcr:content/metadata": "nt:unstructured",
        "/jcr:content/related": "nt:unstructured",
        "/jcr:content/renditions": "nt:folder",
        "/jcr:content/renditions/original": "nt:file",
        "/jcr:content/renditions/original/jcr:content": "nt:resource",
    }
    content = services.get(structure.content(asset)).properties
    assert content["dam:relativePath"] == "photo.jpg"
    assert content["cq:parentPath"] == "/content/dam"


def test_offloading_model_is_what_the_launcher_starts(library):
    library.upload()
    outer = Workflow.objects.get()
    assert outer.model_path == installation.UPDATE_ASSET_OFFLOADING
    library.work()
    inner = Workflow.objects.get(is_offloaded=True)
    assert inner.model_path == installation.UPDATE_ASSET
    job = Job.objects.get(topic=engine.OFFLOADING_TOPIC)
    assert job.title == "photo.jpg: DAM Workflow Offloading"
    assert job.properties["offloading.input.payload"] == f"/content/dam/photo.jpg,{installation.UPDATE_ASSET}"
    # What comes back must not be able to change how this installation works.
    assert job.properties["offloading.output.payload"] == "/content/dam/photo.jpg"


def test_file_without_a_maker_is_processed_without_a_picture(library):
    asset = library.upload("notes.txt", b"some words")
    library.work()
    assert library.state(asset) == "processed"
    assert library.renditions(asset) == {"original"}
    assert library.metadata(asset)["dc:format"] == "text/plain"
    assert library.metadata(asset)["dam:size"] == 10


def test_film_is_processed_too(library):
    asset = library.upload("film.mp4", b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42")
    library.work()
    assert library.state(asset) == "processed"


BAD_PICTURES = {
    "text.jpg": (b"words, not a picture", "text.jpg is not a picture: its bytes are plain text"),
    "cut.jpg": (
        pictures.jpeg(pictures.corner(1200, 900))[:3000],
        "cut.jpg cannot be read as a picture, it is damaged or cut off",
    ),
    "bomb.png": (pictures.png_header(60_000, 60_000), "bomb.png has 60,000 x 60,000 pixels"),
    "bomb.jpg": (pictures.jpeg_of_size(60_000, 60_000), "bomb.jpg has 60,000 x 60,000 pixels"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_picture_fails_with_its_cause_and_stops_nothing_else(library, name):
    data, cause = BAD_PICTURES[name]
    bad, good = library.upload(name, data), library.upload("good.jpg")
    library.work()
    assert library.state(bad) == "failed"
    assert library.failure(bad).startswith(cause)
    assert library.renditions(bad) == {"original"}
    assert library.state(good) == "processed"


def test_retry_of_a_bad_picture_fails_again_and_can_be_repeated(library):
    asset = library.upload("text.jpg", b"words")
    library.work()
    for _ in range(2):
        ingestion.retry_asset(path=asset, by="ann")
        assert library.state(asset) == "processing"
        assert library.failure(asset) is None
        library.work()
        assert library.state(asset) == "failed"
    assert Workflow.objects.filter(is_offloaded=False).count() == 1, "a retry goes on with the same workflow"


def test_retry_succeeds_once_the_cause_is_gone(library, settings):
    settings.OFFLOADING_MAX_PIXELS = 100
    asset = library.upload()
    library.work()
    assert library.state(asset) == "failed"
    settings.OFFLOADING_MAX_PIXELS = 300_000_000
    ingestion.retry_asset(path=asset, by="ann")
    library.work()
    assert library.state(asset) == "processed"
    assert library.failure(asset) is None


def test_retry_while_it_is_being_processed_is_harmless(library):
    asset = library.upload()
    ingestion.retry_asset(path=asset, by="ann")
    assert Workflow.objects.count() == 1
    library.work()
    assert library.state(asset) == "processed"


def test_processed_asset_can_be_processed_again(library):
    asset = library.upload()
    library.work()
    ingestion.retry_asset(path=asset, by="ann")
    assert library.state(asset) == "processing"
    library.work()
    assert library.state(asset) == "processed"


def test_terminated_workflow_leaves_the_asset_failed(library):
    asset = library.upload()
    engine.terminate_workflow(workflow_id=Workflow.objects.get().id, by="ann")
    assert library.state(asset) == "failed"
    assert "ended before it was done" in library.failure(asset)
    ingestion.retry_asset(path=asset, by="ann")
    library.work()
    assert library.state(asset) == "processed"


# --- Replacing and removing -----------------------------------------------------------------------------------------


def replace(asset, data):
    ingestion.replace_original(path=asset, stream=BytesIO(data), by="ben")


def test_replaced_original_is_processed_anew(library):
    asset = library.upload("photo.jpg", pictures.jpeg(pictures.corner(), exif=pictures.exif(6)))
    library.work()
    assert library.metadata(asset)["tiff:Orientation"] == 6
    replace(asset, pictures.saved(pictures.corner(90, 60), "PNG"))
    assert library.state(asset) == "processing"
    assert library.renditions(asset) == {"original"}, "no picture of the old original is shown any more"
    library.work()
    assert library.state(asset) == "processed"
    assert library.metadata(asset)["tiff:ImageWidth"] == 90
    assert "tiff:Orientation" not in library.metadata(asset)
    assert "cq5dam.web.1280.1280.png" in library.renditions(asset)
    assert "cq5dam.web.1280.1280.jpeg" not in library.renditions(asset)


def test_replacing_ends_the_work_on_the_old_original(library):
    asset = library.upload("photo.jpg", b"words")
    replace(asset, pictures.jpeg())
    first, second = Workflow.objects.filter(is_offloaded=False).order_by("started_at")
    assert (first.state, second.state) == ("ABORTED", "RUNNING")
    library.work()
    assert library.state(asset) == "processed"
    assert library.failure(asset) is None


def test_replacing_a_failed_original_mends_it(library):
    asset = library.upload("photo.jpg", b"words")
    library.work()
    replace(asset, pictures.jpeg())
    library.work()
    assert library.state(asset) == "processed"
    assert library.failure(asset) is None


def test_same_bytes_again_are_processed_again(library):
    asset = library.upload("photo.jpg", pictures.jpeg())
    library.work()
    replace(asset, pictures.jpeg())
    assert library.state(asset) == "processing"
    library.work()
    assert library.state(asset) == "processed"
    assert library.renditions(asset) == {"original", *GENERATED}


def test_rendition_that_somebody_put_there_stays(library):
    asset = library.upload()
    services.create_node(path=structure.rendition(asset, "print.tif"), primary_type="nt:file", by="ann")
    library.work()
    replace(asset, pictures.jpeg(pictures.corner(50, 50)))
    library.work()
    assert "print.tif" in library.renditions(asset)


def test_metadata_that_a_person_wrote_stays(library):
    asset = library.upload()
    library.work()
    services.set_properties(path=structure.metadata(asset), properties={"dc:title": "My title"}, by="ann")
    ingestion.retry_asset(path=asset, by="ann")
    library.work()
    assert library.metadata(asset)["dc:title"] == "My title"


def test_removed_asset_ends_its_workflow(library):
    asset = library.upload()
    ingestion.remove_asset(path=asset, by="ann")
    assert services.get(asset) is None
    assert Workflow.objects.get().state == "ABORTED"
    assert library.work() == 0


def test_asset_removed_by_others_ends_its_workflow_quietly(library):
    asset = library.upload()
    services.remove_node(path=asset, by="ann")
    library.work()
    assert Workflow.objects.get().state == "COMPLETED"


# --- What is refused ------------------------------------------------------------------------------------------------


def test_empty_file_is_refused_and_leaves_nothing(library):
    with pytest.raises(ingestion.UploadRefused, match="empty.jpg is empty: it has no bytes"):
        library.upload("empty.jpg", b"")
    assert services.children(library.root) == []


def test_file_above_the_limit_is_refused(library, settings):
    settings.OFFLOADING_UPLOAD_BYTES = 10
    with pytest.raises(ingestion.UploadTooLarge, match="larger than 10 bytes"):
        library.upload("big.txt", b"12345678901")
    assert library.upload("fits.txt", b"1234567890")


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "a/b.jpg", "..", "", "x" * 300, "a\x00b.jpg", "a\nb.jpg", "jcr:content"]
)
def test_name_that_no_node_can_have_is_refused_with_advice(library, name):
    with pytest.raises(paths.PathInvalid) as caught:
        library.upload(name)
    assert str(caught.value).count(".") >= 1
    assert services.children(library.root) == []


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.jpg".replace("/", "∕"), "a & b.jpg", "ü é.jpg", "100%.jpg", "#1?.jpg"]
)
def test_odd_but_honest_names_are_taken(library, name):
    asset = library.upload(name)
    library.work()
    assert library.state(asset) == "processed"


def test_second_file_of_a_name_is_a_question_not_an_accident(library):
    asset = library.upload()
    with pytest.raises(ingestion.AssetExists, match="Rename your file, or replace the one that is there") as caught:
        library.upload("photo.jpg", b"other")
    assert caught.value.is_replaceable
    assert library.original(asset).size == len(pictures.jpeg())


def test_file_named_as_a_folder_cannot_replace_it(library):
    ingestion.create_folder(parent=library.root, name="photo.jpg", by="ann")
    with pytest.raises(ingestion.AssetExists, match="is a folder") as caught:
        library.upload()
    assert not caught.value.is_replaceable


@pytest.mark.parametrize("folder", ["/content/dam/nowhere", "/content", "/etc/workflow", "/content/dam/photo.jpg"])
def test_assets_lie_in_folders_of_the_library_alone(library, folder):
    library.upload()
    with pytest.raises(ingestion.AssetMissing):
        library.upload("other.jpg", folder=folder)
    with pytest.raises(ingestion.AssetMissing):
        ingestion.create_folder(parent=folder, name="new", by="ann")


def test_only_assets_are_retried_replaced_and_removed(library):
    folder = ingestion.create_folder(parent=library.root, name="folder", by="ann")
    for path in (folder, library.root, "/content/dam/none", "/etc/workflow"):
        with pytest.raises(ingestion.AssetMissing):
            ingestion.retry_asset(path=path, by="ann")
        with pytest.raises(ingestion.AssetMissing):
            ingestion.remove_asset(path=path, by="ann")
        with pytest.raises(ingestion.AssetMissing):
            replace(path, b"x")


def test_folder_carries_its_title(library):
    folder = ingestion.create_folder(parent=library.root, name=" Summer trip ", by="ann")
    assert folder == "/content/dam/Summer trip"
    assert services.get(f"{folder}/jcr:content").properties == {"jcr:title": "Summer trip"}
    with pytest.raises(ingestion.AssetExists):
        ingestion.create_folder(parent=library.root, name="Summer trip", by="ann")


def test_installing_again_changes_nothing(db):
    before = {view.path: view.revision for view in services.read_subtree("/etc", "/libs", "/content")}
    assert installation.UPDATE_ASSET in before
    installation.install()
    assert {view.path: view.revision for view in services.read_subtree("/etc", "/libs", "/content")} == before


def test_launcher_that_an_operator_changed_stays_and_decides(library):
    path = "/libs/settings/workflow/launcher/config/update_asset_create"
    services.set_properties(path=path, properties={"workflow": installation.UPDATE_ASSET}, by="ann")
    installation.install()
    asset = library.upload()
    assert Workflow.objects.get().model_path == installation.UPDATE_ASSET
    library.work()
    assert library.state(asset) == "processed"
