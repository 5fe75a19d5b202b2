"""What happens to files that a browser sends: by script one at a time, by a plain form many at once."""

import json
from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from content import services
from dam import ingestion, structure
from tests.dam import pictures

URL = "/assets/upload/content/dam"


def send(client, data=b"", name="photo.jpg", url=URL, **fields):
    """Send one file as the script does and return the status and what was said."""
    form = {"name": name, "file": SimpleUploadedFile("sent.bin", data), **fields}
    answer = client.post(url, form, headers={"Accept": "application/json"})
    return answer.status_code, json.loads(answer.content)


def send_form(client, *files, **fields):
    return client.post(URL, {"file": [SimpleUploadedFile(name, data) for name, data in files], **fields})


def test_file_becomes_an_asset(staff_client, library):
    status, said = send(staff_client, pictures.jpeg())
    assert (status, said["path"], said["url"]) == (201, "/content/dam/photo.jpg", "/assets/asset/content/dam/photo.jpg")
    assert library.original(said["path"]).size == len(pictures.jpeg())
    assert services.get(said["path"]).properties["jcr:createdBy"] == "admin"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.jpg", "contains '/'. Use another character"),
        ("x" * 300 + ".jpg", "is 304 bytes long. Use at most 255"),
        ("bell\x07.jpg", "contains the control character '\\x07'. Remove it"),
        ("..", "is not allowed"),
        ("", "There is an empty name"),
    ],
)
def test_name_that_cannot_be_is_refused_with_advice(staff_client, library, name, said):
    status, answer = send(staff_client, b"x", name)
    assert status == 422
    assert said in answer["error"]
    assert services.children(structure.ROOT) == []


def test_name_with_markup_is_a_name(staff_client, library):
    name = '"><script>alert(1)<∕script>.jpg'
    status, answer = send(staff_client, pictures.jpeg(), name)
    assert (status, answer["name"]) == (201, name)


def test_empty_file_is_refused_at_its_row(staff_client, library):
    status, answer = send(staff_client, b"", "empty.jpg")
    assert status == 422
    assert answer["error"] == "empty.jpg is empty: it has no bytes. Look at the file on your side and send it again."


def test_file_that_exists_is_a_question_and_replacing_its_answer(staff_client, library):
    send(staff_client, b"first", "a.txt")
    status, answer = send(staff_client, b"second", "a.txt")
    assert status == 409 and answer["is_replaceable"]
    assert "Rename your file, or replace the one that is there" in answer["error"]
    assert send(staff_client, b"second", "a.txt", replace="1")[0] == 201
    assert library.original("/content/dam/a.txt").size == 6


def test_folder_of_that_name_cannot_be_replaced(staff_client, library):
    ingestion.create_folder(parent=structure.ROOT, name="a.txt", by="ann")
    status, answer = send(staff_client, b"x", "a.txt", replace="1")
    assert status == 409 and not answer["is_replaceable"]


def test_folder_that_is_gone_is_told(staff_client, library):
    assert send(staff_client, b"x", url="/assets/upload/content/dam/none")[0] == 404
    assert send(staff_client, b"x", url="/assets/upload/etc/workflow")[0] == 404


def test_nothing_sent_is_told(staff_client, library):
    answer = staff_client.post(URL, {}, headers={"Accept": "application/json"})
    assert (answer.status_code, json.loads(answer.content)) == (422, {"error": "No file was sent."})


def test_file_above_the_limit_is_refused(staff_client, library, settings):
    settings.OFFLOADING_UPLOAD_BYTES = 100
    status, answer = send(staff_client, b"x" * 101, "big.txt")
    assert status == 413 and "big.txt is larger than 100 bytes" in answer["error"]


def test_body_above_the_limit_is_refused_before_it_is_read(staff_client, library, settings):
    settings.OFFLOADING_UPLOAD_BYTES = 100
    answer = staff_client.generic("POST", URL, b"x" * 100_000, content_type="multipart/form-data; boundary=none")
    assert answer.status_code == 413
    assert "more than 100 bytes" in answer.content.decode()


def test_plain_form_takes_many_files(staff_client, library):
    answer = send_form(staff_client, ("a.txt", b"a"), ("b.txt", b"b"))
    assert (answer.status_code, answer["Location"]) == (302, "/assets/")
    assert {view.name for view in services.children(structure.ROOT)} == {"a.txt", "b.txt"}


def test_plain_form_tells_at_each_row_what_was_refused(staff_client, library):
    answer = send_form(staff_client, ("good.txt", b"a"), ("empty.txt", b""))
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert "empty.txt is empty" in shown
    assert 'data-asset="/content/dam/good.txt"' in shown, "the good ones are there whatever is wrong with others"


def test_plain_form_replaces_if_told_so(staff_client, library):
    send_form(staff_client, ("a.txt", b"a"))
    assert send_form(staff_client, ("a.txt", b"bb")).status_code == 409
    assert send_form(staff_client, ("a.txt", b"bb"), replace="1").status_code == 302
    assert library.original("/content/dam/a.txt").size == 2


def test_upload_needs_the_token_of_the_page(admin, library, settings):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    assert send_form(client, ("a.txt", b"a")).status_code == 403
    client.get("/assets/")
    token = client.cookies[settings.CSRF_COOKIE_NAME].value
    assert send_form(client, ("a.txt", b"a"), csrfmiddlewaretoken=token).status_code == 302


def test_large_file_goes_through_a_temporary_file(staff_client, library):
    data = bytes(range(256)) * 12_000
    status, answer = send(staff_client, data, "large.bin")
    assert status == 201
    stored = services.get(structure.resource(structure.original(answer["path"])))
    assert stored.binaries["jcr:data"].size == len(data)


# --- Replacing one asset from its page ------------------------------------------------------------------------------


def replace(client, asset, data=None):
    form = {} if data is None else {"file": BytesIO(data)}
    return client.post(reverse("dam:asset-replace", args=[asset]), form)


def test_original_is_replaced_from_the_page(staff_client, library):
    asset = library.upload()
    answer = replace(staff_client, asset, pictures.jpeg(pictures.corner(60, 40)))
    assert (answer.status_code, answer["Location"]) == (302, "/assets/asset/content/dam/photo.jpg")
    library.work()
    assert library.metadata(asset)["tiff:ImageWidth"] == 60


@pytest.mark.parametrize(("data", "said"), [(None, "Choose the file"), (b"", "photo.jpg is empty")])
def test_replacing_without_a_file_says_so_and_changes_nothing(staff_client, library, data, said):
    asset = library.upload()
    before = library.original(asset)
    answer = replace(staff_client, asset, data)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert library.original(asset) == before


def test_replacing_by_something_too_large_is_refused(staff_client, library, settings):
    asset = library.upload()
    settings.OFFLOADING_UPLOAD_BYTES = 10
    assert replace(staff_client, asset, b"x" * 11).status_code == 413


def test_asset_that_is_gone_cannot_be_acted_on(staff_client, db):
    gone = "/content/dam/gone.jpg"
    assert replace(staff_client, gone, b"x").status_code == 404
    for name in ("asset-retry", "asset-remove"):
        assert staff_client.post(reverse(f"dam:{name}", args=[gone])).status_code == 404
