"""Reading the library: a page of a folder, and one asset whole. A constant number of queries each; changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from content import paths, services
from content.models import Binary, Node
from content.services import NodeView
from dam import progress, structure
from dam.progress import Progress
from dam.structure import AssetState

PAGE_SIZE = 60


@dataclass(frozen=True)
class Picture:
    """A rendition, or the original: what is needed to show and to fetch it. No width = not known, or no picture."""

    name: str
    mime_type: str
    digest: str
    size: int
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class AssetCard:
    """An asset as a folder shows it."""

    path: str
    state: AssetState
    mime_type: str
    size: int | None
    width: int | None
    height: int | None
    failure: str
    thumbnail: Picture | None
    progress: Progress | None

    @property
    def name(self) -> str:
        return paths.name(self.path)


@dataclass(frozen=True)
class FolderCard:
    path: str
    asset_count: int

    @property
    def name(self) -> str:
        return paths.name(self.path)


@dataclass(frozen=True)
class FolderPage:
    """One page of a folder: its folders by name (on the first page), and assets, the newest first.

    `newer` and `older` are the keys of the neighbouring pages, None where there is none.
    """

    path: str
    folders: tuple[FolderCard, ...]
    assets: tuple[AssetCard, ...]
    asset_count: int
    newer: int | None
    older: int | None


@dataclass(frozen=True)
class Asset:
    """One asset with all its parts. `metadata` is text for people by name, without the notes on array types."""

    card: AssetCard
    original: Picture | None
    renditions: tuple[Picture, ...]
    metadata: tuple[tuple[str, str], ...]
    created_by: str

    @property
    def web(self) -> Picture | None:
        """The largest picture that every browser can show."""
        return next((each for each in self.renditions if each.name.startswith(structure.WEB)), None)


def folder_page(path: str, *, before: int | None = None, after: int | None = None) -> FolderPage | None:
    """Return the assets older than the key `before`, or newer than `after`, or the newest; None if it is no folder."""
    folder = Node.objects.filter(path=path, primary_type__in=structure.FOLDER_TYPES).first()
    if folder is None or not structure.is_in_library(path):
        return None
    every = Node.objects.filter(parent=folder, primary_type=structure.ASSET)
    if after is not None:
        nodes = list(every.filter(pk__gt=after).order_by("pk")[:PAGE_SIZE])[::-1]
    else:
        earlier = every if before is None else every.filter(pk__lt=before)
        nodes = list(earlier.order_by("-pk")[:PAGE_SIZE])
    return FolderPage(
        path=path,
        folders=() if before or after else _folders(folder),
        assets=tuple(_cards([node.path for node in nodes])),
        asset_count=every.count(),
        newer=nodes[0].pk if nodes and every.filter(pk__gt=nodes[0].pk).exists() else None,
        older=nodes[-1].pk if nodes and every.filter(pk__lt=nodes[-1].pk).exists() else None,
    )


def find_asset(path: str) -> Asset | None:
    """Return the asset at `path`, None if there is none."""
    nodes = {view.path: view for view in services.read_subtree(path)} if paths.is_below(path, structure.ROOT) else {}
    if path not in nodes or nodes[path].primary_type != structure.ASSET:
        return None
    pictures = list(_pictures(path, nodes))
    metadata = _properties(nodes, structure.metadata(path))
    state = _state(_properties(nodes, structure.content(path)))
    working = progress.of_assets([path]) if _is_pending(state) else {}
    thumbnail = next((picture for picture in pictures if picture.name == structure.THUMBNAIL), None)
    return Asset(
        card=_card(path, nodes, thumbnail, working.get(path)),
        original=next((picture for picture in pictures if picture.name == structure.ORIGINAL), None),
        renditions=tuple(picture for picture in pictures if picture.name != structure.ORIGINAL),
        metadata=tuple(sorted((name, _text(value)) for name, value in metadata.items() if not _is_note(name))),
        created_by=str(nodes[path].properties.get("jcr:createdBy", "")),
    )


def find_picture(asset: str, name: str) -> Picture | None:
    """Return one rendition, or the original, of an asset; two queries, for it is asked for by every <img>."""
    if not paths.is_below(asset, structure.ROOT):
        return None
    node = services.get(structure.resource(structure.rendition(asset, name)))
    return _picture(name, node) if node else None


def _folders(folder: Node) -> tuple[FolderCard, ...]:
    found = list(Node.objects.filter(parent=folder, primary_type__in=structure.FOLDER_TYPES).order_by("name", "id"))
    counted = Node.objects.filter(parent__in=found, primary_type=structure.ASSET).values_list("parent")
    counts: dict[int, int] = dict(counted.annotate(Count("pk")).order_by())
    return tuple(FolderCard(node.path, counts.get(node.pk, 0)) for node in found)


def _cards(assets: list[str]) -> Iterable[AssetCard]:
    wanted = [part for asset in assets for part in (structure.content(asset), structure.metadata(asset))]
    rows = Node.objects.filter(path__in=wanted).values_list("path", "properties")
    nodes = {path: NodeView(path, "", properties, {}, 0) for path, properties in rows}
    thumbnails = _thumbnails(assets)
    states = {asset: _state(_properties(nodes, structure.content(asset))) for asset in assets}
    working = progress.of_assets([asset for asset, state in states.items() if _is_pending(state)])
    for asset in assets:
        yield _card(asset, nodes, thumbnails.get(asset), working.get(asset))


def _card(path: str, nodes: Mapping[str, NodeView], thumbnail: Picture | None, working: Progress | None) -> AssetCard:
    content, metadata = _properties(nodes, structure.content(path)), _properties(nodes, structure.metadata(path))
    return AssetCard(
        path=path,
        state=_state(content),
        mime_type=str(metadata.get("dc:format", "")),
        size=metadata.get("dam:size"),
        width=metadata.get("tiff:ImageWidth"),
        height=metadata.get("tiff:ImageLength"),
        failure=str(content.get(structure.FAILURE, "")),
        thumbnail=thumbnail,
        progress=working,
    )


def _thumbnails(assets: list[str]) -> dict[str, Picture]:
    resources = {structure.resource(structure.rendition(asset, structure.THUMBNAIL)): asset for asset in assets}
    rows = Binary.objects.filter(node__path__in=resources, name=structure.DATA).select_related("node", "blob")
    return {
        resources[row.node.path]: _picture_of(structure.THUMBNAIL, row.node.properties, row.blob.digest, row.blob.size)
        for row in rows
    }


def _pictures(asset: str, nodes: Mapping[str, NodeView]) -> Iterable[Picture]:
    folder = structure.renditions(asset)
    for view in nodes.values():
        if paths.parent(view.path) == folder and (resource := nodes.get(structure.resource(view.path))):
            picture = _picture(view.name, resource)
            if picture:
                yield picture


def _picture(name: str, resource: NodeView) -> Picture | None:
    data = resource.binaries.get(structure.DATA)
    return _picture_of(name, resource.properties, data.digest, data.size) if data else None


def _picture_of(name: str, properties: Mapping[str, Any], digest: str, size: int) -> Picture:
    return Picture(
        name=name,
        mime_type=str(properties.get(structure.MIME_TYPE, "application/octet-stream")),
        digest=digest,
        size=size,
        width=properties.get("tiff:ImageWidth"),
        height=properties.get("tiff:ImageLength"),
    )


def _properties(nodes: Mapping[str, NodeView], path: str) -> dict[str, Any]:
    """Return the properties of a node, {} if it is not there: an asset that others put together may lack parts."""
    return nodes[path].properties if path in nodes else {}


def _state(content: Mapping[str, Any]) -> AssetState:
    value = content.get(structure.STATE)
    return AssetState(value) if value in set(AssetState) else AssetState.UNPROCESSED


def _is_pending(state: AssetState) -> bool:
    return state in (AssetState.UNPROCESSED, AssetState.PROCESSING)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _is_note(name: str) -> bool:
    return name.endswith("_xmpArrayType")
