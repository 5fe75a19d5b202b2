"""XMP packets, from RDF/XML to flat properties (XMP specification part 1, section 7). Pure.

Packets come from anybody: one with a document type or an entity of its own is refused before it is parsed, and only
properties of known schemas are taken. Structures inside a property are left out; people look at the plain ones.
"""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

MAX_PACKET_BYTES = 1024 * 1024

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_ARRAYS = {f"{_RDF}{kind}": f"rdf:{kind}" for kind in ("Seq", "Bag", "Alt")}

# Namespace -> the prefix under which its properties are stored, whatever prefix the file uses.
_SCHEMAS = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://ns.adobe.com/pdf/1.3/": "pdf",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
}
# Checksums by which one program once noticed the changes of another.
_IGNORED = frozenset({"", "NativeDigest"})


def properties(packet: bytes) -> dict[str, Any]:
    """Return the plain properties of a packet and the arrays, each with its `_xmpArrayType`; {} if it is unreadable."""
    root = _parse(packet)
    if root is None:
        return {}
    found: dict[str, Any] = {}
    for description in root.findall(f"{_RDF}Description"):
        # A Description inside a property is a structure of that property, not a set of facts about the file.
        for name, value in _facts(description):
            found.setdefault(name, value)
    return found


def _parse(packet: bytes) -> ElementTree.Element | None:
    if len(packet) > MAX_PACKET_BYTES:
        return None
    encoding = "utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = packet.decode(encoding, errors="replace").strip("\0 \t\r\n")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    return root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")


def _facts(description: ElementTree.Element) -> Iterator[tuple[str, Any]]:
    for tag, value in description.attrib.items():
        if name := _name(tag):
            yield name, value
    for element in description:
        name = _name(element.tag)
        if not name:
            continue
        if len(element) == 0:
            yield name, element.text or ""
        elif array_type := _ARRAYS.get(element[0].tag):
            yield from _array(name, array_type, element[0])


def _array(name: str, array_type: str, array: ElementTree.Element) -> Iterator[tuple[str, Any]]:
    items = [item for item in array if item.tag == f"{_RDF}li" and len(item) == 0 and item.text]
    if not items:
        return
    yield f"{name}_xmpArrayType", array_type
    if any(item.get(_XML_LANG) for item in items):
        default = next((item for item in items if item.get(_XML_LANG) == "x-default"), items[0])
        yield name, default.text
    else:
        yield name, [item.text for item in items]


def _name(tag: str) -> str:
    """Return `dc:title` for a tag in Clark notation, "" for one of no known schema."""
    namespace, _, local = tag.removeprefix("{").partition("}")
    prefix = _SCHEMAS.get(namespace)
    return f"{prefix}:{local}" if prefix and local not in _IGNORED else ""
