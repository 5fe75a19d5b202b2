"""XMP packets: what is taken from them, and what is not even looked at."""

import pytest

from dam.metadata import xmp
from tests.dam.pictures import xmp_packet


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ("<dc:title>Plain</dc:title>", {"dc:title": "Plain"}),
        ("<xmp:CreatorTool>Öl &amp; Farbe</xmp:CreatorTool>", {"xmp:CreatorTool": "Öl & Farbe"}),
        (
            '<dc:title><rdf:Alt><rdf:li xml:lang="de">Haus</rdf:li><rdf:li xml:lang="x-default">House</rdf:li>'
            "</rdf:Alt></dc:title>",
            {"dc:title": "House", "dc:title_xmpArrayType": "rdf:Alt"},
        ),
        (
            "<dc:subject><rdf:Bag><rdf:li>a</rdf:li><rdf:li>b</rdf:li></rdf:Bag></dc:subject>",
            {"dc:subject": ["a", "b"], "dc:subject_xmpArrayType": "rdf:Bag"},
        ),
        (
            "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator>",
            {"dc:creator": ["Ann"], "dc:creator_xmpArrayType": "rdf:Seq"},
        ),
        ("<dc:creator><rdf:Seq/></dc:creator>", {}),
        ("<own:secret>x</own:secret>", {}),
        ("<dc:source><rdf:Description><dc:title>inner</dc:title></rdf:Description></dc:source>", {}),
    ],
)
def test_property_is_taken_or_left(properties, found):
    assert xmp.properties(xmp_packet(properties)) == found


def test_attributes_are_properties_too():
    packet = xmp_packet("").replace(b"<rdf:Description", b'<rdf:Description xmp:Rating="5"')
    assert xmp.properties(packet) == {"xmp:Rating": "5"}


def test_prefixes_of_a_file_do_not_matter():
    packet = xmp_packet("<dc:title>x</dc:title>").replace(b"dc:title", b"d:title").replace(b"xmlns:dc", b"xmlns:d")
    assert xmp.properties(packet) == {"dc:title": "x"}


def test_other_encodings_are_read():
    assert xmp.properties(b"\xef\xbb\xbf" + xmp_packet("<dc:title>ü</dc:title>")) == {"dc:title": "ü"}
    assert xmp.properties(xmp_packet("<dc:title>ü</dc:title>").decode().encode("utf-16")) == {"dc:title": "ü"}


HOSTILE = {
    "external entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    "billion laughs": b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>',
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_packet_with_entities_of_its_own_is_not_parsed(kind, encoding):
    text = (HOSTILE[kind] + xmp_packet("<dc:title>x</dc:title>")).decode()
    assert xmp.properties(text.encode(encoding)) == {}


@pytest.mark.parametrize(
    "packet",
    [b"", b"\0\0", b"<broken", b"\xff\xfe\xff", b"<x/>", xmp_packet("<dc:title>"), b"x" * (xmp.MAX_PACKET_BYTES + 1)],
)
def test_unreadable_packet_says_nothing(packet):
    assert xmp.properties(packet) == {}
