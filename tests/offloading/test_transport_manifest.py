"""Manifests as a peer may send them, good and bad."""

import pytest

from content import bundles
from offloading.transport import manifest

DIGEST = "a" * 64


def entry(path="/content/dam/a.jpg", **changes):
    return {"path": path, "primary_type": "dam:Asset", "properties": {}, "binaries": {}} | changes


def binary(digest=DIGEST, size=3):
    return {"jcr:data": {"digest": digest, "size": size}}


def test_good_manifest_passes_unchanged():
    entries = [entry(), entry("/content/dam/a.jpg/renditions/original/jcr:content", binaries=binary())]
    assert manifest.checked(entries) is entries


@pytest.mark.parametrize(
    "entries",
    [
        None,
        {},
        ["/content"],
        [{"path": "/content"}],
        [entry("content/a")],
        [entry("/content/../etc/passwd")],
        [entry("/content/cafe\u0301")],
        [entry(7)],
        [entry(primary_type="")],
        [entry(primary_type=None)],
        [entry(properties=[])],
        [entry(binaries=[])],
        [entry(binaries={"jcr:data": DIGEST})],
        [entry(binaries=binary(digest="A" * 64))],
        [entry(binaries=binary(digest="../" + "a" * 61))],
        [entry(binaries=binary(size=-1))],
        [entry(binaries=binary(size=True))],
        [entry(binaries=binary(size="3"))],
    ],
)
def test_anything_else_is_refused_with_a_reason(entries):
    with pytest.raises(bundles.ManifestInvalid, match="."):
        manifest.checked(entries)


def test_sizes_name_each_blob_once():
    entries = [
        entry("/a", binaries=binary()),
        entry("/b", binaries=binary()),
        entry("/c", binaries=binary("b" * 64, 5)),
    ]
    assert manifest.sizes(entries) == {DIGEST: 3, "b" * 64: 5}


def test_within_and_outside_look_at_whole_names():
    entries = [entry("/a"), entry("/a/b"), entry("/ab"), entry("/c")]
    assert [each["path"] for each in manifest.within(entries, ["/a"])] == ["/a", "/a/b"]
    assert manifest.outside(entries, ["/a"]) == ["/ab", "/c"]


@pytest.mark.parametrize(
    ("path", "is_original"),
    [
        ("/content/dam/a.jpg/jcr:content/renditions/original", True),
        ("/content/dam/a.jpg/jcr:content/renditions/original/jcr:content", True),
        ("/content/dam/a.jpg/jcr:content/renditions/original2/jcr:content", False),
        ("/content/dam/a.jpg/jcr:content/renditions/cq5dam.web.1280.1280.jpeg/jcr:content", False),
    ],
)
def test_originals_are_found_by_their_place(path, is_original):
    found = manifest.originals([entry(path, binaries=binary())])
    assert found == ({path: {"jcr:data": DIGEST}} if is_original else {})
