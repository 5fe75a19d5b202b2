"""How originals and renditions are sent: kept by browsers, never able to act as a page of ours."""

import asyncio

import pytest
from django.test import AsyncRequestFactory
from django.urls import reverse

from dam import binaries
from tests.dam import pictures


def url(name="original", asset="/content/dam/photo.jpg", query=""):
    return reverse("dam:rendition", args=[name, asset]) + query


def body(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_original_comes_back_byte_for_byte(staff_client, library):
    data = pictures.oriented(6)
    library.upload("photo.jpg", data)
    response = staff_client.get(url())
    assert body(response) == data
    assert response["Content-Type"] == "image/jpeg"
    assert response["Content-Length"] == str(len(data))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]


def test_readers_may_look_and_visitors_may_not(reader_client, client, library):
    library.upload()
    assert reader_client.get(url()).status_code == 200
    assert client.get(url()).status_code == 302


def test_rendition_is_shown_in_place_or_downloaded(staff_client, library):
    library.upload()
    library.work()
    name = "cq5dam.web.1280.1280.jpeg"
    assert staff_client.get(url(name))["Content-Disposition"] == f'inline; filename="photo.{name}"'
    assert staff_client.get(url(name, query="?download"))["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.html", b"<script>alert(1)</script>"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("notes.txt", b"words"),
        ("scan.tiff", pictures.saved(pictures.corner(), "TIFF")),
        ("paper.pdf", b"%PDF-1.7"),
        ("nameless", b"?"),
    ],
)
def test_what_a_browser_might_run_is_a_download(staff_client, library, name, data):
    response = staff_client.get(url(asset=library.upload(name, data)))
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "sandbox" in response["Content-Security-Policy"]


def test_page_named_as_a_picture_is_not_sniffed(staff_client, library):
    library.upload("photo.jpg", b"<script>alert(1)</script>")
    response = staff_client.get(url())
    assert (response["Content-Type"], response["X-Content-Type-Options"]) == ("image/jpeg", "nosniff")


def test_address_with_the_digest_is_kept_for_ever(staff_client, library):
    digest = library.original(library.upload()).digest
    assert "immutable" in staff_client.get(url(query=f"?v={digest[:16]}"))["Cache-Control"]
    for query in ("", "?v=", f"?v={digest[:4]}", "?v=0000000000000000"):
        assert staff_client.get(url(query=query))["Cache-Control"] == "private, no-cache"


def test_unchanged_bytes_are_not_sent_again(staff_client, library):
    library.upload()
    etag = staff_client.get(url())["ETag"]
    again = staff_client.get(url(), headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert staff_client.get(url(), headers={"If-None-Match": '"other"'}).status_code == 200


def test_large_original_is_streamed(staff_client, library):
    data = bytes(range(256)) * 3_000
    asset = library.upload("large.bin", data)
    response = staff_client.get(url(asset=asset))
    assert response.streaming and body(response) == data


def test_large_original_is_streamed_by_an_asynchronous_server_too(library):
    data = bytes(range(256)) * 3_000
    asset = library.upload("large.bin", data)
    response = binaries.rendition(AsyncRequestFactory().get("/"), name="original", path=asset)

    async def read():
        return b"".join([chunk async for chunk in response.streaming_content])

    assert response.is_async and asyncio.run(read()) == data


def test_only_what_lies_in_the_library_is_sent(staff_client, library):
    asset = library.upload()
    for name, path in (("none", asset), ("original", "/content/dam/none"), ("original", "/etc/workflow")):
        assert staff_client.get(url(name, path)).status_code == 404
    assert staff_client.get("/assets/rendition/original/content/dam/../../etc").status_code == 404
    assert staff_client.post(url()).status_code == 405


def test_head_tells_size_without_the_bytes(staff_client, library):
    asset = library.upload("large.bin", b"x" * (binaries._CHUNK_BYTES + 1))
    response = staff_client.head(url(asset=asset))
    assert response["Content-Length"] == str(binaries._CHUNK_BYTES + 1)


def test_odd_names_survive_the_address(staff_client, library):
    asset = library.upload("a #1? 100% ü & b.jpg")
    response = staff_client.get(url(asset=asset))
    assert response.status_code == 200
    assert "filename*=utf-8''a%20%231%3F" in response["Content-Disposition"]
